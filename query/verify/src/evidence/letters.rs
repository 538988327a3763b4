//! Events that became dead letters: they are in the lake, but not in the table.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use query_engine::Engine;
use schemas::{Sequence, TableName, header};

use crate::VerifyError;

/// Sequences and ids of dead letters by source, as their headers have them. One that was published
/// and buried twice is one.
#[derive(Debug, Default)]
pub(super) struct Letters {
    by_source: BTreeMap<String, BTreeSet<(i64, String)>>,
}

impl Letters {
    pub(super) async fn read(lake: &Engine, table: &TableName) -> Result<Self, VerifyError> {
        let sql = format!("SELECT headers FROM system.dead_letters WHERE \"table\" = '{table}'");
        let mut answer = Box::pin(lake.ask(&sql)).await?;
        let mut letters = Self::default();
        while let Some(batch) = answer.next().await? {
            let headers = cast(batch.column(0), &DataType::Utf8);
            let headers = headers.map_err(|error| VerifyError::Table {
                table: table.clone(),
                why: error.to_string(),
            })?;
            for headers in headers.as_string::<i32>().iter().flatten() {
                letters.take(headers);
            }
        }
        Ok(letters)
    }

    /// Of a foreign producer's record nothing is told by its headers.
    fn take(&mut self, headers: &str) {
        let headers: Vec<(String, Option<String>)> =
            serde_json::from_str(headers).unwrap_or_default();
        let value = |name: &str| {
            let found = headers.iter().find(|(of, _)| of == name)?;
            let bytes = BASE64_STANDARD.decode(found.1.as_deref()?).ok()?;
            String::from_utf8(bytes).ok()
        };
        let sequence = value(header::SEQUENCE).and_then(|text| text.parse::<Sequence>().ok());
        if let (Some(source), Some(id), Some(sequence)) =
            (value(header::SOURCE), value(header::EVENT_ID), sequence)
        {
            let of_source = self.by_source.entry(source).or_default();
            of_source.insert((sequence.major, id));
        }
    }

    pub(super) fn of(&self, source: &str) -> impl Iterator<Item = (i64, &str)> {
        let letters = self.by_source.get(source).into_iter().flatten();
        letters.map(|(sequence, id)| (*sequence, id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_known_by_its_headers() {
        let header = |name: &str, value: &str| {
            let value = BASE64_STANDARD.encode(value);
            format!(r#"["{name}","{value}"]"#)
        };
        let [source, id, sequence] = [
            header("ce_source", "/cabin/1"),
            header("ce_id", "event 1"),
            header("lakehead_sequence", "17"),
        ];
        let mut letters = Letters::default();
        for _ in 0..2 {
            letters.take(&format!(r#"[{source},["other",null],{id},{sequence}]"#));
        }
        letters.take(&format!("[{source},{id}]"));
        letters.take("[]");
        letters.take("no JSON");
        let found: Vec<_> = letters.of("/cabin/1").collect();
        assert_eq!(found, [(17, "event 1")]);
        assert_eq!(letters.of("/cabin/2").count(), 0);
    }
}
