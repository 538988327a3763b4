//! Schemas by id, fetched once in the background.
//!
//! A registry that is down is waited for. Only its own word on one schema (it does not exist, it is
//! not Avro, it cannot be given out) makes a record with that id a dead letter. One that does not
//! let us in says nothing of any record: that is told to whoever waits, and asked again when the
//! schema is needed again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use schemas::{AvroSchema, ContractError, RegistryError, SchemaId, SchemaRegistry};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::dead_letter::Reason;
use crate::entropy::Entropy;
use crate::patience::Patience;

/// Schemas kept in memory; more distinct ids than that are asked for again.
const SCHEMAS_MAX: usize = 10_000;

/// Schemas that are asked for at once because they will be needed.
const ASKED_AHEAD_MAX: usize = 256;

/// First wait when the registry does not answer.
const WAIT_MIN: Duration = Duration::from_millis(250);

/// How often a registry must say that there is no such schema: its replicas may lag behind.
const REFUSALS: usize = 3;

type Answer = Result<Arc<AvroSchema>, Reason>;

/// The registry's words when it does not let us in.
type Refusal = String;

/// What is known of schema ids so far.
#[derive(Debug)]
pub(crate) struct SchemaCache {
    registry: Option<Arc<dyn SchemaRegistry>>,
    runtime: Handle,
    entropy: Arc<Entropy>,
    known: HashMap<SchemaId, Answer>,
    asked: HashSet<SchemaId>,
    refused: HashMap<SchemaId, Refusal>,
    answers_in: mpsc::UnboundedSender<(SchemaId, Result<Answer, Refusal>)>,
    answers: mpsc::UnboundedReceiver<(SchemaId, Result<Answer, Refusal>)>,
}

impl SchemaCache {
    pub(crate) fn new(
        registry: Option<Arc<dyn SchemaRegistry>>,
        runtime: Handle,
        entropy: Arc<Entropy>,
    ) -> Self {
        let (answers_in, answers) = mpsc::unbounded_channel();
        Self {
            registry,
            runtime,
            entropy,
            known: HashMap::new(),
            asked: HashSet::new(),
            refused: HashMap::new(),
            answers_in,
            answers,
        }
    }

    /// The schema of an id, or why there is none; `None` while it is being fetched.
    pub(crate) fn get(&mut self, id: SchemaId) -> Option<&Answer> {
        if !self.known.contains_key(&id) {
            self.ask(id);
        }
        self.known.get(&id)
    }

    /// Asks for a schema that will be needed, unless many are on their way.
    pub(crate) fn ask_ahead(&mut self, id: SchemaId) {
        if self.asked.len() < ASKED_AHEAD_MAX && !self.known.contains_key(&id) {
            self.ask(id);
        }
    }

    fn ask(&mut self, id: SchemaId) {
        let Some(registry) = &self.registry else {
            let reason = Reason::new(
                "unknown_schema",
                format!("schema {id}: no [registry] is configured"),
            );
            self.known.insert(id, Err(reason));
            return;
        };
        if !self.asked.insert(id) {
            return;
        }
        let (registry, answers) = (Arc::clone(registry), self.answers_in.clone());
        let entropy = Arc::clone(&self.entropy);
        self.runtime.spawn(async move {
            let answer = fetch(registry.as_ref(), id, &entropy).await;
            // Nobody listens any more when the writer has stopped.
            answers.send((id, answer)).ok();
        });
    }

    /// Takes in what has been fetched meanwhile; true if there was anything.
    pub(crate) fn take_answers(&mut self) -> bool {
        let mut any = false;
        while let Ok((id, answer)) = self.answers.try_recv() {
            if self.known.len() >= SCHEMAS_MAX {
                self.known.clear();
            }
            self.asked.remove(&id);
            match answer {
                Ok(answer) => {
                    self.known.insert(id, answer);
                }
                Err(refusal) => {
                    self.refused.insert(id, refusal);
                }
            }
            any = true;
        }
        any
    }

    /// The ids that the registry did not let us ask for since the last time, with its words.
    pub(crate) fn take_refusals(&mut self) -> HashMap<SchemaId, String> {
        std::mem::take(&mut self.refused)
    }

    /// Forgets that ids were not found, so that they are asked for again.
    pub(crate) fn forget_failures(&mut self) {
        self.known.retain(|_, answer| answer.is_ok());
    }
}

async fn fetch(
    registry: &dyn SchemaRegistry,
    id: SchemaId,
    entropy: &Entropy,
) -> Result<Answer, Refusal> {
    let mut patience = Patience::new(entropy, WAIT_MIN);
    let mut refusals = 0;
    let mut down: Option<String> = None;
    loop {
        match registry.schema_by_id(id).await {
            Ok(text) => {
                if down.is_some() {
                    info!(schema_id = %id, "the schema registry answers again");
                }
                return Ok(parse(id, &text));
            }
            Err(error @ RegistryError::Unauthorized { .. }) => return Err(error.to_string()),
            Err(error) if !error.is_passing() => {
                refusals += 1;
                if refusals >= REFUSALS {
                    return Ok(Err(Reason::new("unknown_schema", error.to_string())));
                }
            }
            Err(error) => {
                let why = error.to_string();
                if down.as_ref() != Some(&why) {
                    warn!(schema_id = %id, error = why, "waiting for the schema registry");
                }
                down = Some(why);
            }
        }
        patience.wait().await;
    }
}

fn parse(id: SchemaId, text: &str) -> Answer {
    let refuse = |error: ContractError| {
        Reason::new(
            "unknown_schema",
            format!("schema {id} is not read: {error}"),
        )
    };
    text.parse().map(Arc::new).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;

    #[derive(Debug, Default)]
    struct Flaky(AtomicUsize);

    #[async_trait]
    impl SchemaRegistry for Flaky {
        async fn schema_by_id(&self, id: SchemaId) -> Result<String, RegistryError> {
            let url = "test".to_owned();
            match (id.0, self.0.fetch_add(1, Ordering::SeqCst)) {
                (401, 0..2) => Err(RegistryError::Unauthorized {
                    url,
                    why: "status 401".to_owned(),
                }),
                (404, _) => Err(RegistryError::NotFound { url, id }),
                (422, _) => Err(RegistryError::Refused {
                    url,
                    why: "status 422".to_owned(),
                }),
                (_, 0..4) => Err(RegistryError::Unavailable {
                    url,
                    why: "down".to_owned(),
                }),
                _ => Ok("\"string\"".to_owned()),
            }
        }

        async fn register(&self, _: &str, _: &str) -> Result<SchemaId, RegistryError> {
            Ok(SchemaId(1))
        }
    }

    async fn settled(cache: &mut SchemaCache, id: u32) -> Answer {
        while cache.get(SchemaId(id)).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            cache.take_answers();
        }
        cache.get(SchemaId(id)).unwrap().clone()
    }

    fn cache() -> SchemaCache {
        let entropy = Arc::new(Entropy::seeded(1));
        let registry = Arc::new(Flaky::default());
        SchemaCache::new(Some(registry), Handle::current(), entropy)
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_down_is_waited_for_and_a_missing_schema_is_not() {
        let mut cache = cache();
        assert!(settled(&mut cache, 1).await.is_ok());
        for id in [404, 422] {
            let why = settled(&mut cache, id).await.unwrap_err();
            assert_eq!(why.code, "unknown_schema");
        }
        cache.forget_failures();
        assert!(cache.get(SchemaId(404)).is_none());
        assert!(cache.get(SchemaId(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_does_not_let_us_in_is_told_and_asked_again() {
        let mut cache = cache();
        let id = SchemaId(401);
        for _ in 0..2 {
            assert!(cache.get(id).is_none());
            while !cache.take_answers() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let refused = cache.take_refusals();
            assert!(refused[&id].contains("refuses this client"), "{refused:?}");
            assert!(cache.take_refusals().is_empty());
        }
        assert!(settled(&mut cache, 401).await.is_ok());
    }
}
