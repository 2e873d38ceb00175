//! The process that is measured: started, looked at through `/proc`, stopped.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A server in a process of its own; it is killed when this value goes.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `heartwire serve` with topics in memory on a port of its choice.
    pub(crate) fn heartwire(program: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", "--memory", "--listen", "127.0.0.1:0"]);
        command.args(["--heartbeat-interval", "10s", "--heartbeat-timeout", "10s"]);
        command.env("RUST_LOG", "error");
        Self::start(command)
    }

    /// Starts this program again, as a bare peer.
    pub(crate) fn bare(kind: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", kind]);
        Self::start(command)
    }

    /// Starts a server and waits for the line that names its address.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = address_in(&line);
        let address = address.with_context(|| format!("no address in {line:?}"))?;
        Ok(Self { child, address })
    }

    /// Processor time that the process has used, in user and kernel mode together.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let ticks = ticks_in(&stat).context("/proc/PID/stat has its usual form")?;
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// Memory that the process alone has touched, in bytes: private dirty pages, so heap and stacks,
    /// with whatever the allocator keeps for itself, without code and without the kernel's sockets.
    pub(crate) fn private_bytes(&self) -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let kilobytes = field_kilobytes(&rollup, "Private_Dirty:");
        Ok(kilobytes.context("smaps_rollup has its usual form")? * 1_024)
    }

    /// All memory of the process that is in RAM, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        let page_bytes = rustix::param::page_size() as u64;
        Ok(pages.context("statm has its usual form")? * page_bytes)
    }

    /// How many descriptors the process has open.
    pub(crate) fn descriptors(&self) -> Result<usize> {
        Ok(self.open()?.len())
    }

    /// How many of them are sockets.
    pub(crate) fn sockets(&self) -> Result<usize> {
        let is_socket = |target: &&PathBuf| target.to_string_lossy().starts_with("socket:");
        Ok(self.open()?.iter().filter(is_socket).count())
    }

    /// What the descriptors lead to.
    fn open(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id()))?;
        // One that was closed since the folder was read is none.
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Ok(targets.collect())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is a measured process without state: killing it is the whole clean-up, and an error
        // means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in `… listening on http://127.0.0.1:7070 (…)`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time, in clock ticks. The program's name stands in brackets and may hold spaces.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn field_kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_address() {
        let line = "heartwire listening on http://127.0.0.1:7070 (data: memory)\n";
        let address = address_in(line).expect("it is there");
        assert_eq!(address.port(), 7_070);
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks_in(stat), Some(42));
    }

    #[test]
    fn memory_is_read_from_the_rollup() {
        let text = "Rss: 9 kB\nPrivate_Clean: 4 kB\nPrivate_Dirty:      12 kB\n";
        assert_eq!(field_kilobytes(text, "Private_Dirty:"), Some(12));
    }
}
