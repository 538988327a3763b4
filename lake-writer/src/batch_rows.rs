//! How many rows of a Parquet file are decoded at a time: rows can be large, and many equal values
//! are next to nothing in a file.

use parquet::arrow::ProjectionMask;
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

/// Bytes of decoded rows.
pub(crate) const BATCH_BYTES: u64 = 4 << 20;

/// Rows, however small they are.
pub(crate) const BATCH_ROWS_MAX: u64 = 8_192;

/// How many rows of a row group make a batch, of these columns: as many as have [`BATCH_BYTES`] when
/// all are of the same size. At least one.
pub(crate) fn batch_rows(group: &RowGroupMetaData, columns: &ProjectionMask) -> usize {
    let chunks = group.columns().iter().enumerate();
    let chunks = chunks.filter(|(leaf, _)| columns.leaf_included(*leaf));
    let bytes = chunks.map(|(_, chunk)| decoded_bytes(chunk)).sum();
    let rows = share(BATCH_BYTES, unsigned(group.num_rows()), bytes);
    usize::try_from(rows.min(BATCH_ROWS_MAX)).unwrap_or(1)
}

/// How many of `rows`, which have so many bytes together, make up this many bytes. At least one.
pub(crate) fn share(wanted: u64, rows: u64, bytes: u64) -> u64 {
    (wanted.saturating_mul(rows) / bytes.max(1)).max(1)
}

/// What a column's values take in memory. Texts tell it themselves; of those that do not, what their
/// pages have.
fn decoded_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let values = unsigned(chunk.num_values());
    match chunk.column_type() {
        Type::BOOLEAN => values / 8,
        Type::INT32 | Type::FLOAT => values * 4,
        Type::INT64 | Type::DOUBLE => values * 8,
        Type::INT96 => values * 12,
        Type::FIXED_LEN_BYTE_ARRAY => {
            let width = u64::try_from(chunk.column_descr().type_length()).unwrap_or(0);
            values.saturating_mul(width)
        }
        Type::BYTE_ARRAY => {
            let bytes = chunk.unencoded_byte_array_data_bytes();
            let bytes = bytes.unwrap_or_else(|| chunk.uncompressed_size());
            (values * 4).saturating_add(unsigned(bytes))
        }
    }
}

/// Parquet counts in signed numbers.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
