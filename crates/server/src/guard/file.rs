//! Files that hold secrets, keys or certificates, and are read again when they change.
//!
//! They are small, and read as a whole every second: that notices a file that was replaced, written
//! over, or mounted anew, on every system and file system alike. A file that makes no sense at the
//! moment (it may be half written) changes nothing, and is complained about once.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ring::digest::{Context, SHA256};

use crate::sync::lock;

/// The largest such file that is read, in bytes: thousands of keys.
const BYTES_MAX: u64 = 1 << 20;

/// A file that cannot be used. It names the file and never shows its content.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FileError {
    path: PathBuf,
    reason: String,
}

/// What files said together when they last made sense; mostly it is one.
pub(crate) struct Watched<T> {
    paths: Vec<PathBuf>,
    parse: Parse<T>,
    held: Mutex<Held<T>>,
}

/// Makes sense of the contents, in the order of the files.
type Parse<T> = fn(&[Vec<u8>]) -> Result<T, String>;

struct Held<T> {
    value: Arc<T>,
    /// Of what was last read, sense or not.
    print: [u8; 32],
}

impl<T> Watched<T> {
    /// Reads the files, which have to make sense the first time.
    pub(crate) fn open(paths: Vec<PathBuf>, parse: Parse<T>) -> Result<Self, FileError> {
        let contents = read_all(&paths)?;
        let value = parse(&contents).map_err(|reason| FileError {
            path: paths.first().cloned().unwrap_or_default(),
            reason,
        })?;
        let print = fingerprint(&contents);
        let value = Arc::new(value);
        Ok(Self {
            paths,
            parse,
            held: Mutex::new(Held { value, print }),
        })
    }

    /// What it said.
    pub(crate) fn get(&self) -> Arc<T> {
        lock(&self.held).value.clone()
    }

    /// Reads them again. Blocks for as long as the file system does.
    pub(crate) fn reload(&self) {
        let contents = match read_all(&self.paths) {
            Ok(contents) => contents,
            Err(error) => {
                let print = fingerprint(&[error.to_string().into_bytes()]);
                return self.complain(print, &error.reason);
            }
        };
        let print = fingerprint(&contents);
        if lock(&self.held).print == print {
            return;
        }
        match (self.parse)(&contents) {
            Ok(value) => {
                let value = Arc::new(value);
                *lock(&self.held) = Held { value, print };
                tracing::info!(files = ?self.paths, "what has changed was read");
            }
            Err(reason) => self.complain(print, &reason),
        }
    }

    fn complain(&self, print: [u8; 32], reason: &str) {
        let before = std::mem::replace(&mut lock(&self.held).print, print);
        if before != print {
            let files = &self.paths;
            tracing::error!(
                ?files,
                reason,
                "a change is not used: what was there before holds"
            );
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.paths).finish()
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    let contents = paths.iter().map(|path| {
        read(path).map_err(|reason| FileError {
            path: path.clone(),
            reason,
        })
    });
    contents.collect()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut content = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut content);
    read.map_err(|error| error.to_string())?;
    if content.len() as u64 > BYTES_MAX {
        return Err(format!("larger than {BYTES_MAX} bytes"));
    }
    Ok(content)
}

fn fingerprint(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut all = Context::new(&SHA256);
    for content in contents {
        all.update(&(content.len() as u64).to_le_bytes());
        all.update(content);
    }
    let mut print = [0; 32];
    print.copy_from_slice(all.finish().as_ref());
    print
}
