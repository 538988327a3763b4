//! What the lake has, as far as a relay must know it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use schemas::TopicPartition;

/// Tells how far the lake has committed, so that nothing is removed from an outbox before it is
/// there.
#[async_trait]
pub trait LakeProgress: fmt::Debug + Send + Sync {
    /// The next offset that the lake has not committed, of each partition of these topics that it
    /// knows. An error leaves the outbox as it is, and is said.
    async fn committed(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<TopicPartition, i64>, Box<dyn Error + Send + Sync>>;
}
