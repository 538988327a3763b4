//! A statement's answer, batch by batch.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::QueryError;

/// The rows of an answer, as they are found. Nothing is collected: what has not been asked for yet
/// has mostly not been read.
pub struct Answer {
    stream: SendableRecordBatchStream,
}

impl Answer {
    pub(crate) fn new(stream: SendableRecordBatchStream) -> Self {
        Self { stream }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next rows; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        Ok(self.stream.next().await.transpose()?)
    }

    /// All rows in memory: only for answers that are known to be small.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("schema", &self.schema())
            .finish_non_exhaustive()
    }
}
