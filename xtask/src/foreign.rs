//! Other people's programs against the server: Python's `websockets`, nginx and Caddy. What Python
//! needs is installed below the target directory.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::packages::{install, may_install};
use crate::process::{
    build_programs, fetch, output, program, root, run as run_command, target_directory, works,
};

/// The scripts, in the order in which they run.
const SCRIPTS: [&str; 2] = ["clients.py", "proxies.py"];

/// Runs them against the server, as a step of the tests.
pub(crate) fn run() -> Result<()> {
    let python = python(&target_directory()?.join("foreign"))?;
    install_proxies()?;
    let server = build_programs()?.join("heartwire");
    // Where they can be installed, none may be left out.
    let needed = if may_install() { "nginx caddy" } else { "" };
    for script in SCRIPTS {
        run_command(
            program(&python)
                .arg(root().join("foreign").join(script))
                .env("HEARTWIRE_BIN", &server)
                .env("HEARTWIRE_PROXIES", needed)
                .env("RUST_LOG", "error"),
        )?;
    }
    Ok(())
}

/// As root on Debian, proxies that are missing are installed; elsewhere the script leaves them out, and
/// says so.
fn install_proxies() -> Result<()> {
    let has_both = works(program("nginx").arg("-v")) && works(program("caddy").arg("version"));
    if has_both || !may_install() {
        return Ok(());
    }
    println!("nginx or Caddy is missing: installing both from Debian's packages");
    install(&["--no-install-recommends", "nginx-light", "caddy"])
}

/// A Python with what `requirements.txt` asks for.
fn python(folder: &Path) -> Result<String> {
    let python = folder.join("bin/python").display().to_string();
    let requirements = root()
        .join("foreign/requirements.txt")
        .display()
        .to_string();
    if !works(program(&python).arg("--version")) {
        let version = output(program("python3").arg("--version"));
        version.context("install Python 3.10 or later, with its module venv")?;
        run_command(program("python3").args(["-m", "venv"]).arg(folder))?;
    }
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    fetch(program(&python).args(install).arg(requirements))?;
    Ok(python)
}
