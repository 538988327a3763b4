//! The care of the lake's tables: tables that are derived from changes are kept up to date.
//!
//! Nothing here is in the writer's way: tables of changes are only read. Several processes may take
//! care of one lake; what one of them does twice is refused by the commit (see [`crate::commit`]).

mod buckets;
mod covered;
mod current;
mod current_layout;
mod error;
mod fold;
mod kept_table;
mod key;
mod log_order;
mod maintainer;
mod merge;
mod new_changes;
mod period;
mod periods;
mod register;
mod row_file;
mod settings;
mod snapshot;
mod tail;

pub use current::Refreshed;
pub use error::MaintenanceError;
pub use maintainer::{Maintainer, Round};
pub use period::{Period, PeriodLength, PeriodNameError};
pub use settings::MaintenanceSettings;
pub use snapshot::Snapshot;

#[cfg(test)]
mod tests;
