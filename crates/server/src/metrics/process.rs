//! What the operating system knows of the process, under the names that are usual for it.
//!
//! Where there is no `/proc`, or a part of it is missing, those metrics are left out.

use std::fs;

use super::text::Page;

/// From `/proc/self/stat`, in its units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stat {
    cpu_ticks: u64,
    /// Since the system started.
    started_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    /// The second field is the program's name in parentheses, and may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            started_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the system started, from `/proc/stat`.
fn boot_seconds(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

pub(super) fn add_to(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    if let Some(stat) = stat.as_deref().and_then(Stat::parse) {
        let seconds = |ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        page.counter(
            "process_cpu_seconds_total",
            "CPU time of the process, user and system.",
        )
        .value(seconds(stat.cpu_ticks));
        let bytes = stat.resident_pages * rustix::param::page_size() as u64;
        page.gauge("process_resident_memory_bytes", "Memory in use.")
            .value(bytes);
        let system = fs::read_to_string("/proc/stat").ok();
        if let Some(boot) = system.as_deref().and_then(boot_seconds) {
            page.gauge(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970.",
            )
            .value(boot as f64 + seconds(stat.started_ticks));
        }
    }
    // Counting the entries would take long with very many; kernels since 6.2 tell it as a size.
    if let Ok(folder) = fs::metadata("/proc/self/fd")
        && folder.len() > 0
    {
        page.gauge("process_open_fds", "File descriptors in use.")
            .value(folder.len());
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(limit) = limit.current {
        page.gauge("process_max_fds", "File descriptors that there may be.")
            .value(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let text = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 25 5 0 0 20 0 3 0 8200 9999 512 184";
        let expected = Stat {
            cpu_ticks: 30,
            started_ticks: 8_200,
            resident_pages: 512,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (short) S 1"), None);
    }

    #[test]
    fn the_start_of_the_system_stands_among_other_lines() {
        assert_eq!(
            boot_seconds("cpu 1 2\nbtime 1790000000\nx 1\n"),
            Some(1_790_000_000)
        );
        assert_eq!(boot_seconds("cpu 1 2\n"), None);
    }
}
