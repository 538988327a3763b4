//! The canonical form of rows, and sums of their hashes that know no order.
//!
//! Two rows that say the same have the same bytes, whoever wrote them down and how: as JSON in an
//! outbox, as a database's own values, as Arrow columns in the lake. The bytes are hashed, and the
//! hashes of many rows are added up, so that two sides that hold the same rows in any order have
//! the same sum. What the bytes are is told in schemas/docs/canonical.md, for other languages too,
//! with test vectors in schemas/vectors.
//!
//! Where to read next: [`RowWriter`] (the bytes), [`JsonRow`] and [`AvroRow`] (a JSON object, or
//! Avro bytes, as a row of a contract), [`Sum`].

mod avro;
mod json;
mod number;
mod sum;
mod time;
mod writer;

pub use avro::AvroRow;
pub use json::{JsonRow, NotCanonical};
pub use sum::{EventSums, Sum};
pub use time::{day_of_text, instant_of_text, time_of_text, wall_clock_of_text};
pub use writer::RowWriter;

use twox_hash::XxHash3_128;

/// The version of the form. Sums of different versions cannot be compared.
pub const VERSION: u32 = 1;

/// The hash of canonical bytes, and of the UTF-8 of an event's id: XXH3 with 128 bits, seed 0.
///
/// It keeps accidents apart, as many as the world has rows. It does not keep out somebody who may
/// choose rows at will, nor would any other hash: sums of 128 bits can be met by choosing enough
/// of them. Whoever could do that writes the owner's table or the lake and needs no such thing.
pub fn hash(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

#[cfg(test)]
mod tests;
