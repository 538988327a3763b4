//! The records of the benchmark, the same in every run.

use apache_avro::types::Value;

/// The flat flight record.
pub(crate) const FLIGHT: &str = r#"{"type":"record","name":"FlightChange","namespace":"bench.peers","fields":[
 {"name":"flight_id","type":"string"},{"name":"carrier","type":"string"},
 {"name":"flight","type":"int"},{"name":"origin","type":"string"},
 {"name":"dest","type":"string"},
 {"name":"sched_dep","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"dep_delay","type":"double"},{"name":"arr_delay","type":"double"},
 {"name":"status","type":"string"},{"name":"tailnum","type":"string"},
 {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"note","type":"string"}]}"#;

/// Debezium's envelope of a small row.
pub(crate) const ENVELOPE: &str = r#"{"type":"record","name":"Envelope","namespace":"bench","fields":[
 {"name":"before","type":["null",{"type":"record","name":"Row","lakehead.key":["id"],"fields":[
  {"name":"id","type":"long"},{"name":"carrier","type":"string"},
  {"name":"status","type":["null","string"]},{"name":"delay","type":["null","double"]}]}]},
 {"name":"after","type":["null","Row"]},
 {"name":"source","type":{"type":"record","name":"Source","fields":[
  {"name":"version","type":"string"},{"name":"connector","type":"string"},
  {"name":"name","type":"string"},{"name":"ts_ms","type":"long"},{"name":"db","type":"string"},
  {"name":"table","type":"string"},{"name":"txId","type":["null","long"]},
  {"name":"lsn","type":["null","long"]}]}},
 {"name":"op","type":"string"},{"name":"ts_ms","type":["null","long"]}]}"#;

/// Scrambles a number, the same way every time.
fn mixed(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ mixed >> 31
}

/// A flat flight record.
pub(crate) struct Flight {
    mixed: u64,
    note: String,
}

impl Flight {
    pub(crate) fn new(number: u64) -> Self {
        let mixed = mixed(number);
        let letters = (0..40).map(|i| {
            let letter = self::mixed(number * 64 + i) % 62;
            char::from_digit(u32::try_from(letter % 36).unwrap_or(0), 36).unwrap_or('_')
        });
        Self {
            mixed,
            note: letters.collect(),
        }
    }

    fn minute(&self) -> u64 {
        self.mixed % (364 * 24 * 60)
    }

    fn texts(&self) -> [(&'static str, String); 6] {
        let pick = |from: &[&str], shift: u32| {
            from[(self.mixed >> shift) as usize % from.len()].to_owned()
        };
        [
            ("carrier", pick(&["9E", "AA", "B6", "DL", "EV", "UA"], 8)),
            ("origin", pick(&["EWR", "JFK", "LGA"], 32)),
            (
                "dest",
                pick(&["ATL", "BOS", "BQN", "LAX", "MIA", "SFO"], 36),
            ),
            (
                "status",
                pick(&["scheduled", "boarding", "departed", "arrived"], 50),
            ),
            (
                "tailnum",
                format!("N{}", (self.mixed >> 40) % 90_000 + 10_000),
            ),
            ("flight_id", format!("{:016x}", self.mixed)),
        ]
    }

    fn delay(&self, shift: u32) -> f64 {
        (self.mixed >> shift & 0xff) as f64 - 20.0
    }

    pub(crate) fn json(&self) -> String {
        let [
            (_, carrier),
            (_, origin),
            (_, dest),
            (_, status),
            (_, tailnum),
            (_, id),
        ] = self.texts();
        format!(
            r#"{{"flight_id":"{id}","carrier":"{carrier}","flight":{},"origin":"{origin}","dest":"{dest}","sched_dep":"{}","dep_delay":{:?},"arr_delay":{:?},"status":"{status}","tailnum":"{tailnum}","event_time":"{}","note":"{}"}}"#,
            (self.mixed >> 16) % 8500 + 1,
            instant(self.minute()),
            self.delay(12),
            self.delay(22),
            instant(self.minute() + 45),
            self.note,
        )
    }

    pub(crate) fn avro(&self) -> Value {
        let micros = |minute: u64| {
            Value::TimestampMicros(1_356_998_400_000_000 + minute.cast_signed() * 60_000_000)
        };
        let mut fields: Vec<(String, Value)> = self
            .texts()
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Value::String(text)))
            .collect();
        let flight = i32::try_from((self.mixed >> 16) % 8500).unwrap_or(0) + 1;
        fields.extend([
            ("flight".to_owned(), Value::Int(flight)),
            ("sched_dep".to_owned(), micros(self.minute())),
            ("dep_delay".to_owned(), Value::Double(self.delay(12))),
            ("arr_delay".to_owned(), Value::Double(self.delay(22))),
            ("event_time".to_owned(), micros(self.minute() + 45)),
            ("note".to_owned(), Value::String(self.note.clone())),
        ]);
        Value::Record(fields)
    }
}

/// A minute of 2013 as RFC 3339.
fn instant(minute: u64) -> String {
    let start = chrono::DateTime::from_timestamp(1_356_998_400, 0).unwrap_or_default();
    let at = start + chrono::TimeDelta::minutes(minute.cast_signed());
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An update in Debezium's envelope.
pub(crate) struct Change {
    mixed: u64,
}

impl Change {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            mixed: mixed(number),
        }
    }

    pub(crate) fn json(&self) -> String {
        let id = self.mixed >> 40;
        let row = |status: &str| {
            format!(
                r#"{{"id":{id},"carrier":"UA","status":"{status}","delay":{:?}}}"#,
                (self.mixed & 63) as f64 / 4.0
            )
        };
        format!(
            r#"{{"before":{},"after":{},"source":{{"version":"3.2.0","connector":"postgresql","name":"flights","ts_ms":{},"db":"flights","table":"flight","txId":{},"lsn":{}}},"op":"u","ts_ms":{}}}"#,
            row("boarding"),
            row("departed"),
            1_357_000_000_000 + id,
            id >> 4,
            id << 4,
            1_357_000_000_001 + id,
        )
    }

    pub(crate) fn avro(&self) -> Value {
        let id = (self.mixed >> 40).cast_signed();
        let long = |value| Value::Union(1, Box::new(Value::Long(value)));
        let text = |text: &str| Value::String(text.to_owned());
        let row = |status: &str| {
            let delay = Value::Double((self.mixed & 63) as f64 / 4.0);
            let row = record([
                ("id", Value::Long(id)),
                ("carrier", text("UA")),
                ("status", Value::Union(1, Box::new(text(status)))),
                ("delay", Value::Union(1, Box::new(delay))),
            ]);
            Value::Union(1, Box::new(row))
        };
        let source = record([
            ("version", text("3.2.0")),
            ("connector", text("postgresql")),
            ("name", text("flights")),
            ("ts_ms", Value::Long(1_357_000_000_000 + id)),
            ("db", text("flights")),
            ("table", text("flight")),
            ("txId", long(id >> 4)),
            ("lsn", long(id << 4)),
        ]);
        record([
            ("before", row("boarding")),
            ("after", row("departed")),
            ("source", source),
            ("op", text("u")),
            ("ts_ms", long(1_357_000_000_001 + id)),
        ])
    }
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
