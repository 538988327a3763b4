//! Avro bodies, by plans compiled from the writer's schema.

mod cursor;
mod envelope;
mod field;
mod key;
mod nested;
mod row;
mod skip;

pub(crate) use envelope::EnvelopePlan;
pub(crate) use key::AvroKey;
pub(crate) use row::{RowPlan, check};
