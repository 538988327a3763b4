//! The Confluent wire format: magic byte 0, the schema's id (4 bytes, big endian), the Avro body.

use crate::SchemaId;

/// Bytes before the body.
pub const PREFIX_BYTES: usize = 5;

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
    }

    #[test]
    fn other_bytes_are_not_framed() {
        assert_eq!(unframe(b""), None);
        assert_eq!(unframe(b"\0\0\0\0"), None);
        assert_eq!(unframe(b"\x01\0\0\0\x01x"), None);
        assert_eq!(unframe(b"{\"a\":1}"), None);
    }
}
