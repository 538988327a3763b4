//! The order of keys in which a table is copied: one that Postgres and we agree on to the byte.
//!
//! Whole numbers go by their value and UUIDs by their text, which both have indexes for; every other type
//! goes by the bytes of its text, which Postgres has to sort.

use std::cmp::Ordering;

use crate::answer::{identifier, literal};
use crate::column_type::ColumnType;
use crate::pg_type::{PgType, Types};
use crate::value::Kind;

/// How one column of the key is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnOrder {
    Number,
    Uuid,
    Text,
}

/// How a key is compared, column by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyOrder {
    columns: Vec<(String, ColumnOrder)>,
}

impl KeyOrder {
    /// The order of key columns by their names and types.
    pub(crate) fn new<'a>(
        columns: impl IntoIterator<Item = (&'a str, u32, &'a ColumnType)>,
        types: &Types,
    ) -> Self {
        let order = |oid: u32, column_type: &ColumnType| match (&column_type.kind, types.get(oid)) {
            (Kind::Int | Kind::Long, _) => ColumnOrder::Number,
            (_, Some(PgType::Base { name })) if name == "uuid" => ColumnOrder::Uuid,
            _ => ColumnOrder::Text,
        };
        let columns = columns.into_iter();
        Self {
            columns: columns
                .map(|(name, oid, column_type)| (name.to_owned(), order(oid, column_type)))
                .collect(),
        }
    }

    /// The key as a list of SQL, to order by.
    pub(crate) fn expressions(&self) -> String {
        let expressions = self.columns.iter().map(|(name, order)| {
            let name = identifier(name);
            match order {
                ColumnOrder::Number | ColumnOrder::Uuid => name,
                // A cast to text would cut the blanks at the end of a `char(n)`.
                ColumnOrder::Text => format!("format('%s', {name}) COLLATE \"C\""),
            }
        });
        expressions.collect::<Vec<_>>().join(", ")
    }

    /// The condition that a row's key is behind `key`, as SQL.
    pub(crate) fn behind(&self, key: &[String]) -> String {
        let texts: Vec<String> = key.iter().map(|text| literal(text)).collect();
        format!("({}) > ({})", self.expressions(), texts.join(", "))
    }

    /// Compares two keys by their columns' texts.
    pub(crate) fn compare(&self, left: &[impl AsRef<str>], right: &[impl AsRef<str>]) -> Ordering {
        let pairs = left.iter().zip(right).zip(&self.columns);
        pairs
            .map(|((left, right), (_, order))| {
                let (left, right) = (left.as_ref(), right.as_ref());
                match order {
                    ColumnOrder::Number => {
                        let number = |text: &str| text.parse::<i64>().unwrap_or_default();
                        number(left).cmp(&number(right))
                    }
                    ColumnOrder::Uuid | ColumnOrder::Text => left.cmp(right),
                }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> KeyOrder {
        let types = Types::of([
            (
                23,
                PgType::Base {
                    name: "int4".into(),
                },
            ),
            (
                25,
                PgType::Base {
                    name: "text".into(),
                },
            ),
        ]);
        let number = ColumnType::of(23, -1, &types);
        let text = ColumnType::of(25, -1, &types);
        KeyOrder::new([("id", 23, &number), ("na\"me", 25, &text)], &types)
    }

    #[test]
    fn numbers_go_by_value_and_texts_by_bytes() {
        let order = order();
        let compare = |left: [&str; 2], right: [&str; 2]| order.compare(&left, &right);
        assert_eq!(compare(["9", "a"], ["10", "a"]), Ordering::Less);
        assert_eq!(compare(["-1", "b"], ["-1", "a"]), Ordering::Greater);
        assert_eq!(compare(["1", "Z"], ["1", "a"]), Ordering::Less);
        assert_eq!(compare(["1", "z"], ["1", "é"]), Ordering::Less);
        assert_eq!(compare(["1", "a"], ["1", "a"]), Ordering::Equal);
    }

    #[test]
    fn the_condition_is_sql() {
        let key = ["1".to_owned(), "it's".to_owned()];
        assert_eq!(
            order().behind(&key),
            "(\"id\", format('%s', \"na\"\"me\") COLLATE \"C\") > (E'1', E'it''s')"
        );
    }
}
