//! The allow-list on the logical plan.

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::statement;
use crate::QueryError;

/// Refuses a plan that holds an operator that is not on the list, at any depth: inputs, subqueries
/// in expressions, and what EXPLAIN would run.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    plan.apply_with_subqueries(|node| {
        if let Some(what) = refused(node) {
            return Err(QueryError::Refused(statement(what)).into());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// What a plan's node is called if it is refused. No arm catches all: a new kind of node does not
/// compile before somebody has thought about it.
fn refused(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => None,
        LogicalPlan::Statement(inner) => Some(inner.name().to_owned()),
        LogicalPlan::Dml(dml) => Some(dml.op.name().to_owned()),
        LogicalPlan::Ddl(ddl) => Some(ddl.name().to_owned()),
        LogicalPlan::Copy(_) => Some("COPY".to_owned()),
        LogicalPlan::Extension(extension) => Some(extension.node.name().to_owned()),
    }
}
