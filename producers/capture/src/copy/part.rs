//! The parts of a table that were copied at different snapshots.

use std::cmp::Ordering;

use crate::Lsn;
use crate::key_order::KeyOrder;
use crate::table_copy::{CopiedPart, TableCopy};

/// Notes that rows up to `to` are copied at the snapshot of `lsn`.
pub(super) fn extend(copy: &mut TableCopy, lsn: Lsn, to: &[String]) {
    let to = Some(to.to_vec());
    match copy.parts.last_mut() {
        Some(last) if last.lsn == lsn => last.to = to,
        _ => copy.parts.push(CopiedPart { lsn, to }),
    }
}

/// Notes that the rest is copied at the snapshot of `lsn`.
pub(super) fn finish(copy: &mut TableCopy, lsn: Lsn) {
    match copy.parts.last_mut() {
        Some(last) if last.lsn == lsn => last.to = None,
        _ => copy.parts.push(CopiedPart { lsn, to: None }),
    }
    copy.is_done = true;
}

/// Tells which changes are in the rows that were copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    parts: Vec<CopiedPart>,
    /// Behind it, no change is in any part.
    last: Lsn,
}

impl Parts {
    pub(crate) fn new(parts: &[CopiedPart]) -> Self {
        Self {
            parts: parts.to_vec(),
            last: parts.iter().map(|part| part.lsn).max().unwrap_or_default(),
        }
    }

    /// Whether a transaction committed here may have changes that are in the rows.
    pub(crate) fn reach(&self, commit_lsn: Lsn) -> bool {
        commit_lsn < self.last
    }

    /// Whether a change of this key, committed here, is in the rows.
    pub(crate) fn have(&self, key: &[&str], commit_lsn: Lsn, order: &KeyOrder) -> bool {
        let part = self.parts.iter().find(|part| match &part.to {
            None => true,
            Some(to) => {
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                order.compare(key, &to) != Ordering::Greater
            }
        });
        part.is_some_and(|part| commit_lsn < part.lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column_type::ColumnType;
    use crate::pg_type::{PgType, Types};

    #[test]
    fn a_change_is_asked_for_its_part() {
        let types = Types::of([(
            23,
            PgType::Base {
                name: "int4".into(),
            },
        )]);
        let number = ColumnType::of(23, -1, &types);
        let order = KeyOrder::new([("id", 23, &number)], &types);
        let mut copy = TableCopy::default();
        extend(&mut copy, Lsn(10), &["5".into()]);
        extend(&mut copy, Lsn(10), &["9".into()]);
        finish(&mut copy, Lsn(20));
        assert!(copy.is_done);
        let parts = Parts::new(&copy.parts);
        assert!(parts.reach(Lsn(19)) && !parts.reach(Lsn(20)));
        assert!(parts.have(&["9"], Lsn(9), &order));
        assert!(!parts.have(&["9"], Lsn(10), &order));
        assert!(parts.have(&["10"], Lsn(19), &order));
        assert!(!parts.have(&["10"], Lsn(20), &order));
        assert!(!Parts::default().reach(Lsn(1)));
    }
}
