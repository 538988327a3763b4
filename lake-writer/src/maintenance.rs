//! The care of the lake's tables: those that are derived from changes are kept up to date, files and
//! logs of all tables are kept few.
//!
//! Nothing here is in the writer's way: what it appends meanwhile stays as it is. Several processes
//! may take care of one lake; what one of them does twice is refused by the commit (see
//! [`crate::commit`]).

mod asked;
mod buckets;
mod compaction;
mod covered;
mod current;
mod current_layout;
mod error;
#[cfg(test)]
mod fixture;
mod fold;
mod housekeeping;
mod kept_table;
mod key;
mod log_cleanup;
mod log_order;
mod maintained_table;
mod maintainer;
mod merge;
mod new_changes;
mod off_runtime;
mod period;
mod periods;
mod reached;
mod register;
mod retention;
mod room;
mod row_file;
mod row_parts;
mod settings;
mod snapshot;
mod tail;
mod vacuum;
mod watermarks;

pub use compaction::{Compaction, CompactionReport, CompactionSettings};
pub use current::Refreshed;
#[cfg(test)]
pub(crate) use current::{Current, Means, Mode};
pub use error::MaintenanceError;
pub use housekeeping::Housekept;
pub use log_cleanup::{LogCleanup, LogCleanupReport, LogCleanupSettings};
pub use maintainer::{CareProgress, LoopProgress, Maintainer, Round};
pub use period::{Period, PeriodLength, PeriodNameError};
pub use retention::{Retention, RetentionReport};
pub use settings::MaintenanceSettings;
pub use snapshot::Snapshot;
pub use vacuum::{Vacuum, VacuumReport, VacuumSettings};

#[cfg(test)]
mod tests;
