//! A batch of records as stored: its bytes as the producer sent them, but for the base offset.

use slatedb::bytes::Bytes;
use tansu_sans_io::ErrorCode;
use tansu_sans_io::record::Record;
use tansu_sans_io::record::deflated::Batch;
use tracing::error;

/// Kafka's limit of a batch (`message.max.bytes`) is 1 MiB; here it is not configurable, so wider.
pub(crate) const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Batches collected for one read.
pub(crate) struct Taken {
    pub(crate) batches: Vec<Batch>,
    end: i64,
    bytes_left: usize,
}

impl Taken {
    pub(crate) fn new(end: i64, bytes_max: usize) -> Self {
        Self {
            batches: Vec::new(),
            end,
            bytes_left: bytes_max,
        }
    }

    /// Takes a batch; false when it may not be taken and none after it.
    pub(crate) fn take(&mut self, bytes: Bytes) -> bool {
        let fits = bytes.len() <= self.bytes_left || self.batches.is_empty();
        let size = bytes.len();
        match Batch::try_from(bytes) {
            Ok(batch) if fits && batch.base_offset < self.end => {
                self.bytes_left = self.bytes_left.saturating_sub(size);
                self.batches.push(batch);
                true
            }
            Ok(_) => false,
            Err(error) => {
                error!(%error, "a stored batch cannot be read");
                false
            }
        }
    }
}

/// The base offset of a stored batch.
pub(crate) fn base_offset(bytes: &[u8]) -> Option<i64> {
    bytes.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// What Kafka checks before it appends, less the checksum: the batch came over loopback.
pub(crate) fn validate(batch: &Batch) -> Result<(), ErrorCode> {
    if batch.magic != 2 {
        return Err(ErrorCode::UnsupportedForMessageFormat);
    }
    if batch.is_transactional() || batch.is_control() {
        return Err(ErrorCode::InvalidTxnState);
    }
    let deltas_fit = i64::from(batch.last_offset_delta) + 1 == i64::from(batch.record_count);
    if batch.record_count == 0 || !deltas_fit {
        return Err(ErrorCode::InvalidRecord);
    }
    if batch.record_data.len() > BATCH_BYTES_MAX {
        return Err(ErrorCode::MessageTooLarge);
    }
    Ok(())
}

/// The offset and timestamp of the first record of a batch at or after a time; the batch's own
/// start when its records cannot be unpacked.
pub(crate) fn first_in(batch: Batch, millis: i64) -> (i64, i64) {
    let (base_offset, base_timestamp) = (batch.base_offset, batch.base_timestamp);
    let records = Vec::<Record>::try_from(&batch).unwrap_or_default();
    let at = |record: &Record| base_timestamp + record.timestamp_delta;
    records
        .iter()
        .find(|record| at(record) >= millis)
        .map_or((base_offset, base_timestamp), |record| {
            (base_offset + i64::from(record.offset_delta), at(record))
        })
}
