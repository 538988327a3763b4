//! The allow-list on what may stand after FROM.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Spanned, TableFactor, TableFunctionArgs};

use super::{TABLE_FUNCTIONS, clause, outside, refuse_set};
use crate::{Position, Refusal};

/// Refuses what is no table of the lake, and every addition to a table that would be ignored.
pub(super) fn check_factor(factor: &TableFactor) -> Result<(), Refusal> {
    match factor {
        TableFactor::Table {
            name,
            alias: _,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            refuse_set! {
                version.is_some() => clause("a table version (AS OF)"),
                sample.is_some() => clause("TABLESAMPLE"),
                !with_hints.is_empty() || !index_hints.is_empty() => clause("a table hint"),
                !partitions.is_empty() => clause("PARTITION"),
                *with_ordinality => clause("WITH ORDINALITY"),
                json_path.is_some() => clause("a JSON path"),
            }
            match args {
                Some(args) => check_function(name, args),
                None => check_name(name),
            }
        }
        TableFactor::Derived {
            lateral: _,
            subquery: _,
            alias: _,
            sample,
        } => {
            if sample.is_some() {
                Err(clause("TABLESAMPLE"))
            } else {
                Ok(())
            }
        }
        TableFactor::NestedJoin { .. } | TableFactor::UNNEST { .. } => Ok(()),
        TableFactor::Function { name, .. } => check_function_name(name),
        TableFactor::TableFunction { .. } => Err(outside("TABLE(function)")),
        TableFactor::JsonTable { .. } | TableFactor::OpenJsonTable { .. } => {
            Err(clause("JSON_TABLE"))
        }
        TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => Err(clause("PIVOT or UNPIVOT")),
        other => Err(clause(
            other.to_string().chars().take(40).collect::<String>(),
        )),
    }
}

fn check_function(name: &ObjectName, args: &TableFunctionArgs) -> Result<(), Refusal> {
    if args.settings.is_some() {
        return Err(clause("SETTINGS"));
    }
    check_function_name(name)
}

fn check_function_name(name: &ObjectName) -> Result<(), Refusal> {
    let written = name.to_string().to_lowercase();
    if TABLE_FUNCTIONS.contains(&written.as_str()) {
        return Ok(());
    }
    Err(at(outside(format!("table function {name}()")), name))
}

/// A name that looks like a file or an address is said to be one, instead of "not found".
pub(super) fn check_name(name: &ObjectName) -> Result<(), Refusal> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    if parts.len() != name.0.len() {
        return Err(at(outside(format!("{name}")), name));
    }
    let is_path = |ident: &&Ident| {
        let value = ident.value.as_str();
        ident.quote_style == Some('\'') || value.contains(['/', '\\', ':', '*', '.'])
    };
    if parts.iter().any(is_path) {
        return Err(at(outside(format!("reading {name}")), name));
    }
    Ok(())
}

fn at(refusal: Refusal, name: &ObjectName) -> Refusal {
    Refusal {
        position: Position::of(name.span().start),
        ..refusal
    }
}
