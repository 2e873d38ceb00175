//! Running other programs from the root of the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How often something is asked of the network before the step fails.
const TRIES: u32 = 3;
/// How long to wait before the network is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("xtask is a folder of the workspace")
        .to_owned()
}

/// The cargo that started this task, so that both use the same toolchain.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A cargo command over all crates, with the versions of Cargo.lock and no others.
pub(crate) fn workspace(command: &str) -> Command {
    let mut cargo = cargo();
    cargo.args([command, "--workspace", "--locked"]);
    cargo
}

/// Builds what the workspace has to run, unoptimized; returns the folder in which it stands.
///
/// All crates and their examples, although a step needs a program or two: which features a dependency
/// is built with depends on what is built along, and only so these are the builds that the tests
/// have made. A program by itself takes two minutes more.
pub(crate) fn build_programs() -> Result<PathBuf> {
    run(workspace("build").args(["--bins", "--examples"]))?;
    Ok(target_directory()?.join("debug"))
}

/// Any other program.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    command
}

/// Runs a command with the terminal as its own; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    println!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// The same for a command that asks the network, where a server may fail for a moment.
pub(crate) fn fetch(command: &mut Command) -> Result<()> {
    for _ in 1..TRIES {
        match run(command) {
            Ok(()) => return Ok(()),
            Err(error) => println!("{error:#}; trying again"),
        }
        thread::sleep(TRY_AGAIN);
    }
    run(command)
}

/// Runs a command quietly and returns what it printed; an error with its complaints when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}\n{complaints}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no UTF-8"))
}

/// Where cargo puts what it builds, which an environment variable may have moved.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let metadata = output(cargo().args(arguments))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let directory = metadata["target_directory"].as_str();
    Ok(PathBuf::from(
        directory.context("cargo names its target directory")?,
    ))
}

/// Whether the command starts and ends well: how a missing tool is told.
pub(crate) fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut words = vec![name.to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
