//! The first records of a topic whose columns are inferred.

/// Records, and bytes of them, that columns are inferred from at the most.
const RECORDS_MAX: usize = 1_000;
const BYTES_MAX: usize = 4 << 20;

/// Values of the first records at hand.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) values: Vec<Vec<u8>>,
    /// The first key of their records.
    pub(super) key: Option<Vec<u8>>,
    bytes: usize,
}

impl Samples {
    /// Keeps a value, unless there are enough.
    pub(super) fn add(&mut self, value: &[u8], key: Option<&[u8]>) {
        self.key = self.key.take().or_else(|| key.map(<[u8]>::to_vec));
        if self.values.len() < RECORDS_MAX && self.bytes < BYTES_MAX {
            self.bytes += value.len();
            self.values.push(value.to_vec());
        }
    }

    /// Gives up what was kept.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
