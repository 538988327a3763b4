//! Fail points and planted bugs: how the tests show that a crash anywhere is survived, and that
//! they would notice if it were not.
//!
//! Without the cargo feature `faults` all of this compiles to nothing. With it, the environment
//! variable `FAILPOINTS` (see the crate `fail`) arms the points of [`Point`], and
//! `LAKEHEAD_PLANTED_BUG` breaks the protocol in one of the ways of [`Planted`]. At a point that is
//! armed with `return` the process dies; `upload_after=return(FILE)` waits there until the file is.

use std::sync::Arc;

use object_store::ObjectStore;

/// A moment at which an armed process dies or waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// Data files are uploaded, nothing refers to them.
    UploadAfter,
    /// The commit landed, nobody was told.
    CommitAfter,
    /// Partitions were taken or given, the writer is between two assignments.
    RebalanceDuring,
    /// Dead letters are committed, the data commit that passes over them is not.
    DeadLettersAfter,
    /// A gap is recorded, the table's progress does not pass it yet.
    GapRecorded,
    /// A derived table was created, it has no rows yet.
    CurrentCreated,
    /// Files of a derived table are uploaded, nothing refers to them.
    RefreshUploaded,
    /// The refresh landed, nobody was told.
    RefreshCommitted,
    /// A period snapshot is made, and not registered yet.
    PeriodMade,
    /// Compacted files are uploaded, nothing refers to them.
    CompactionUploaded,
    /// Compacted files are in the table, more partition values are to come.
    CompactionCommitted,
    /// Some of a vacuum's files are deleted.
    VacuumDuring,
    /// Some old entries of the log are deleted.
    LogCleanupDuring,
    /// Only with [`Planted::OffsetsBeforeData`]: the offsets are committed, the data is not.
    OffsetsBetween,
}

/// A bug that the end-to-end tests must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Offsets are committed in a version of their own, before the data.
    OffsetsBeforeData,
    /// After an ambiguous error the rows are written and committed anew, without reading back.
    NoReadBack,
    /// `txn` is not compared with where the rows start.
    NoStaleTxnCheck,
}

/// Dies or waits here if the point is armed.
#[cfg(feature = "faults")]
pub(crate) fn point(point: Point) {
    fn die(name: &str) {
        tracing::error!(fail_point = name, "fail point reached: aborting");
        std::process::abort();
    }
    fn wait_for(file: &str) {
        while !std::path::Path::new(file).exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    match point {
        Point::UploadAfter => fail::fail_point!("upload_after", |file| match file {
            Some(file) => wait_for(&file),
            None => die("upload_after"),
        }),
        Point::CommitAfter => fail::fail_point!("commit_after", |_| die("commit_after")),
        Point::RebalanceDuring => {
            fail::fail_point!("rebalance_during", |_| die("rebalance_during"))
        }
        Point::DeadLettersAfter => {
            fail::fail_point!("dead_letters_after", |_| die("dead_letters_after"));
        }
        Point::GapRecorded => fail::fail_point!("gap_recorded", |_| die("gap_recorded")),
        Point::CurrentCreated => fail::fail_point!("current_created", |_| die("current_created")),
        Point::RefreshUploaded => {
            fail::fail_point!("refresh_uploaded", |_| die("refresh_uploaded"));
        }
        Point::RefreshCommitted => {
            fail::fail_point!("refresh_committed", |_| die("refresh_committed"));
        }
        Point::PeriodMade => fail::fail_point!("period_made", |_| die("period_made")),
        Point::CompactionUploaded => {
            fail::fail_point!("compaction_uploaded", |_| die("compaction_uploaded"));
        }
        Point::CompactionCommitted => {
            fail::fail_point!("compaction_committed", |_| die("compaction_committed"));
        }
        Point::VacuumDuring => fail::fail_point!("vacuum_during", |_| die("vacuum_during")),
        Point::LogCleanupDuring => {
            fail::fail_point!("log_cleanup_during", |_| die("log_cleanup_during"));
        }
        Point::OffsetsBetween => fail::fail_point!("offsets_between", |_| die("offsets_between")),
    }
}

#[cfg(not(feature = "faults"))]
pub(crate) fn point(_: Point) {}

/// Whether this bug is planted.
#[cfg(feature = "faults")]
pub(crate) fn planted(bug: Planted) -> bool {
    static BUG: std::sync::LazyLock<Option<Planted>> =
        std::sync::LazyLock::new(
            || match std::env::var("LAKEHEAD_PLANTED_BUG").ok()?.as_str() {
                "offsets_before_data" => Some(Planted::OffsetsBeforeData),
                "no_read_back" => Some(Planted::NoReadBack),
                "no_stale_txn_check" => Some(Planted::NoStaleTxnCheck),
                other => {
                    tracing::error!(bug = other, "no such planted bug");
                    std::process::abort();
                }
            },
        );
    *BUG == Some(bug)
}

#[cfg(not(feature = "faults"))]
pub(crate) fn planted(_: Planted) -> bool {
    false
}

/// Reads `FAILPOINTS`. To be called once, at the start of the process.
#[cfg(feature = "faults")]
pub fn arm() {
    // The scenario disarms when it is dropped; it is to last as long as the process.
    std::mem::forget(fail::FailScenario::setup());
}

/// Wraps the lake's store so that its fail points work.
#[cfg(feature = "faults")]
pub(crate) fn wrap(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    Arc::new(crate::fault_store::FaultStore::new(
        inner,
        crate::fault_store::armed,
    ))
}

#[cfg(not(feature = "faults"))]
pub(crate) fn wrap(inner: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    inner
}
