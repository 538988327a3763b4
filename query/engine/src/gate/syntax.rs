//! The allow-list on the syntax tree.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as DFStatement;
use datafusion::sql::sqlparser::ast::{
    Query, Select, SelectFlavor, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor,
};

use super::relation::{check_factor, check_name};
use super::{clause, refuse_set, statement};
use crate::Refusal;

/// Refuses every statement that is not on the list, and every clause that is not.
pub(crate) fn check(ast: &DFStatement) -> Result<(), Refusal> {
    match ast {
        DFStatement::Statement(sql) => check_sql(sql),
        DFStatement::Explain(explain) => check(&explain.statement),
        DFStatement::CreateExternalTable(_) => Err(statement("CREATE EXTERNAL TABLE")),
        DFStatement::CopyTo(_) => Err(statement("COPY")),
        DFStatement::Reset(_) => Err(statement("RESET")),
    }
}

fn check_sql(sql: &SqlStatement) -> Result<(), Refusal> {
    match sql {
        SqlStatement::Query(query) => walk(query.as_ref()),
        SqlStatement::Explain { statement, .. } => check_sql(statement),
        SqlStatement::ExplainTable { table_name, .. } => check_name(table_name),
        SqlStatement::ShowTables { .. } => Ok(()),
        SqlStatement::ShowColumns { show_options, .. } => {
            let show_in = show_options.show_in.as_ref();
            show_in
                .and_then(|show_in| show_in.parent_name.as_ref())
                .map_or(Ok(()), check_name)
        }
        other => Err(statement(leading_words(other))),
    }
}

fn walk(query: &Query) -> Result<(), Refusal> {
    match query.visit(&mut Gate) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(refusal),
    }
}

/// The words in capitals that a statement begins with, as in `CREATE TABLE`.
fn leading_words(sql: &SqlStatement) -> String {
    let text = sql.to_string();
    let is_keyword = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words: Vec<&str> = text
        .split_whitespace()
        .take_while(is_keyword)
        .take(3)
        .collect();
    if words.is_empty() {
        "this statement".to_owned()
    } else {
        words.join(" ")
    }
}

struct Gate;

type Flow = ControlFlow<Refusal>;

fn flow(result: Result<(), Refusal>) -> Flow {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(refusal) => ControlFlow::Break(refusal),
    }
}

impl Visitor for Gate {
    type Break = Refusal;

    /// Only reached for a statement inside a query, as in a common table expression.
    fn pre_visit_statement(&mut self, sql: &SqlStatement) -> Flow {
        match sql {
            SqlStatement::Query(_) => ControlFlow::Continue(()),
            other => ControlFlow::Break(statement(leading_words(other))),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        flow(check_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        flow(check_select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        flow(check_factor(factor))
    }
}

fn check_query(query: &Query) -> Result<(), Refusal> {
    let Query {
        with: _,
        body,
        order_by: _,
        limit_clause: _,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    refuse_set! {
        fetch.is_some() => clause("FETCH (use LIMIT)"),
        !locks.is_empty() => statement("FOR UPDATE"),
        for_clause.is_some() => clause("FOR XML/JSON/BROWSE"),
        settings.is_some() => clause("SETTINGS"),
        format_clause.is_some() => clause("FORMAT"),
        !pipe_operators.is_empty() => clause("|>"),
    }
    check_body(body)
}

fn check_body(body: &SetExpr) -> Result<(), Refusal> {
    match body {
        // Visited by themselves.
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => Ok(()),
        SetExpr::SetOperation {
            left,
            op: _,
            set_quantifier: _,
            right,
        } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Insert(sql)
        | SetExpr::Update(sql)
        | SetExpr::Delete(sql)
        | SetExpr::Merge(sql) => Err(statement(leading_words(sql))),
        SetExpr::Table(_) => Err(clause("TABLE (use SELECT * FROM)")),
    }
}

fn check_select(select: &Select) -> Result<(), Refusal> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from: _,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by: _,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window: _,
        qualify: _,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    refuse_set! {
        into.is_some() => statement("SELECT INTO"),
        !optimizer_hints.is_empty() => clause("an optimizer hint"),
        select_modifiers.is_some() => clause("a SELECT modifier"),
        top.is_some() => clause("TOP (use LIMIT)"),
        exclude.is_some() => clause("EXCLUDE after the columns"),
        !lateral_views.is_empty() => clause("LATERAL VIEW"),
        prewhere.is_some() => clause("PREWHERE"),
        !connect_by.is_empty() => clause("CONNECT BY"),
        !cluster_by.is_empty() => clause("CLUSTER BY"),
        !distribute_by.is_empty() => clause("DISTRIBUTE BY"),
        !sort_by.is_empty() => clause("SORT BY"),
        value_table_mode.is_some() => clause("SELECT AS"),
        !matches!(flavor, SelectFlavor::Standard) => clause("FROM before SELECT"),
    }
    Ok(())
}
