//! The ends of periods that a history meets, each with the fold up to it.

use lake_store::LakeStore;

use crate::maintenance::tests::changes::{Changes, Placed, read_at};
use crate::maintenance::tests::periods::us;
use crate::maintenance::tests::table;

/// In whose calendar periods end.
pub(super) const TIME_ZONE: &str = "Asia/Tokyo";

/// How long after its end a period is kept, where there are no watermarks.
const DELAY_US: i64 = 3_600_000_000;

/// The newest that are over when a history begins, and all that it may come to the end of.
const PERIODS: [(&str, &str); 6] = [
    ("2049-q4", "2050-01-01T00:00:00+09:00"),
    ("2050-02", "2050-03-01T00:00:00+09:00"),
    ("2050-03", "2050-04-01T00:00:00+09:00"),
    ("2050-q1", "2050-04-01T00:00:00+09:00"),
    ("2050-04", "2050-05-01T00:00:00+09:00"),
    ("2050-05", "2050-06-01T00:00:00+09:00"),
];

/// The end of a period.
pub(super) struct Closing {
    period: &'static str,
    end_us: i64,
    /// The fold up to it after each flush.
    folds: Vec<Vec<Placed>>,
    /// The rows of each revision, as they were read first.
    revisions: Vec<Vec<Placed>>,
    /// After which flush the newest revision is right, at the earliest.
    reached: usize,
}

impl Closing {
    pub(super) fn all() -> Vec<Self> {
        let closing = |(period, end): (&'static str, &str)| Self {
            period,
            end_us: us(end),
            folds: vec![Vec::new()],
            revisions: Vec::new(),
            reached: 0,
        };
        PERIODS.map(closing).into()
    }

    pub(super) fn flushed(&mut self, changes: &Changes) {
        self.folds.push(changes.fold_until(self.end_us));
    }

    /// Reads the revisions that were not there at the last look. Each is what was right after some
    /// flush, and none is of an earlier one than the revision before it.
    pub(super) async fn look(&mut self, lake: &LakeStore) {
        loop {
            let path = self.path(self.revisions.len() + 1);
            if !lake.has_log(&path).await.unwrap() {
                return;
            }
            let found = read_at(lake, &path, None).await;
            let mut later = self.folds.iter().skip(self.reached);
            let flushes = later.position(|fold| *fold == found);
            self.reached += flushes.unwrap_or_else(|| panic!("{path} was never right: {found:?}"));
            self.revisions.push(found);
        }
    }

    /// After a round that nothing came in between of: the newest revision is right, and what is not
    /// over has none.
    pub(super) fn agrees(&self, now_us: i64) {
        let period = self.period;
        if self.end_us + DELAY_US > now_us {
            assert!(self.revisions.is_empty(), "{period} is not over");
            return;
        }
        // A period without rows has no revision.
        let newest = self.revisions.last().map_or(&[][..], Vec::as_slice);
        let right = self.folds.last().map_or(&[][..], Vec::as_slice);
        let count = self.revisions.len();
        assert_eq!(newest, right, "{period} r{count}");
    }

    /// Reads all revisions again; how many there are.
    pub(super) async fn stay(&self, lake: &LakeStore) -> usize {
        for (revision, rows) in (1..).zip(&self.revisions) {
            let path = self.path(revision);
            assert_eq!(&read_at(lake, &path, None).await, rows, "{path} changed");
        }
        self.revisions.len()
    }

    fn path(&self, revision: usize) -> String {
        table().period_path(self.period, i64::try_from(revision).unwrap())
    }
}
