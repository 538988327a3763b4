//! `TIMESTAMP` in SQL is one of microseconds, as the lake's columns are.
//!
//! DataFusion's is one of nanoseconds, which knows the years from 1677 to 2262 alone, and a comparison
//! with it casts the column to what it cannot hold.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// Plans `TIMESTAMP` without a precision; all other types are left to DataFusion.
#[derive(Debug)]
pub(crate) struct TimestampType {
    /// The session's.
    pub(crate) time_zone: Option<Arc<str>>,
}

impl TypePlanner for TimestampType {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let SqlType::Timestamp(None, zone) = sql_type else {
            return Ok(None);
        };
        let has_zone = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
        let zone = self.time_zone.clone().filter(|_| has_zone);
        let of = DataType::Timestamp(TimeUnit::Microsecond, zone);
        Ok(Some(Arc::new(Field::new("", of, true))))
    }
}
