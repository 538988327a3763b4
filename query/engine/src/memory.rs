//! How much memory this process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Assumed where the system does not say, in bytes.
const UNKNOWN_BYTES: usize = 2 << 30;

/// The smaller of the machine's memory and the control group's limit, in bytes.
pub(crate) fn allowed_bytes() -> usize {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| machine_bytes(&text));
    [machine, group_bytes()]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(UNKNOWN_BYTES)
}

fn machine_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The tightest limit among this process's control group and those around it.
fn group_bytes() -> Option<usize> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let mut files: Vec<PathBuf> = vec![root.join("memory/memory.limit_in_bytes")];
    let group = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    files.extend(
        Path::new(group)
            .ancestors()
            .map(|part| root.join(part).join("memory.max")),
    );
    // "max" is no number: no limit.
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_its_memory_in_kibibytes() {
        assert_eq!(
            machine_bytes("MemFree: 3 kB\nMemTotal:       16 kB\n"),
            Some(16 * 1024)
        );
        assert_eq!(machine_bytes("nothing"), None);
    }

    #[test]
    fn something_is_always_allowed() {
        assert!(allowed_bytes() > 1 << 20);
    }
}
