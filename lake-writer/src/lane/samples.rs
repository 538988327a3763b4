//! The first records of a topic whose columns are inferred.

/// Records, and bytes of them, that columns are inferred from at the most.
const RECORDS_MAX: usize = 1_000;
const BYTES_MAX: usize = 4 << 20;

/// Values of the first records at hand.
#[derive(Debug, Default)]
pub(super) struct Samples {
    values: Vec<Vec<u8>>,
    bytes: usize,
}

impl Samples {
    /// Keeps a value, unless there are enough.
    pub(super) fn add(&mut self, value: &[u8]) {
        if self.values.len() < RECORDS_MAX && self.bytes < BYTES_MAX {
            self.bytes += value.len();
            self.values.push(value.to_vec());
        }
    }

    /// Gives up the values.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.bytes = 0;
        std::mem::take(&mut self.values)
    }
}
