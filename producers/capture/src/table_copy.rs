//! How far each table is copied, and whether it is still the table that was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::membership::Membership;
use crate::owned_table::{OwnedTable, refused};
use crate::{CaptureError, CapturedTable, Lsn};

/// The copies of the captured tables, by topic.
pub(crate) type TableCopies = BTreeMap<String, TableCopy>;

/// How far a table is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableCopy {
    /// The table, by Postgres' own number of it: a table that is made again has the same name.
    pub(crate) oid: u32,
    pub(crate) is_done: bool,
    /// Rows that are copied and acknowledged; the last one's ordinal.
    pub(crate) rows: i64,
    /// The parts of the table by rising key, each copied at one snapshot. Forgotten when the stream
    /// is past the last snapshot.
    pub(crate) parts: Vec<CopiedPart>,
    /// How it has been in the publication since it was captured; not known until that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) membership: Option<Membership>,
}

/// A range of keys that was copied at one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopiedPart {
    /// Everything that was committed before this place is in the rows that were copied.
    pub(crate) lsn: Lsn,
    /// The last key of the part, by its columns' texts; none for the table's last part.
    pub(crate) to: Option<Vec<String>>,
}

impl TableCopy {
    /// Forgets the parts when the stream is past all of them. Each one is told by where the one before
    /// it ends, so that they stay together until then.
    pub(crate) fn settle(&mut self, confirmed: Lsn) {
        if self.is_done && self.parts.iter().all(|part| part.lsn <= confirmed) {
            self.parts.clear();
        }
    }
}

/// Takes in the tables that are captured from now on. What is no longer captured is forgotten, so that it
/// is copied anew when it comes back: nobody knows what changed meanwhile. Refuses by name a table that
/// was made again.
pub(crate) fn enroll(copies: &mut TableCopies, owned: &[OwnedTable]) -> Result<(), CaptureError> {
    copies.retain(|topic, _| {
        let stays = owned.iter().any(|table| table.settings.topic() == *topic);
        if !stays {
            warn!(
                topic,
                "the topic's table is no longer captured; should it come back, it is copied anew"
            );
        }
        stays
    });
    for table in owned {
        let copy = copies.entry(table.settings.topic()).or_default();
        if copy.oid == 0 {
            copy.oid = table.oid;
        }
        if copy.oid != table.oid {
            return Err(made_again(&table.settings));
        }
    }
    Ok(())
}

/// Of a table that has the name of the one that was captured, and is another.
pub(crate) fn made_again(table: &CapturedTable) -> CaptureError {
    refused(
        table,
        format!(
            "it is another table than the one that was captured: it was dropped and made again, which no \
             change event says, so the lake has the old rows still. To copy the new one into {topic:?}, start \
             once with the table left out of the configuration (or in a topic of its own: name another entity)",
            topic = table.topic()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(name: &str, oid: u32) -> OwnedTable {
        let entity = format!("shop.{name}").parse().unwrap();
        OwnedTable {
            oid,
            settings: CapturedTable::new("public", name, entity),
            columns: Vec::new(),
            key: Vec::new(),
        }
    }

    #[test]
    fn parts_are_forgotten_together() {
        let part = |lsn, to: Option<&str>| CopiedPart {
            lsn: Lsn(lsn),
            to: to.map(|to| vec![to.to_owned()]),
        };
        let mut copy = TableCopy {
            oid: 1,
            is_done: true,
            rows: 2,
            parts: vec![part(5, Some("1")), part(9, None)],
            membership: None,
        };
        copy.settle(Lsn(8));
        assert_eq!(copy.parts.len(), 2);
        copy.is_done = false;
        copy.settle(Lsn(9));
        assert_eq!(copy.parts.len(), 2);
        copy.is_done = true;
        copy.settle(Lsn(9));
        assert!(copy.parts.is_empty());
    }

    #[test]
    fn a_table_is_known_by_its_number() {
        let mut copies = TableCopies::new();
        enroll(&mut copies, &[owned("seat", 7), owned("gate", 8)]).unwrap();
        copies.get_mut("shop.seat").unwrap().is_done = true;
        // Left out, it is forgotten; the other one goes on.
        enroll(&mut copies, &[owned("seat", 7)]).unwrap();
        assert!(copies.len() == 1 && copies["shop.seat"].is_done);
        let error = enroll(&mut copies, &[owned("seat", 9)]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("public.seat") && text.contains("made again"),
            "{text}"
        );
        enroll(&mut copies, &[]).unwrap();
        enroll(&mut copies, &[owned("seat", 9)]).unwrap();
        assert!(!copies["shop.seat"].is_done);
    }
}
