//! Avro bodies, by plans compiled from the writer's schema.

mod cursor;
mod envelope;
mod field;
mod key;
mod names;
mod row;
mod skip;

pub(crate) use envelope::EnvelopePlan;
pub(crate) use key::AvroKey;
pub(crate) use names::{Names, describe, without_null};
pub(crate) use row::RowPlan;
