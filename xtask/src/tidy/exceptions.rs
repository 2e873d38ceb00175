//! `xtask/tidy.toml`: the exceptions that somebody has decided on.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::process::root;

const PATH: &str = "xtask/tidy.toml";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions {
    pub(crate) long_files: Vec<LongFile>,
    pub(crate) long_functions: Vec<LongFunction>,
    pub(crate) sleeping_tests: Vec<SleepingTest>,
}

/// A file may be that long, and no longer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongFile {
    pub(crate) file: String,
    pub(crate) lines: usize,
}

/// A function may be that long, and no longer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LongFunction {
    pub(crate) file: String,
    pub(crate) function: String,
    pub(crate) lines: usize,
}

/// The tests of a file may wait for real time to pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SleepingTest {
    pub(crate) file: String,
    /// For the reader of the list.
    #[serde(rename = "reason")]
    _reason: String,
}

impl Exceptions {
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(root().join(PATH)).context(PATH)?;
        toml::from_str(&text).context(PATH)
    }
}
