//! `system.watermarks`: what owners' publishers know to be complete, with evidence.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident};

/// Columns that are taken as they are.
const PLAIN: [&str; 6] = [
    "entity",
    "source",
    "complete_through",
    "through",
    "ends",
    "canonical_version",
];

/// Sums, each with its parts.
const SUMS: [&str; 2] = ["total", "interval"];
const PARTS: [&str; 4] = ["after", "count", "ids", "rows"];

/// The table over its scan: sums have a column for each part, and lineage is left out but for the
/// time at which a watermark landed.
pub(super) fn of(scan: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let plain = PLAIN.iter().map(|name| ident(*name));
    let sums = SUMS.iter().flat_map(|sum| {
        let part = move |part: &&str| -> Expr {
            let name = format!("{sum}_{part}");
            ident(*sum).field(*part).alias(name)
        };
        PARTS.iter().map(part)
    });
    let landed = [ident("_ingest_time").alias("landed_at")];
    let plan = LogicalPlanBuilder::scan("watermarks", provider_as_source(scan), None)?
        .project(plain.chain(sums).chain(landed))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The table while no watermark has landed.
pub(super) fn empty() -> Result<Arc<dyn TableProvider>> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let end = vec![
        Field::new("topic", DataType::Utf8, true),
        Field::new("partition", DataType::Int64, true),
        Field::new("offset", DataType::Int64, true),
    ];
    let end = Field::new("element", DataType::Struct(end.into()), true);
    let types = [
        DataType::Utf8,
        DataType::Utf8,
        time.clone(),
        DataType::Int64,
        DataType::List(Arc::new(end)),
        DataType::Int64,
    ];
    let parts = [
        DataType::Int64,
        DataType::Int64,
        DataType::Utf8,
        DataType::Utf8,
    ];
    let plain = PLAIN.iter().zip(types);
    let mut fields: Vec<Field> = plain
        .map(|(name, of)| Field::new(*name, of, true))
        .collect();
    for sum in SUMS {
        for (part, of) in PARTS.iter().zip(&parts) {
            fields.push(Field::new(format!("{sum}_{part}"), of.clone(), true));
        }
    }
    fields.push(Field::new("landed_at", time, true));
    Ok(Arc::new(MemTable::try_new(
        Arc::new(Schema::new(fields)),
        vec![vec![]],
    )?))
}
