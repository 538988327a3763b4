//! The moment at which both sides are compared.

/// What an owner's snapshot saw: changes beyond it are left out of the lake's state.
///
/// With neither part, nothing of the lake's rows can be held against the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Of events that came through the outbox in the owner's database.
    pub outbox: Option<OutboxPoint>,
    /// Of changes that carry a transaction of the owner's Postgres.
    pub transactions: Option<TransactionPoint>,
}

/// Which events of an outbox a snapshot saw, by their sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxPoint {
    /// The `ce_source` of the database's events.
    pub source: String,
    /// It saw all that were committed up to here. In SQLite sequences are given in the order of
    /// commits, and this is all.
    pub through: i64,
    /// In Postgres, a larger one may be committed before a smaller one: what it saw beyond, as first
    /// and last of each run.
    pub runs: Vec<(i64, i64)>,
    /// There may be more runs beyond this sequence, of which nothing is told.
    pub told_through: i64,
}

/// Which transactions of Postgres a snapshot saw. A change's LSN alone would not tell: a transaction
/// that was open at the snapshot has written below its LSN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionPoint {
    /// Transactions from here on had not begun.
    pub next: u64,
    /// Transactions that were open.
    pub open: Vec<u64>,
    /// Where the log ended, in bytes: for changes that carry no transaction.
    pub lsn: i64,
    /// Where it ended before the snapshot was taken: it saw all of a copy that was made up to there.
    pub begun: i64,
    /// When it was taken, by the owner's clock, in microseconds since 1970-01-01 UTC.
    pub time_us: i64,
}

/// Numbers of transactions in change events have 32 bits and come again; only changes from here
/// before the snapshot on can be of one that it did not see.
const OPEN_US_MAX: i64 = 24 * 3600 * 1_000_000;

/// Numbers of transactions.
const XIDS: u64 = 1 << 32;

/// The number of a change's transaction; Debezium's own name of one begins with it.
const XID: &str = "TRY_CAST(split_part(_source['transaction'], ':', 1) AS BIGINT)";

impl Point {
    /// A condition on the rows of a table of changes: those that the snapshot saw, or of which it
    /// cannot be told.
    pub(crate) fn seen(&self) -> String {
        let others = match &self.transactions {
            None => "true".to_owned(),
            Some(point) => point.seen(),
        };
        match &self.outbox {
            None => others,
            Some(point) => {
                let (own, seen) = (point.is_own(), point.seen());
                format!("CASE WHEN {own} THEN {seen} ELSE {others} END")
            }
        }
    }

    /// A condition on the rows of a table of changes: those of which it cannot be told whether the
    /// snapshot saw them.
    pub(crate) fn doubtful(&self) -> String {
        let others = match &self.transactions {
            None => "true".to_owned(),
            Some(point) => point.doubtful(),
        };
        match &self.outbox {
            None => others,
            Some(point) => format!("NOT {} AND {others}", point.is_own()),
        }
    }
}

impl OutboxPoint {
    /// Rows of this outbox, but for those that were parked: they came later, with another source and
    /// a sequence of its own.
    fn is_own(&self) -> String {
        let (source, told) = (self.source.replace('\'', "''"), self.told_through);
        format!("coalesce(_source['name'] = '{source}' AND _source['sequence'] <= {told}, false)")
    }

    fn seen(&self) -> String {
        let mut seen = format!("(_source['sequence'] <= {}", self.through);
        for (first, last) in &self.runs {
            seen.push_str(&format!(
                " OR _source['sequence'] BETWEEN {first} AND {last}"
            ));
        }
        seen.push(')');
        seen
    }
}

impl TransactionPoint {
    fn seen(&self) -> String {
        let (unseen, lsn, since) = (self.unseen(), self.lsn, self.time_us - OPEN_US_MAX);
        format!(
            "CASE WHEN {XID} IS NULL THEN coalesce(_source['lsn'] <= {lsn}, true) \
             ELSE NOT (CAST(_event_time AS BIGINT) >= {since} AND {unseen}) END"
        )
    }

    /// Rows without a transaction; a row of a first copy tells by the place in the log at which it was read.
    fn doubtful(&self) -> String {
        let begun = self.begun;
        format!("({XID} IS NULL AND NOT coalesce(_op = 'r' AND _source['lsn'] <= {begun}, false))")
    }

    /// Whether the transaction had not begun or was open. Numbers go round: one is later than
    /// another if it is less than half of them ahead.
    fn unseen(&self) -> String {
        let next = self.next % XIDS;
        let half = XIDS / 2;
        let later = format!("({XID} % {XIDS} - {next} + {XIDS}) % {XIDS} < {half}");
        let open: Vec<String> = self
            .open
            .iter()
            .map(|xid| (xid % XIDS).to_string())
            .collect();
        match open.as_slice() {
            [] => later,
            open => format!("({later} OR {XID} % {XIDS} IN ({}))", open.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
