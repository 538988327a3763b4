//! The lake's side: an entity's state as of a point.

use arrow::array::RecordBatch;
use columnar::CanonicalRows;
use query_engine::Snapshot;
use schemas::TableName;
use schemas::canonical::RowWriter;

use crate::VerifyError;
use crate::columns::Columns;
use crate::point::Point;
use crate::rows::{Intake, Row};

/// One version of an entity's table of changes.
#[derive(Debug)]
pub(crate) struct LakeSide<'a> {
    snapshot: &'a Snapshot,
    table: &'a TableName,
    columns: &'a Columns,
}

impl<'a> LakeSide<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, table: &'a TableName, columns: &'a Columns) -> Self {
        Self {
            snapshot,
            table,
            columns,
        }
    }

    /// Hands every row of the state that the point saw to the intake, in any order.
    pub(crate) async fn read(
        &self,
        point: &Point,
        intake: &mut dyn Intake,
    ) -> Result<(), VerifyError> {
        let names = self.columns.fields.iter().map(|field| field.name.as_str());
        let names: Vec<&str> = names.collect();
        let seen = point.seen();
        let state = self.snapshot.state(self.table, &names, &seen);
        let mut answer = Box::pin(state).await?;
        while let Some(batch) = answer.next().await? {
            self.take(&batch, intake)?;
        }
        Ok(())
    }

    /// Whether it can be told of every change whether the point saw it.
    pub(crate) async fn is_exact(&self, point: &Point) -> Result<bool, VerifyError> {
        let doubtful = point.doubtful();
        let doubtful = self.snapshot.changes(self.table, &["_offset"], &doubtful);
        let mut answer = Box::pin(doubtful).await?;
        while let Some(batch) = answer.next().await? {
            if batch.num_rows() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&self, batch: &RecordBatch, intake: &mut dyn Intake) -> Result<(), VerifyError> {
        let refuse = |error: arrow::error::ArrowError| VerifyError::Table {
            table: self.table.clone(),
            why: error.to_string(),
        };
        let all: Vec<usize> = (0..self.columns.fields.len()).collect();
        let of_key = |place: &usize| self.columns.is_key[*place];
        let keys: Vec<usize> = all.iter().copied().filter(of_key).collect();
        let rows = CanonicalRows::new(batch, &all).map_err(refuse)?;
        let keys = CanonicalRows::new(batch, &keys).map_err(refuse)?;
        let (mut row, mut key) = (RowWriter::default(), RowWriter::default());
        let mut ends = Vec::new();
        for number in 0..rows.len() {
            row.clear();
            key.clear();
            ends.clear();
            rows.write_parts(number, &mut row, |place, part| ends.push((place, part)));
            keys.write(number, &mut key);
            let parts: Vec<(usize, &[u8])> = ends
                .iter()
                .map(|(place, part)| (*place, &row.bytes()[part.clone()]))
                .collect();
            intake.take(&Row {
                key: key.bytes(),
                row: row.bytes(),
                columns: &parts,
            });
        }
        Ok(())
    }
}
