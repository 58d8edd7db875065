//! A server's process, as reported by Linux.

use std::fs;

/// Kernel time units in which /proc counts processor time: 100 a second on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: f64 = 1024.0;

/// A running process of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub u32);

impl Process {
    /// Returns its resident memory in MB (1,000,000 bytes); `None` without /proc.
    pub(crate) fn resident(self) -> Option<f64> {
        self.status("VmRSS:")
    }

    /// Returns its anonymous resident memory in MB: heap and stacks without program text.
    pub(crate) fn anonymous(self) -> Option<f64> {
        self.status("RssAnon:")
    }

    /// Returns its peak resident memory in MB since [`Self::forget_peak`] or its start.
    pub(crate) fn peak(self) -> Option<f64> {
        self.status("VmHWM:")
    }

    /// Resets the peak. Without permission to do so, the peak since the start stays.
    pub(crate) fn forget_peak(self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Returns its processor time, user and kernel, in seconds.
    pub(crate) fn processor_seconds(self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The second field is a name in parentheses, which may contain anything.
        let (_, after) = stat.rsplit_once(')')?;
        let mut fields = after.split_ascii_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let kernel: f64 = fields.next()?.parse().ok()?;
        Some((user + kernel) / TICKS_PER_SECOND)
    }

    fn status(self, name: &str) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kib * KIB / 1e6)
    }
}

/// Returns the processor time of the calling thread, in seconds.
pub(crate) fn thread_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_has_run() {
        let process = Process(std::process::id());
        let (resident, peak) = (process.resident().expect("Linux"), process.peak().expect("Linux"));
        assert!(resident > 0.1 && peak >= resident * 0.5, "{resident} MB, at most {peak} MB");
        assert!(process.processor_seconds().is_some());
        assert!(thread_seconds().expect("Linux") > 0.0);
        assert!(Process(u32::MAX).resident().is_none());
    }
}
