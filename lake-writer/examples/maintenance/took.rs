//! Time and CPU time of this process.

use std::error::Error;
use std::time::Instant;

type Failure = Box<dyn Error + Send + Sync>;

pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) cpu_s: f64,
}

pub(crate) struct Begun {
    at: Instant,
    cpu_s: f64,
}

impl Took {
    pub(crate) fn begin() -> Result<Begun, Failure> {
        Ok(Begun {
            at: Instant::now(),
            cpu_s: cpu_seconds()?,
        })
    }
}

impl Begun {
    pub(crate) fn end(self) -> Result<Took, Failure> {
        Ok(Took {
            seconds: self.at.elapsed().as_millis() as f64 / 1000.0,
            cpu_s: ((cpu_seconds()? - self.cpu_s) * 100.0).round() / 100.0,
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

/// Most memory that the process has had so far.
pub(crate) fn rss_max_mib() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .unwrap_or("0");
    Ok(kib.parse::<u64>()? / 1024)
}
