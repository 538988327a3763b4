//! Evolution: what a writer's schema, or a new contract, does to a table that exists.
//!
//! The rules, field by field. A writer's field is the table's of the same name, else the one whose
//! aliases have its name, else the one that its own aliases name.
//!
//! | in the writer's schema | in the table |
//! |---|---|
//! | a new field, optional or not | a new column at the end, null in older rows; nullable in the contract |
//! | a field is gone | stays; new rows get the contract's default, else null |
//! | a field may be null now | the contract lets it be null |
//! | renamed, with an alias | the same column, which keeps its name |
//! | fields in another order | nothing |
//! | `int` → `long`, `float` → `double` | nothing: they land as BIGINT and DOUBLE; the contract notes it |
//! | `int` → `float` or `double` | BIGINT → DOUBLE, exact: data files are rewritten |
//! | more digits of a decimal | DECIMAL widens to hold both: data files are rewritten |
//! | `enum` ↔ `string`, `fixed` ↔ `bytes`, units of times | nothing |
//! | new symbols of an `enum` | nothing; the contract notes them |
//! | `long` → `float` or `double` | incompatible: digits above 2^53 would be lost; inferred: BIGINT → DOUBLE if all values there are exact |
//! | any other type, a key field gone or of another type | incompatible |

mod incompatible;
mod inside;
mod key;
mod matching;
mod merge;
mod types;

use serde_json::Value;

pub use incompatible::{Incompatible, Side};
pub use matching::matching;
use types::{Fit, fit, fit_inferred};
pub(crate) use types::{fits, inner_type};

use crate::avro::define_once;
use crate::contract::Contract;
use crate::field::{Field, FieldType};
use merge::Merge;

/// What a table must do to hold a writer's records.
#[derive(Clone, Debug)]
pub enum Evolution {
    /// Nothing.
    Same,
    /// It gets a new contract.
    Changes(Box<Changes>),
}

/// What changes with a table's new contract. Fields within records are told as `a.b`.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The table's next contract, which holds its own rows and the writer's.
    pub contract: Contract,
    /// New columns, null in older rows, each at the end of its record.
    pub added: Vec<String>,
    /// Columns whose stored type changes: data files that exist must be rewritten.
    pub widened: Vec<Widening>,
    /// Fields that the contract required until now. (The table's columns are nullable anyway.)
    pub relaxed: Vec<String>,
    /// Columns, and the writer's name for them, which becomes an alias.
    pub renamed: Vec<(String, String)>,
    /// Fields whose type changes in the contract only.
    pub retyped: Vec<String>,
}

/// A column whose stored type changes to one that holds every value of the old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    /// The column.
    pub column: String,
    /// The type of its values so far.
    pub from: FieldType,
    /// The type from now on.
    pub to: FieldType,
}

impl Changes {
    /// Whether data files that exist must be rewritten before rows of the new contract land.
    pub fn needs_rewrite(&self) -> bool {
        !self.widened.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.widened.is_empty()
            && self.relaxed.is_empty()
            && self.renamed.is_empty()
            && self.retyped.is_empty()
    }
}

impl Contract {
    /// What a table of this contract must do to hold the records of `writer`, exactly: the
    /// contract that a writer's schema implies, or a new contract for the table.
    ///
    /// # Errors
    /// The first field that cannot be held, with what to do.
    pub fn evolve(&self, writer: &Self) -> Result<Evolution, Incompatible> {
        self.merged(writer, fit)
    }

    /// The same where both were inferred from values, some of which the other had not seen: a `long`
    /// and a `double` are a `double`. Widening may then lose digits of a value that is there, which
    /// whoever rewrites data files has to see and refuse.
    ///
    /// # Errors
    /// Like [`Contract::evolve`].
    pub fn evolve_inferred(&self, other: &Self) -> Result<Evolution, Incompatible> {
        self.merged(other, fit_inferred)
    }

    fn merged(
        &self,
        writer: &Self,
        fit: fn(&Field, &Field) -> Fit,
    ) -> Result<Evolution, Incompatible> {
        let merge = Merge::new(self, writer, fit);
        let (fields, changes) = merge.run()?;
        let mut changes = Changes {
            contract: self.clone(),
            ..changes
        };
        if changes.is_empty() {
            return Ok(Evolution::Same);
        }
        changes.contract = self.with_fields(fields);
        Ok(Evolution::Changes(Box::new(changes)))
    }

    /// The same contract of other fields.
    fn with_fields(&self, fields: Vec<Field>) -> Self {
        let mut json = self.avro_json().clone();
        json["fields"] = fields
            .iter()
            .map(|field| field.json.clone())
            .collect::<Value>();
        define_once(&mut json);
        let key = self.key().to_vec();
        let contract = Self::new(json, fields);
        // The key's fields are among the old ones, which all remain.
        contract.clone().with_key(key).unwrap_or(contract)
    }
}

#[cfg(test)]
mod tests;
