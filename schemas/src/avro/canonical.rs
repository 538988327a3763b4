//! The parsing canonical form of a schema, and its fingerprint.

use std::collections::HashSet;

use serde_json::Value;

use super::{AvroSchema, Kind, NodeId};
use crate::wire::Fingerprint;

/// CRC-64-AVRO of no bytes.
const EMPTY: u64 = 0xc15d_213a_a4d7_a795;

impl AvroSchema {
    /// CRC-64-AVRO of the schema's parsing canonical form: what single-object encoding names a
    /// schema by. Attributes, defaults, aliases and documentation do not count.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(crc64(self.canonical().as_bytes()))
    }

    /// The parsing canonical form.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        self.write(self.root, &mut HashSet::new(), &mut text);
        text
    }

    fn write(&self, id: NodeId, defined: &mut HashSet<NodeId>, out: &mut String) {
        let name = match &self.node(id).kind {
            Kind::Union(branches) => {
                self.list(branches, '[', ']', out, |id, out| {
                    self.write(*id, defined, out);
                });
                return;
            }
            Kind::Array(items) => {
                out.push_str(r#"{"type":"array","items":"#);
                self.write(*items, defined, out);
                out.push('}');
                return;
            }
            Kind::Map(values) => {
                out.push_str(r#"{"type":"map","values":"#);
                self.write(*values, defined, out);
                out.push('}');
                return;
            }
            Kind::Record { name, .. } | Kind::Enum { name, .. } | Kind::Fixed { name, .. } => name,
            kind => {
                quoted(kind.name(), out);
                return;
            }
        };
        if !defined.insert(id) {
            quoted(name, out);
            return;
        }
        out.push_str(r#"{"name":"#);
        quoted(name, out);
        match &self.node(id).kind {
            Kind::Fixed { size, .. } => {
                out.push_str(&format!(r#","type":"fixed","size":{size}"#));
            }
            Kind::Enum { symbols, .. } => {
                out.push_str(r#","type":"enum","symbols":"#);
                self.list(symbols, '[', ']', out, |symbol, out| quoted(symbol, out));
            }
            Kind::Record { fields, .. } => {
                out.push_str(r#","type":"record","fields":"#);
                self.list(fields, '[', ']', out, |field, out| {
                    out.push_str(r#"{"name":"#);
                    quoted(&field.name, out);
                    out.push_str(r#","type":"#);
                    self.write(field.node, defined, out);
                    out.push('}');
                });
            }
            _ => {}
        }
        out.push('}');
    }

    fn list<T>(
        &self,
        items: &[T],
        start: char,
        end: char,
        out: &mut String,
        mut write: impl FnMut(&T, &mut String),
    ) {
        out.push(start);
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                out.push(',');
            }
            write(item, out);
        }
        out.push(end);
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

/// CRC-64-AVRO, a bit at a time: a schema is read once.
fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = EMPTY;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= EMPTY;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::rabin::Rabin;

    use super::*;

    #[test]
    fn forms_and_fingerprints_are_those_of_apache_avro() {
        for text in [
            r#""int""#,
            r#"{"type":"array","items":["null","string"]}"#,
            r#"{"type":"map","values":{"type":"fixed","name":"F","namespace":"x.y","size":16}}"#,
            r#"{"type":"record","name":"R","namespace":"n","doc":"d","fields":[
                {"name":"a","type":"long","default":3,"aliases":["b"]},
                {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
                {"name":"f","type":["null","E","R"]}]}"#,
        ] {
            let ours: AvroSchema = text.parse().unwrap();
            let theirs = Schema::parse_str(text).unwrap();
            assert_eq!(ours.canonical(), theirs.canonical_form(), "{text}");
            let bytes = theirs.fingerprint::<Rabin>().bytes;
            assert_eq!(
                ours.fingerprint().0.to_le_bytes().as_slice(),
                bytes,
                "{text}"
            );
        }
    }

    #[test]
    fn fingerprints_are_those_of_the_specification() {
        // From the test vectors of Avro's own repository (share/test/data/schema-tests.txt).
        let fingerprint = |text: &str| text.parse::<AvroSchema>().unwrap().fingerprint().0;
        assert_eq!(
            fingerprint(r#""int""#).cast_signed(),
            8_247_732_601_305_521_295
        );
        assert_eq!(
            fingerprint(r#""null""#).cast_signed(),
            7_195_948_357_588_979_594
        );
    }
}
