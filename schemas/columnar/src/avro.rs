//! Avro bodies, by plans compiled from the writer's schema.

mod cursor;
mod envelope;
mod field;
mod key;
mod nested;
mod plan;
mod row;
mod skip;
mod union;

pub(crate) use envelope::EnvelopePlan;
pub(crate) use key::AvroKey;
pub(crate) use row::{RowPlan, check};
