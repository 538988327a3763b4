//! How a record's bytes name their schema: Confluent's wire format, and Avro's single-object
//! encoding.

use std::fmt;

use crate::SchemaId;

/// Bytes before the body in the Confluent wire format: magic byte 0, the schema's id (4 bytes, big
/// endian).
pub const PREFIX_BYTES: usize = 5;

/// Bytes before the body in single-object encoding: the marker, the fingerprint.
pub const SINGLE_OBJECT_BYTES: usize = 10;

/// The first bytes of a value in single-object encoding, version 1.
const MARKER: [u8; 2] = [0xC3, 0x01];

/// CRC-64-AVRO of a schema's parsing canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Splits a framed value into its schema id and body; `None` if it is not framed.
pub fn unframe(value: &[u8]) -> Option<(SchemaId, &[u8])> {
    let (prefix, body) = value.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, id @ ..] = prefix else { return None };
    Some((SchemaId(u32::from_be_bytes(*id)), body))
}

/// Starts a framed value: the body is to be appended to `out`.
pub fn frame(id: SchemaId, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.0.to_be_bytes());
}

/// Splits a value in single-object encoding into its schema's fingerprint and body; `None` if it
/// does not start with the marker.
pub fn unframe_single_object(value: &[u8]) -> Option<(Fingerprint, &[u8])> {
    let (marker, rest) = value.split_first_chunk::<2>()?;
    let (fingerprint, body) = rest.split_first_chunk::<8>()?;
    (*marker == MARKER).then(|| (Fingerprint(u64::from_le_bytes(*fingerprint)), body))
}

/// Starts a value in single-object encoding: the body is to be appended to `out`.
pub fn frame_single_object(fingerprint: Fingerprint, out: &mut Vec<u8>) {
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&fingerprint.0.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_apart_as_it_was_put_together() {
        let mut out = Vec::new();
        frame(SchemaId(258), &mut out);
        out.extend_from_slice(b"body");
        assert_eq!(out, b"\0\0\0\x01\x02body");
        assert_eq!(unframe(&out), Some((SchemaId(258), b"body".as_slice())));
        assert_eq!(unframe_single_object(&out), None);
    }

    #[test]
    fn a_single_object_is_taken_apart_as_it_was_put_together() {
        let mut out = Vec::new();
        frame_single_object(Fingerprint(0x0102), &mut out);
        assert_eq!(out, b"\xC3\x01\x02\x01\0\0\0\0\0\0");
        out.extend_from_slice(b"body");
        let expected = (Fingerprint(0x0102), b"body".as_slice());
        assert_eq!(unframe_single_object(&out), Some(expected));
        assert_eq!(Fingerprint(0x0102).to_string(), "0000000000000102");
    }

    #[test]
    fn other_bytes_are_not_framed() {
        for bytes in [
            b"".as_slice(),
            b"\0\0\0\0",
            b"\x01\0\0\0\x01x",
            b"{\"a\":1}",
            b"\xC3\x02\0\0\0\0\0\0\0\0",
            b"\xC3\x01\0\0\0\0\0\0\0",
        ] {
            assert_eq!(unframe(bytes), None);
            assert_eq!(unframe_single_object(bytes), None);
        }
    }
}
