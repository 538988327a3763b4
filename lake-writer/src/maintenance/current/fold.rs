//! The work of a refresh: the tail is found, and buckets are written anew.

use super::plan::Plan;
use super::{Current, Work};
use crate::action::{Add, Remove};
use crate::maintenance::buckets::Written;
use crate::maintenance::error::FoldError;
use crate::maintenance::fold::Fold;
use crate::maintenance::tail::Slice;

/// What is to be committed.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) written: Written,
    pub(super) removed: Vec<Remove>,
    pub(super) changes: u64,
    pub(super) buckets: u32,
}

impl Current {
    /// Writes what the plan says. `None` if a change came late, so that all changes must be read.
    pub(super) async fn fold(&self, work: &Work, plan: &Plan) -> Result<Option<Folded>, FoldError> {
        let fold = Fold {
            log: &self.changes.log,
            changes: &plan.changes,
            layout: &work.layout,
            covered: &work.covered,
            until_us: None,
            settings: &self.means.settings,
        };
        let (mut slices, mut buckets) = (vec![Slice::ALL], plan.buckets);
        let (mut written, mut changes) = (Written::default(), 0);
        while let Some(slice) = slices.pop() {
            let mut tail = fold.tail(slice, buckets).await?;
            if tail.has_late() {
                return Ok(None);
            }
            slices.extend(tail.take_left());
            let to = *buckets.get_or_insert_with(|| fold.buckets_of(&tail));
            changes = tail.changes();
            let table = (&self.current.log, &self.means);
            plan.base.write(tail, to, table, &mut written).await?;
        }
        let replaced = written.replaced.iter();
        let replaced = replaced.filter_map(|bucket| plan.base.files.get(bucket));
        let now_ms = self.means.clock.now_us() / 1000;
        let removed = replaced
            .chain(&plan.dropped)
            .map(|file| remove(file, now_ms));
        Ok(Some(Folded {
            removed: removed.collect(),
            written,
            changes,
            buckets: buckets.unwrap_or(1),
        }))
    }
}

fn remove(file: &Add, now_ms: i64) -> Remove {
    Remove {
        path: file.path.clone(),
        deletion_timestamp: Some(now_ms),
        data_change: true,
        extended_file_metadata: true,
        partition_values: file.partition_values.clone(),
        size: Some(file.size),
    }
}
