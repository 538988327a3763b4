//! Byte strings of any length.

use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::error::{Fault, invalid};

/// Byte strings one after another.
#[derive(Debug)]
pub(super) struct Ragged {
    data: Vec<u8>,
    /// Where each string starts, and where the last one ends.
    offsets: Vec<i32>,
}

impl Ragged {
    pub(super) fn new() -> Self {
        Self {
            data: Vec::new(),
            offsets: vec![0],
        }
    }

    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) -> Result<(), Fault> {
        let end = self.data.len() + value.len();
        let Ok(end) = i32::try_from(end) else {
            return Err(invalid(
                "a column of the buffer would exceed 2 GiB; flush earlier",
            ));
        };
        self.data.extend_from_slice(value);
        self.offsets.push(end);
        Ok(())
    }

    pub(super) fn push_empty(&mut self, count: usize) {
        let end = self.offsets.last().copied().unwrap_or_default();
        self.offsets.resize(self.offsets.len() + count, end);
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The string at a place, empty beyond the end.
    pub(super) fn get(&self, place: usize) -> &[u8] {
        let offset = |place: usize| usize::try_from(*self.offsets.get(place)?).ok();
        let range = offset(place).zip(offset(place + 1));
        let bytes = range.and_then(|(start, end)| self.data.get(start..end));
        bytes.unwrap_or_default()
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        let end = self.offsets.last().copied().unwrap_or_default();
        self.data.truncate(usize::try_from(end).unwrap_or_default());
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.capacity() + self.offsets.capacity() * size_of::<i32>()
    }

    pub(super) fn into_parts(self) -> (OffsetBuffer<i32>, Buffer) {
        (
            OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            Buffer::from_vec(self.data),
        )
    }
}
