//! Files that hold secrets, keys or certificates, and are read again when they change.
//!
//! They are small, and read as a whole every second: that notices a file that was replaced, written
//! over, or mounted anew, on every system and file system alike. A file that makes no sense at the
//! moment (it may be half written) changes nothing, and is complained about once.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ring::digest::{SHA256, digest};

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

/// What a file said when it last made sense.
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Arc<T>,
    /// Of what was last read, sense or not.
    print: [u8; 32],
}

impl<T> Watched<T> {
    /// Reads the file, which has to make sense the first time.
    pub(crate) fn open(
        path: PathBuf,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<Self, FileError> {
        let wrong = |reason| FileError {
            path: path.clone(),
            reason,
        };
        let content = read(&path).map_err(wrong)?;
        let value = Arc::new(parse(&content).map_err(wrong)?);
        let print = fingerprint(&content);
        Ok(Self {
            path,
            parse,
            held: Mutex::new(Held { value, print }),
        })
    }

    /// What it said.
    pub(crate) fn get(&self) -> Arc<T> {
        lock(&self.held).value.clone()
    }

    /// Reads it again. Blocks for as long as the file system does.
    pub(crate) fn reload(&self) {
        let content = match read(&self.path) {
            Ok(content) => content,
            Err(reason) => return self.complain(fingerprint(reason.as_bytes()), &reason),
        };
        let print = fingerprint(&content);
        if lock(&self.held).print == print {
            return;
        }
        match (self.parse)(&content) {
            Ok(value) => {
                let value = Arc::new(value);
                *lock(&self.held) = Held { value, print };
                tracing::info!(file = %self.path.display(), "a changed file was read");
            }
            Err(reason) => self.complain(print, &reason),
        }
    }

    fn complain(&self, print: [u8; 32], reason: &str) {
        let before = std::mem::replace(&mut lock(&self.held).print, print);
        if before != print {
            let file = self.path.display();
            tracing::error!(%file, reason, "a changed file is not used: what it said before holds");
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.path).finish()
    }
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

fn fingerprint(content: &[u8]) -> [u8; 32] {
    let mut print = [0; 32];
    print.copy_from_slice(digest(&SHA256, content).as_ref());
    print
}
