//! Which schema a framed value or key was written with.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::{AvroSchema, SchemaId, wire};

use crate::dead_letter::Reason;
use crate::route::Route;
use crate::schema_cache::SchemaCache;
use crate::settings::Format;

/// A writer's schema as its records name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WriterSchema {
    /// By its id in the registry.
    Id(SchemaId),
    /// By its fingerprint.
    Fingerprint(u64),
}

impl WriterSchema {
    /// The schema and the body of a framed value; `None` if it is not framed so.
    pub(super) fn unframe(format: Format, framed: &[u8]) -> Option<(Self, &[u8])> {
        match format {
            Format::AvroSingleObject => {
                let (fingerprint, body) = wire::unframe_single_object(framed)?;
                Some((Self::Fingerprint(fingerprint.0), body))
            }
            Format::Avro | Format::Json => {
                let (id, body) = wire::unframe(framed)?;
                Some((Self::Id(id), body))
            }
        }
    }

    /// Its id in the registry, if it has one.
    pub(super) fn id(self) -> Option<SchemaId> {
        match self {
            Self::Id(id) => Some(id),
            Self::Fingerprint(_) => None,
        }
    }
}

/// The schemas that the configuration knows by fingerprint.
#[derive(Debug, Default)]
pub(super) struct WriterSchemas {
    by_fingerprint: HashMap<u64, Arc<AvroSchema>>,
}

impl WriterSchemas {
    /// Those of a route: its list, and its contract, which may be what values are written with.
    pub(super) fn of(route: &Route) -> Self {
        let contract = route.contract.as_ref();
        let contract =
            contract.and_then(|contract| AvroSchema::from_json(contract.avro_json()).ok());
        let all = route.writer_schemas.iter().cloned();
        let all = all.chain(contract.map(Arc::new));
        Self {
            by_fingerprint: all.map(|schema| (schema.fingerprint().0, schema)).collect(),
        }
    }

    /// The schema, or why there is none; `None` while it is being fetched.
    pub(super) fn find(
        &self,
        writer: WriterSchema,
        schemas: &mut SchemaCache,
    ) -> Option<Result<Arc<AvroSchema>, Reason>> {
        match writer {
            WriterSchema::Id(id) => schemas.get(id).cloned(),
            WriterSchema::Fingerprint(fingerprint) => {
                let found = self.by_fingerprint.get(&fingerprint).cloned();
                Some(found.ok_or_else(|| {
                    let text = format!(
                        "no schema of fingerprint {} is known; add it to the topic's writer_schemas",
                        wire::Fingerprint(fingerprint)
                    );
                    Reason::new("unknown_schema", text)
                }))
            }
        }
    }
}
