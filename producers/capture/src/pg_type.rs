//! The types of the owner's database.

use std::collections::BTreeMap;

use crate::answer::{Answer, text};
use crate::session::{Session, SessionError};

/// How deep domains and arrays may lie in one another.
const DEPTH_MAX: usize = 8;

/// What is known of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PgType {
    /// One that comes with Postgres, by its name there.
    Base {
        name: String,
    },
    Enum,
    Domain {
        base: u32,
        base_modifier: i32,
    },
    /// Items between braces, separated by commas.
    Array {
        item: u32,
    },
    /// A range, a composite, an extension's.
    Other,
}

/// The types that were looked up; a type never changes what it is under its number.
#[derive(Debug, Default)]
pub(crate) struct Types {
    known: BTreeMap<u32, PgType>,
}

impl Types {
    #[cfg(test)]
    pub(crate) fn of(types: impl IntoIterator<Item = (u32, PgType)>) -> Self {
        Self {
            known: types.into_iter().collect(),
        }
    }

    pub(crate) fn get(&self, oid: u32) -> Option<&PgType> {
        self.known.get(&oid)
    }

    /// Looks up those of `oids` that are not known, and what they are made of. A type that is dropped
    /// since is not there.
    pub(crate) async fn look_up(
        &mut self,
        session: &mut Session,
        oids: impl IntoIterator<Item = u32>,
    ) -> Result<(), SessionError> {
        let mut wanted: Vec<u32> = oids.into_iter().collect();
        for _ in 0..DEPTH_MAX {
            wanted.retain(|oid| !self.known.contains_key(oid));
            if wanted.is_empty() {
                break;
            }
            let list: Vec<String> = wanted.iter().map(u32::to_string).collect();
            let found = session.query(&question(&list.join(", "))).await?;
            wanted.clear();
            for row in &found {
                let (oid, found) = read(row)?;
                match &found {
                    PgType::Domain { base, .. } => wanted.push(*base),
                    PgType::Array { item } => wanted.push(*item),
                    _ => {}
                }
                self.known.insert(oid, found);
            }
        }
        Ok(())
    }
}

fn question(oids: &str) -> String {
    format!(
        "SELECT t.oid, t.typname, t.typtype, t.typbasetype, t.typtypmod, t.typelem, \
         t.typinput = 'pg_catalog.array_in'::regproc AND t.typdelim = ',', \
         t.typnamespace = 'pg_catalog'::regnamespace \
         FROM pg_catalog.pg_type t WHERE t.oid IN ({oids})"
    )
}

fn read(row: &[Option<bytes::Bytes>]) -> Result<(u32, PgType), SessionError> {
    let answer = Answer::new(row, "a type of pg_type");
    let found = match (answer.text(2)?, answer.text(6)?, answer.text(7)?) {
        ("d", ..) => PgType::Domain {
            base: answer.number(3)?,
            base_modifier: answer.number(4)?,
        },
        ("e", ..) => PgType::Enum,
        ("b", "t", _) => PgType::Array {
            item: answer.number(5)?,
        },
        ("b", _, "t") => PgType::Base {
            name: text(row, 1).unwrap_or_default().to_owned(),
        },
        _ => PgType::Other,
    };
    Ok((answer.number(0)?, found))
}
