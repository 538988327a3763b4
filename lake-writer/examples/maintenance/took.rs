//! Time, CPU time and memory of this process.

use std::time::Instant;

use crate::Failure;

pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) cpu_s: f64,
    /// Most memory that the process had meanwhile.
    pub(crate) rss_max_mib: u64,
}

pub(crate) struct Began {
    at: Instant,
    cpu_s: f64,
    pub(crate) rss_mib: u64,
}

impl Took {
    pub(crate) fn begin() -> Result<Began, Failure> {
        // Forgets the most memory that there was so far (Linux).
        std::fs::write("/proc/self/clear_refs", "5")?;
        Ok(Began {
            at: Instant::now(),
            cpu_s: cpu_seconds()?,
            rss_mib: memory_mib("VmRSS:")?,
        })
    }
}

impl Began {
    pub(crate) fn end(&self) -> Result<Took, Failure> {
        Ok(Took {
            seconds: self.at.elapsed().as_millis() as f64 / 1000.0,
            cpu_s: ((cpu_seconds()? - self.cpu_s) * 100.0).round() / 100.0,
            rss_max_mib: memory_mib("VmHWM:")?,
        })
    }
}

/// User and system time of this process so far (Linux: in hundredths of a second).
fn cpu_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn memory_mib(name: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.unwrap_or("0").parse::<u64>()? / 1024)
}
