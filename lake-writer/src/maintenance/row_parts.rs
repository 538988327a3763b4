//! Rows that are copied out of several batches, part by part: a copy takes memory beside what it is
//! of, and a column of texts holds 2 GiB at most.

use std::ops::Range;

use arrow::array::RecordBatch;

use crate::batch_rows::{BATCH_BYTES, BATCH_ROWS_MAX};

/// Which of these rows, each a place in one of several batches, are copied together: as many as have
/// [`BATCH_BYTES`], if those of one batch are of the same size, which `sizes` has of each batch.
pub(crate) fn row_parts(sizes: &[u64], rows: &[(usize, usize)]) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (end, (batch, _)) in rows.iter().enumerate() {
        let more = sizes.get(*batch).copied().unwrap_or(0);
        let is_full = bytes + more > BATCH_BYTES || (end - start) as u64 == BATCH_ROWS_MAX;
        if is_full && end > start {
            parts.push(start..end);
            (start, bytes) = (end, 0);
        }
        bytes += more;
    }
    if start < rows.len() {
        parts.push(start..rows.len());
    }
    parts
}

/// What a row of the batch takes, in bytes.
pub(crate) fn row_bytes(batch: &RecordBatch) -> u64 {
    let bytes = batch.get_array_memory_size() as u64;
    bytes.div_ceil(batch.num_rows().max(1) as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    fn batch(rows: usize, text_bytes: usize) -> RecordBatch {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(text_bytes); rows]));
        RecordBatch::try_from_iter([("text", texts)]).unwrap()
    }

    #[test]
    fn a_part_has_no_more_bytes_nor_rows_than_it_may() {
        let (large, small) = (batch(100, 200_000), batch(1_000, 10));
        // All of the large ones come one after the other.
        let rows = (0..20_000).map(|row| match row {
            7_000..7_100 => (0, row - 7_000),
            _ => (1, row % 1_000),
        });
        let rows: Vec<(usize, usize)> = rows.collect();
        let parts = row_parts(&[row_bytes(&large), row_bytes(&small)], &rows);
        let mut next = 0;
        for part in parts {
            assert_eq!(part.start, next);
            assert!(!part.is_empty() && part.len() as u64 <= BATCH_ROWS_MAX);
            let of_large = rows[part.clone()].iter().filter(|(batch, _)| *batch == 0);
            assert!(of_large.count() <= 20);
            next = part.end;
        }
        assert_eq!(next, rows.len());
    }

    #[test]
    fn a_row_that_is_too_large_has_a_part_of_its_own() {
        let huge = row_bytes(&batch(3, 5 << 20));
        let rows = [(0, 2), (0, 0), (0, 1)];
        assert_eq!(row_parts(&[huge], &rows), [0..1, 1..2, 2..3]);
        assert!(row_parts(&[huge], &[]).is_empty());
        assert!(row_parts(&[], &[]).is_empty());
    }
}
