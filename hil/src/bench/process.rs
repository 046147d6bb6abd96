//! What the kernel says of a process: CPU time and memory.

use std::fs;

use anyhow::Context;

/// CPU time of all threads that live, in nanoseconds, from `/proc/PID/task/*/schedstat`.
pub(super) fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("the gateway has ended: no {folder}"))?;
    let mut sum = 0;
    for thread in threads.flatten() {
        // A thread may end between the listing and here.
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        sum += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Resident, file mappings included.
    pub(super) rss: u64,
    /// Resident and anonymous.
    pub(super) anonymous: u64,
}

impl Memory {
    /// Reads `/proc/PID/status`.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("the gateway has ended: no {path}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let (rss, anonymous) = (field("VmRSS:"), field("RssAnon:"));
        Ok(Memory { rss: rss.context("no VmRSS")?, anonymous: anonymous.context("no RssAnon")? })
    }

    /// Whether it is within these bars, in MiB.
    pub(super) fn within(self, rss_mib: u64, anonymous_mib: Option<u64>) -> bool {
        self.rss <= rss_mib * 1024 && anonymous_mib.is_none_or(|most| self.anonymous <= most * 1024)
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = |kib: u64| (kib * 10 + 512) / 1024;
        let (rss, anonymous) = (tenths(self.rss), tenths(self.anonymous));
        write!(f, "{}.{} MiB, RssAnon {}.{}", rss / 10, rss % 10, anonymous / 10, anonymous % 10)
    }
}
