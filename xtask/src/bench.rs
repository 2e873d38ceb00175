//! The benchmarks.

use anyhow::{Result, bail};

pub(crate) fn run(names: &[&str]) -> Result<()> {
    bail!("no benchmark yet: {}", names.join(" "))
}
