//! The canonical bytes of one row.

use super::{hash, number};

/// Writes canonical bytes, value by value.
///
/// The caller nests: a record is begun, each of its fields that is not null is named and written,
/// names rising by their bytes, and it is ended.
#[derive(Clone, Debug, Default)]
pub struct RowWriter {
    bytes: Vec<u8>,
}

impl RowWriter {
    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash of the bytes so far.
    pub fn hash(&self) -> u128 {
        hash(&self.bytes)
    }

    /// Begins anew; the memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// How many bytes there are, to cut back to.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes back what was written after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// A null where it has a place: an item of an array, a value of a map, or a row that is gone.
    /// A field that is null is left out.
    pub fn null(&mut self) {
        self.bytes.push(b'n');
    }

    /// true or false.
    pub fn boolean(&mut self, value: bool) {
        self.bytes.push(if value { b't' } else { b'f' });
    }

    /// A whole number.
    pub fn whole(&mut self, value: i64) {
        number::put_whole(value.into(), 0, &mut self.bytes);
    }

    /// A decimal number: `digits` of which `scale` follow the point.
    pub fn decimal(&mut self, digits: i128, scale: i32) {
        number::put_whole(digits, -i64::from(scale), &mut self.bytes);
    }

    /// A floating-point number. One of 32 bits is given as the double that equals it.
    pub fn double(&mut self, value: f64) {
        number::put_double(value, &mut self.bytes);
    }

    /// A number of any size by its decimal text; false, and nothing written, if it is none.
    pub fn number_text(&mut self, text: &str) -> bool {
        number::put_text(text, &mut self.bytes)
    }

    /// Text, as its UTF-8 is.
    pub fn text(&mut self, value: &str) {
        self.bytes.push(b's');
        self.sized(value.as_bytes());
    }

    /// Bytes.
    pub fn binary(&mut self, value: &[u8]) {
        self.bytes.push(b'b');
        self.sized(value);
    }

    /// A day, counted from 1970-01-01.
    pub fn date(&mut self, days: i32) {
        self.bytes.push(b'd');
        number::put_count(days.into(), &mut self.bytes);
    }

    /// An instant in microseconds since 1970-01-01 UTC.
    pub fn timestamp(&mut self, micros: i64) {
        self.bytes.push(b'i');
        number::put_count(micros, &mut self.bytes);
    }

    /// Begins a record.
    pub fn begin_record(&mut self) {
        self.bytes.push(b'{');
    }

    /// Names the field whose value comes next.
    pub fn field(&mut self, name: &str) {
        self.bytes.push(b'.');
        self.sized(name.as_bytes());
    }

    /// Ends a record.
    pub fn end_record(&mut self) {
        self.bytes.push(b'}');
    }

    /// Begins an array; its items follow in order.
    pub fn begin_array(&mut self) {
        self.bytes.push(b'[');
    }

    /// Ends an array.
    pub fn end_array(&mut self) {
        self.bytes.push(b']');
    }

    /// Begins a map; its entries follow, keys rising by their bytes.
    pub fn begin_map(&mut self) {
        self.bytes.push(b'<');
    }

    /// The key of the entry whose value comes next.
    pub fn key(&mut self, key: &str) {
        self.field(key);
    }

    /// Ends a map.
    pub fn end_map(&mut self) {
        self.bytes.push(b'>');
    }

    /// Appends once more what was written in a range of the bytes.
    pub(super) fn again(&mut self, written: std::ops::Range<usize>) {
        self.bytes.extend_from_within(written);
    }

    /// Length as four bytes, least significant first, then the bytes. Nothing that is hashed here
    /// is larger: a record in Kafka is a few megabytes.
    fn sized(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }
}
