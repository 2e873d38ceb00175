//! The files of the repository that people write, read once for all checks.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use syn::visit::Visit;

use crate::process::root;

/// Folders that hold nothing written by people.
const SKIPPED: [&str; 5] = [
    ".git",
    "heartwire-data",
    "miniprogram_dist",
    "node_modules",
    "target",
];

/// Endings of the files that the checks read.
const ENDINGS: [&str; 11] = [
    "cjs", "html", "js", "json", "md", "mjs", "rs", "sh", "toml", "ts", "yml",
];

/// Every file that the checks read, in the order of its path.
pub(crate) struct Tree {
    pub(crate) files: Vec<SourceFile>,
}

/// One file.
pub(crate) struct SourceFile {
    /// Relative to the root, with `/` between folders.
    pub(crate) path: String,
    pub(crate) text: String,
    /// What only Rust files have.
    pub(crate) rust: Option<RustFile>,
}

/// The shape of one Rust file.
pub(crate) struct RustFile {
    pub(crate) functions: Vec<Function>,
    /// First and last lines of the parts that only tests compile.
    test_parts: Vec<(usize, usize)>,
}

/// One function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Where its `fn` stands.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Tree {
    pub(crate) fn read() -> Result<Self> {
        let root = root();
        let mut files = Vec::new();
        read_folder(&root, &root, &mut files)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files })
    }

    /// The Rust files alone.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&SourceFile, &RustFile)> {
        self.files
            .iter()
            .filter_map(|file| Some((file, file.rust.as_ref()?)))
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions: usize = self.rust().map(|(_, rust)| rust.functions.len()).sum();
        let rust = self.rust().count();
        let all = self.files.len();
        write!(f, "{all} files, {rust} of Rust with {functions} functions")
    }
}

impl SourceFile {
    fn new(path: String, text: String) -> Result<Self> {
        let rust = if path.ends_with(".rs") {
            Some(RustFile::parse(&text).with_context(|| format!("cannot parse {path}"))?)
        } else {
            None
        };
        Ok(Self { path, text, rust })
    }

    /// Whether the whole file belongs to tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|part| matches!(part, "test" | "tests" | "tests.rs"))
    }

    /// Whether the line belongs to tests.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        let inside = |(first, last): &(usize, usize)| (*first..=*last).contains(&line);
        let parts = self.rust.iter().flat_map(|rust| &rust.test_parts);
        self.is_test() || parts.into_iter().any(inside)
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

fn read_folder(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_ref()) {
                read_folder(root, &path, files)?;
            }
        } else if wanted(&name) {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let relative = path
                .strip_prefix(root)
                .expect("it was found below the root");
            let relative = relative.to_string_lossy().replace('\\', "/");
            files.push(SourceFile::new(relative, text)?);
        }
    }
    Ok(())
}

fn wanted(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ENDINGS.contains(&ending) && name != "package-lock.json"
}

impl RustFile {
    fn parse(text: &str) -> syn::Result<Self> {
        let mut shape = Self {
            functions: Vec::new(),
            test_parts: Vec::new(),
        };
        shape.visit_file(&syn::parse_file(text)?);
        Ok(shape)
    }

    fn add_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line: first,
            lines: last - first + 1,
        });
    }

    fn add_test_part(&mut self, attributes: &[syn::Attribute], span: proc_macro2::Span) {
        if attributes.iter().any(is_test_attribute) {
            self.test_parts.push((span.start().line, span.end().line));
        }
    }
}

impl<'ast> Visit<'ast> for RustFile {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add_function(&item.sig, &item.block);
        self.add_test_part(&item.attrs, syn::spanned::Spanned::span(item));
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add_function(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add_function(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.add_test_part(&item.attrs, syn::spanned::Spanned::span(item));
        syn::visit::visit_item_mod(self, item);
    }
}

/// `#[test]`, `#[tokio::test]` and `#[cfg(test)]`.
fn is_test_attribute(attribute: &syn::Attribute) -> bool {
    let last = attribute.path().segments.last();
    let named = last.is_some_and(|segment| segment.ident == "test");
    let configured = attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|condition| condition.is_ident("test"));
    named || configured
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
fn one() {}

impl Two {
    #[inline]
    fn two(&self) {
        one();
    }
}

#[cfg(test)]
mod tests {
    fn three() {}
}
";

    fn file(path: &str) -> SourceFile {
        SourceFile::new(path.to_owned(), TEXT.to_owned()).expect("it parses")
    }

    #[test]
    fn functions_are_measured_from_their_fn_to_their_brace() {
        let rust = file("src/lib.rs").rust.expect("it is Rust");
        let lines: Vec<_> = rust
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.line, f.lines))
            .collect();
        assert_eq!(lines, [("one", 1, 1), ("two", 5, 3), ("three", 12, 1)]);
    }

    #[test]
    fn parts_that_only_tests_compile_are_known() {
        let library = file("src/lib.rs");
        assert!(!library.is_test_line(6));
        assert!(library.is_test_line(12));
        assert!(file("crates/proto/tests/frames.rs").is_test_line(6));
    }
}
