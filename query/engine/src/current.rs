//! The current state of an entity, computed from its changes with standard operators.
//!
//! Per key the latest change by log order counts: the highest (`_generation`, `_offset`), for all
//! changes of a key are in one topic partition, and a generation ends when its offsets begin anew
//! or keys move to other partitions. If it is a delete, the row is gone.
//!
//! The last place of each key is found first, over the key columns, the order and `_op` alone, and
//! keys whose last change is a delete are dropped; then the changes are joined with what is
//! left. So columns that nobody asked for are never read, a filter on the key reaches both scans,
//! and a filter on any other column reaches only the second: it can leave out the latest change of
//! a key but bring no older one back.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::view::ViewTable;
use datafusion::common::{Column, NullEquality, Result, TableReference};
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, LogicalPlan, LogicalPlanBuilder, TableSource, cast, ident, lit,
};
use schemas::{Op, TableName};

use crate::change_table::Properties;

/// The place in log order within a key.
const ORDER: &str = "_order";

/// The last place at which a key was deleted.
const DELETED: &str = "_deleted_order";

/// The relation of each key's last place.
const LATEST: &str = "latest";

/// The relation of all changes.
const CHANGES: &str = "changes";

/// A table of the current state over the scan of changes.
pub(crate) fn provider(
    name: &TableName,
    properties: &Properties,
    changes: &Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    let source = provider_as_source(Arc::clone(changes));
    let columns = entity_columns(changes);
    let plan = if properties.has_updates() {
        folded(name, &source, &properties.key, &columns)?
    } else {
        let columns = columns.iter().map(|name| ident(name.as_str()));
        scan(name, &source)?.project(columns)?.build()?
    };
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The columns that are the entity's own: those whose names do not start with `_`.
fn entity_columns(changes: &Arc<dyn TableProvider>) -> Vec<String> {
    let schema = changes.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    names.filter(|name| !name.starts_with('_')).collect()
}

fn scan(name: &TableName, source: &Arc<dyn TableSource>) -> Result<LogicalPlanBuilder> {
    let reference = TableReference::partial(name.service(), format!("{}_changes", name.entity()));
    LogicalPlanBuilder::scan(reference, Arc::clone(source), None)
}

/// The changes that are the latest of their keys and no deletes.
fn folded(
    name: &TableName,
    source: &Arc<dyn TableSource>,
    key: &[String],
    columns: &[String],
) -> Result<LogicalPlan> {
    let is_delete = ident("_op").eq(lit(Op::Delete.letter()));
    let deleted = max(log_order()).filter(is_delete).build()?;
    let latest = scan(name, source)?
        .aggregate(
            key.iter().map(|name| ident(name.as_str())),
            [max(log_order()).alias(ORDER), deleted.alias(DELETED)],
        )?
        .filter(ident(DELETED).is_null().or(ident(DELETED).lt(ident(ORDER))))?
        .alias(LATEST)?;
    let ordered = columns.iter().map(|name| ident(name.as_str()));
    let ordered = ordered.chain([log_order().alias(ORDER)]);
    let changes = scan(name, source)?.project(ordered)?.alias(CHANGES)?;
    let on = |relation: &str| -> Vec<Column> {
        let names = key.iter().map(String::as_str).chain([ORDER]);
        names.map(|name| column(relation, name)).collect()
    };
    // The smaller side is the left one: it is the one that is held in memory.
    latest
        .join_detailed(
            changes.build()?,
            JoinType::Inner,
            (on(LATEST), on(CHANGES)),
            None,
            NullEquality::NullEqualsNull,
        )?
        .project(
            columns
                .iter()
                .map(|name| Expr::Column(column(CHANGES, name))),
        )?
        .build()
}

/// (`_generation`, `_offset`) as one number, for numbers are folded and hashed much faster. No
/// topic comes near 2^48 records in a partition.
fn log_order() -> Expr {
    let generation = cast(ident("_generation"), DataType::Int64);
    generation * lit(1_i64 << 48) + ident("_offset")
}

fn column(relation: &str, name: &str) -> Column {
    Column::new(Some(relation), name)
}
