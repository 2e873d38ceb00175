//! Autobahn's test suite for WebSockets against the server and the Rust client. What it needs is set
//! up below the target directory by `foreign/autobahn/setup.sh`. A command and no step of the tests: the
//! suite judges by time-outs of its own, which a busy machine misses.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::process::{build_programs, root, run as run_command, target_directory};

/// The quick ones: all but most of the large messages (9.*), which take minutes, and compression
/// (12.*, 13.*), which is declined.
const QUICK: [&str; 16] = [
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.2", "9.2.2", "9.3.8", "9.4.8", "9.5.6",
    "9.6.6", "9.7.1", "9.8.1", "10.*",
];
/// How long a program may take until it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// Which cases are run.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cases {
    /// Those that take seconds.
    Quick,
    /// All of them.
    All,
}

/// Runs the suite against both ends; an error when a case has failed.
pub(crate) fn run(cases: Cases) -> Result<()> {
    let folder = target_directory()?.join("autobahn");
    run_command(Command::new(root().join("foreign/autobahn/setup.sh")).arg(&folder))?;
    build_programs()?;
    let mut wrong = judge("server", &server(&folder, cases)?);
    wrong.extend(judge("client", &client(&folder, cases)?));
    if !wrong.is_empty() {
        bail!("{} cases failed:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(())
}

/// The suite's client against the server. Returns the folder of the report.
fn server(folder: &Path, cases: Cases) -> Result<PathBuf> {
    let mut echo = Running::start(example("echo")?.arg("127.0.0.1:0").stdout(Stdio::piped()))?;
    let line = echo.line()?;
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("ws://"))
        .with_context(|| format!("the server says {line:?}"))?;
    let report = folder.join("server");
    let spec = spec(
        cases,
        &report,
        json!({ "servers": [{ "agent": "heartwire", "url": url }] }),
    );
    let spec = write_spec(folder, "server.json", &spec)?;
    run_command(wstest(folder, "fuzzingclient", &spec).stdout(Stdio::null()))?;
    Ok(report)
}

/// The suite's server against the client.
fn client(folder: &Path, cases: Cases) -> Result<PathBuf> {
    let port = free_port()?;
    let url = format!("ws://127.0.0.1:{port}");
    let report = folder.join("client");
    let spec = spec(cases, &report, json!({ "url": url }));
    let spec = write_spec(folder, "client.json", &spec)?;
    let mut command = wstest(folder, "fuzzingserver", &spec);
    let _server = Running::start(command.args(["--webport", "0"]).stdout(Stdio::null()))?;
    wait_for(port)?;
    run_command(example("echo_client")?.arg(url))?;
    Ok(report)
}

fn spec(cases: Cases, report: &Path, end: Value) -> Value {
    let chosen = match cases {
        Cases::Quick => QUICK.to_vec(),
        Cases::All => vec!["*"],
    };
    let mut spec = json!({
        "outdir": report,
        "cases": chosen,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    if let (Value::Object(spec), Value::Object(end)) = (&mut spec, end) {
        spec.extend(end);
    }
    spec
}

fn write_spec(folder: &Path, name: &str, spec: &Value) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, spec.to_string()).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn wstest(folder: &Path, mode: &str, spec: &Path) -> Command {
    let mut command = Command::new(folder.join("wstest"));
    command.args(["--mode", mode, "--spec"]).arg(spec);
    command
}

fn example(name: &str) -> Result<Command> {
    let program = target_directory()?.join("debug/examples").join(name);
    Ok(Command::new(program))
}

/// Prints how many cases ended how, and returns those that a careful reader of RFC 6455 would call
/// wrong.
fn judge(end: &str, report: &Path) -> Vec<String> {
    let index = fs::read_to_string(report.join("index.json")).unwrap_or_default();
    judge_index(end, &index)
}

fn judge_index(end: &str, index: &str) -> Vec<String> {
    let index: Value = serde_json::from_str(index).unwrap_or_default();
    let agents = index
        .as_object()
        .into_iter()
        .flat_map(|agents| agents.values());
    let cases = agents.filter_map(Value::as_object).flatten();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (case, outcome) in cases {
        let word = |key: &str| outcome[key].as_str().unwrap_or("missing");
        let (behavior, close) = (word("behavior"), word("behaviorClose"));
        *counts.entry(behavior).or_default() += 1;
        if !(is_good(case, behavior) && is_good(case, close)) {
            wrong.push(format!("{end} {case}: {behavior}, closing {close}"));
        }
    }
    println!("{end}: {counts:?}");
    if counts.is_empty() {
        wrong.push(format!("{end}: there is no report"));
    }
    wrong
}

fn is_good(case: &str, outcome: &str) -> bool {
    let is_compression = case.starts_with("12.") || case.starts_with("13.");
    match outcome {
        "OK" | "NON-STRICT" | "INFORMATIONAL" => true,
        "UNIMPLEMENTED" => is_compression,
        _ => false,
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn wait_for(port: u16) -> Result<()> {
    let deadline = Instant::now() + LISTENS_WITHIN;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() > deadline {
            bail!("the test suite does not listen on port {port}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A program that ends with the value.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self(child))
    }

    /// The first line that it prints.
    fn line(&mut self) -> Result<String> {
        let output = self.0.stdout.take().context("its output is read once")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is only collected.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_suite_calls_right_passes() {
        let index = |behavior: &str, close: &str| {
            let case = json!({ "behavior": behavior, "behaviorClose": close });
            json!({ "heartwire": { "1.1.1": case } }).to_string()
        };
        assert!(judge_index("server", &index("OK", "INFORMATIONAL")).is_empty());
        assert!(judge_index("server", &index("NON-STRICT", "OK")).is_empty());
        for (behavior, close) in [("FAILED", "OK"), ("OK", "FAILED"), ("UNIMPLEMENTED", "OK")] {
            assert_eq!(judge_index("server", &index(behavior, close)).len(), 1);
        }
        assert_eq!(
            judge_index("server", "{}").len(),
            1,
            "no report is no success"
        );
    }

    #[test]
    fn declined_compression_is_no_failure() {
        assert!(is_good("12.1.1", "UNIMPLEMENTED") && !is_good("6.1.1", "UNIMPLEMENTED"));
    }
}
