//! The allow-list on the logical plan.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};

use super::statement;
use crate::error::{QueryError, Refusal};

/// Refuses a plan that holds an operator that is not on the list, at any depth: inputs, subqueries
/// in expressions, and what EXPLAIN would run.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    plan.apply_with_subqueries(|node| {
        if let Some(what) = refused(node) {
            return Err(QueryError::Refused(statement(what)).into());
        }
        if let LogicalPlan::Aggregate(aggregate) = node {
            check_arguments(aggregate)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Refuses aggregates that keep nested values: DataFusion keeps a whole batch for each of them and
/// counts it wrongly, so that neither the memory limit nor the machine would hold.
fn check_arguments(aggregate: &Aggregate) -> Result<()> {
    let schema = aggregate.input.schema();
    for expression in &aggregate.aggr_expr {
        expression.apply(|expression| {
            let Expr::AggregateFunction(function) = expression else {
                return Ok(TreeNodeRecursion::Continue);
            };
            let counts = function.func.name() == "count" && !function.params.distinct;
            for argument in &function.params.args {
                let data_type = argument.get_type(schema.as_ref())?;
                if data_type.is_nested() && !counts {
                    return Err(QueryError::Refused(Refusal {
                        what: format!("{} of {argument}", function.func.name()),
                        why: "it would keep nested values without a limit",
                        instead: "name the fields that are meant, such as _source.sequence",
                        position: None,
                    })
                    .into());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
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
