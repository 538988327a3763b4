//! A registry in memory, which may be away for a number of requests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use schemas::{RegistryError, SchemaId, SchemaRegistry};

#[derive(Debug, Default)]
pub(crate) struct MemoryRegistry {
    pub(crate) away: AtomicU32,
    schemas: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl SchemaRegistry for MemoryRegistry {
    async fn schema_by_id(&self, id: SchemaId) -> Result<String, RegistryError> {
        let schemas = self.schemas.lock().unwrap();
        Ok(schemas[id.0 as usize - 1].1.clone())
    }

    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let is_away = self
            .away
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |away| {
                away.checked_sub(1)
            });
        if is_away.is_ok() {
            return Err(RegistryError::Unavailable {
                url: "memory".into(),
                why: "away".into(),
            });
        }
        let mut schemas = self.schemas.lock().unwrap();
        let entry = (subject.to_owned(), schema.to_owned());
        let index = schemas
            .iter()
            .position(|known| *known == entry)
            .unwrap_or_else(|| {
                schemas.push(entry);
                schemas.len() - 1
            });
        Ok(SchemaId(u32::try_from(index).unwrap() + 1))
    }
}
