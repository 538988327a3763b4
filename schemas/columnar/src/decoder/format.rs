//! What a decoder reads.

use crate::avro::{EnvelopePlan, RowPlan};
use crate::entity::Entity;
use crate::error::{Fault, invalid};
use crate::json::JsonDecoder;
use crate::schema::ChangeSchema;
use crate::walk::Walk;

/// Rows or envelopes of one writer's schema, or JSON.
#[derive(Debug)]
pub(super) enum Format {
    Envelope(Box<EnvelopePlan>),
    Row(RowPlan),
    Json(Box<JsonDecoder>),
}

impl Format {
    /// Walks over an envelope; the row after goes into the open row.
    pub(super) fn walk<'a>(
        &mut self,
        body: &'a [u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<Walk<'a>, Fault> {
        match self {
            Self::Envelope(plan) => plan.walk(body, schema, entity),
            Self::Json(decoder) => decoder.walk(body, schema, entity),
            Self::Row(_) => Err(invalid("the decoder has no plan of an envelope")),
        }
    }

    /// Reads bytes that are one row and nothing else into the open row; false if they say that
    /// there is none.
    pub(super) fn image(
        &mut self,
        body: &[u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<bool, Fault> {
        match self {
            Self::Envelope(plan) => plan.row().run_whole(body, schema, entity)?,
            Self::Row(plan) => plan.run_whole(body, schema, entity)?,
            Self::Json(decoder) => return decoder.image(body, schema, entity),
        }
        Ok(true)
    }

    /// Reads the row before, of the envelope that was walked over last.
    pub(super) fn before(
        &mut self,
        body: &[u8],
        schema: &ChangeSchema,
        entity: &mut Entity,
    ) -> Result<(), Fault> {
        match self {
            Self::Json(decoder) => decoder.before(body, entity),
            other => other.image(body, schema, entity).map(drop),
        }
    }
}
