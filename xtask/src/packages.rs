//! Programs of others that the tests need: found, or taken from Debian's packages where that is
//! possible without asking anybody.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{fetch, output, program, run as run_command, target_directory, works};

/// Names Prometheus' own tool for the tests.
pub(crate) const PROMTOOL: &str = "HEARTWIRE_PROMTOOL";

/// Whether packages can be installed here.
pub(crate) fn may_install() -> bool {
    let is_root = output(program("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    is_root && works(program("apt-get").arg("--version"))
}

/// Installs packages of Debian's; the arguments are those of `apt-get install`.
pub(crate) fn install(arguments: &[&str]) -> Result<()> {
    fetch(apt_get().arg("update"))?;
    fetch(apt_get().args(["install", "--yes"]).args(arguments))
}

/// `apt-get`, which asks nobody, and waits for others that install something.
fn apt_get() -> Command {
    let mut command = program("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The program that the variable names, or the first of the usual places that has it.
pub(crate) fn first(variable: &str, usual: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let mut places = named.into_iter().chain(usual.iter().map(PathBuf::from));
    places.find(|path| path.exists())
}

/// Finds `promtool`. As root on Debian its package is unpacked beside what is built, if it is missing:
/// installing it would start a server.
pub(crate) fn promtool() -> Result<PathBuf> {
    if let Some(found) = first(PROMTOOL, &["/usr/bin/promtool", "/usr/local/bin/promtool"]) {
        return Ok(found);
    }
    let folder = target_directory()?.join("promtool");
    let promtool = folder.join("usr/bin/promtool");
    if promtool.exists() {
        return Ok(promtool);
    }
    if !may_install() {
        bail!(
            "promtool is missing: install it (apt-get install prometheus), or name it in {PROMTOOL}"
        );
    }
    println!("promtool is missing: unpacking it from Debian's package");
    std::fs::create_dir_all(&folder).context("no folder for promtool")?;
    fetch(apt_get().arg("update"))?;
    fetch(
        apt_get()
            .args(["download", "prometheus"])
            .current_dir(&folder),
    )?;
    let package = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .context("apt-get downloaded no package")?;
    run_command(program("dpkg-deb").arg("-x").args([&package, &folder]))?;
    Ok(promtool)
}
