//! Messages as the writer's records.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _};

use crate::record_log::{Headers, Record};

/// A message as a record.
pub(crate) fn record_of<'m>(message: &'m BorrowedMessage<'m>) -> Record<'m> {
    let headers = message.headers();
    Record {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key(),
        value: message.payload(),
        headers: headers.map(|headers| headers as &dyn Headers),
    }
}

impl Headers for BorrowedHeaders {
    fn len(&self) -> usize {
        self.count()
    }

    fn get(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        // rdkafka panics on a header name that is not UTF-8; anybody can send one.
        let header = catch_unwind(AssertUnwindSafe(|| self.try_get(index))).ok()??;
        Some((header.key, header.value))
    }
}
