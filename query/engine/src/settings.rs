//! What a person may set about how statements run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::memory;

/// The share of the memory allowed to this process that statements may hold by default: the rest is
/// for reading files, the log and the answer under way, which the pool does not count.
const MEMORY_SHARE: usize = 2;

/// The share of that memory that current states may take as hash tables by default.
const HASH_SHARE: usize = 4;

/// Disk that a statement may spill to by default, in bytes.
const SPILL_BYTES_MAX: u64 = 100 << 30;

/// Limits of an [`Engine`](crate::Engine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Memory that sorting, grouping and joining may hold, all statements together, in bytes.
    /// Above it they spill to disk or fail by name.
    pub memory_bytes_max: usize,
    /// Memory that the current states in one statement may take as hash tables, in bytes, reckoned
    /// from the number of changes. Above it they are sorted: slower, but it spills.
    pub hash_bytes_max: usize,
    /// Where they spill to; `None` is the system's directory for temporary files.
    pub spill_directory: Option<PathBuf>,
    /// Disk that they may spill to, in bytes.
    pub spill_bytes_max: u64,
    /// Threads that one statement is spread over.
    pub threads: NonZeroUsize,
}

impl Default for EngineSettings {
    /// Half of the memory that this process may use, and every processor.
    fn default() -> Self {
        Self::with_memory(memory::allowed_bytes() / MEMORY_SHARE)
    }
}

impl EngineSettings {
    /// The defaults for so many bytes of memory.
    pub fn with_memory(memory_bytes_max: usize) -> Self {
        Self {
            memory_bytes_max,
            hash_bytes_max: memory_bytes_max / HASH_SHARE,
            spill_directory: None,
            spill_bytes_max: SPILL_BYTES_MAX,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}
