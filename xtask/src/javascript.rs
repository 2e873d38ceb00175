//! The JavaScript tests, once there is a `js/` folder with a package.

use anyhow::{Context as _, Result, bail};

use crate::process::{output, program, root, run as run_command};

/// The oldest major version of Node.js that the client supports.
const NODE_MAJOR_MIN: u32 = 20;

pub(crate) fn run() -> Result<()> {
    let folder = root().join("js");
    if !folder.join("package.json").exists() {
        println!("there is no js/package.json: nothing to run");
        return Ok(());
    }
    let version = output(program("node").arg("--version"))
        .with_context(|| format!("the JavaScript tests need Node.js {NODE_MAJOR_MIN} or later"))?;
    let version = version.trim();
    match major(version) {
        Some(major) if major >= NODE_MAJOR_MIN => {}
        _ => {
            bail!("the JavaScript tests need Node.js {NODE_MAJOR_MIN} or later; this is {version}")
        }
    }
    run_command(program("npm").arg("ci").current_dir(&folder))?;
    run_command(program("npm").arg("test").current_dir(&folder))
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
