//! The JavaScript tests: the client by itself, and the client and the live page against the server
//! of this repository, in Node.js and in Chromium.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::browser;
use crate::process::{build_programs, fetch, output, program, root, run as run_command};

/// The oldest major version of Node.js that the client supports.
const NODE_MAJOR_MIN: u32 = 20;

/// The client by itself: built, type-checked, packed, and run against vectors and transcripts.
pub(crate) fn client() -> Result<()> {
    check_node()?;
    fetch(&mut npm(&["ci"]))?;
    run_command(&mut npm(&["test"]))
}

/// The client and the live page against the real server.
pub(crate) fn against_the_server() -> Result<()> {
    check_node()?;
    let browser = browser::ready()?;
    let server = build_programs()?.join("heartwire");
    if !has_packages() {
        fetch(&mut npm(&["ci"]))?;
    }
    run_command(&mut npm(&["run", "build"]))?;
    for script in ["test:real", "test:page"] {
        run_command(
            npm(&["run", script])
                .env("HEARTWIRE_BIN", &server)
                .env("HEARTWIRE_CHROMIUM", &browser.chromium)
                .env("CHROMIUM_BIN", &browser.chromium)
                .env("XVFB_BIN", &browser.xvfb),
        )?;
    }
    Ok(())
}

/// Whether npm has installed what the lock file names since that was last changed.
fn has_packages() -> bool {
    let changed = |path: &str| folder().join(path).metadata().and_then(|m| m.modified());
    match (
        changed("node_modules/.package-lock.json"),
        changed("package-lock.json"),
    ) {
        (Ok(installed), Ok(locked)) => installed >= locked,
        _ => false,
    }
}

fn folder() -> PathBuf {
    root().join("js")
}

fn npm(arguments: &[&str]) -> Command {
    let mut npm = program("npm");
    npm.args(arguments).current_dir(folder());
    npm
}

fn check_node() -> Result<()> {
    let needed = || format!("install Node.js {NODE_MAJOR_MIN} or later, with npm");
    let version = output(program("node").arg("--version")).with_context(needed)?;
    let version = version.trim();
    match major(version) {
        Some(major) if major >= NODE_MAJOR_MIN => Ok(()),
        _ => bail!("this is Node.js {version}; {}", needed()),
    }
}

/// The major version in `v20.11.1`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("v20.11.1"), Some(20));
        assert_eq!(major("20.11.1"), None);
    }
}
