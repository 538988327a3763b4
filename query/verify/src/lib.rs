//! Whether the lake holds what an owner holds.
//!
//! An owner's table, read in one snapshot of its database, is compared with the lake's current state
//! of its entity as of that snapshot. Nothing is written on either side.
//!
//! # How
//! The rows of both sides are brought into one canonical form ([`schemas::canonical`]) and hashed.
//! The keys are cut into [ranges](Ranges) of their hashes, and each side adds up its rows by range:
//! counts and sums. Sums know no order, so both sides are read as fast as they come, and neither a
//! collation nor a sort is asked of the owner's database. Only the rows of ranges that differ are
//! read again, by key, and what differs is named.
//!
//! # What is on its way
//! The owner goes on writing, and what it wrote takes a while to be in the lake. Both sides are
//! brought to one [`Point`]: changes that the owner's snapshot did not see are left out of the
//! lake's state, and a difference counts only when it has stayed for as long as a change may be on
//! its way.
//!
//! # What was overwritten since
//! A change that was lost, and after which the row was changed again, is not seen in the current
//! state. It is seen in the history: [`evidence`] holds a table of changes against the watermarks
//! that the owner's publisher gave.
//!
//! Where to read next: [`Comparison`], `comparison.rs` (the steps), `point.rs` (the two sides at
//! one moment), `owner.rs` (how a database is read).

mod cell;
mod columns;
mod comparison;
mod difference;
mod error;
mod evidence;
mod lake;
mod owner;
mod point;
mod ranges;
mod rows;
mod shown;

pub use comparison::{Comparison, Limits, compare};
pub use difference::{Difference, Kind};
pub use error::VerifyError;
pub use evidence::{Evidence, evidence};
pub use owner::Owner;
pub use point::{OutboxPoint, Point, TransactionPoint};
pub use ranges::Ranges;
