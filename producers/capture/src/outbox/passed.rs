//! Which rows of the log have passed: by their places while they are on their way, by their
//! sequences once they are acknowledged.
//!
//! A place counts the rows of a slot in the order of their commits. The same rows have the same
//! places whenever they are read again, since reading begins at a place whose LSN is kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use change_events::{LogSave, OutboxLog};

use crate::Lsn;

/// Floors that are remembered for pruning.
const FLOORS_MAX: usize = 1_000;

/// Rows that were taken from the log, and what of them is acknowledged.
#[derive(Debug)]
pub(super) struct Passed {
    epoch: i64,
    /// The place of the last row taken.
    place: i64,
    confirmed: i64,
    /// Rows taken and not yet acknowledged: place and sequence.
    taken: VecDeque<(i64, i64)>,
    /// Ends of transactions, and the last place before each.
    ends: VecDeque<(i64, Lsn)>,
    /// The last end of which everything is acknowledged.
    end: (i64, Lsn),
    /// All sequences up to the floor are decided, and published.
    floor: i64,
    /// At which place which floor was reached.
    floors: VecDeque<(i64, i64)>,
    /// Runs of published sequences, those above the floor and the last one below: by first, the last.
    runs: BTreeMap<i64, i64>,
    /// What of the runs is not saved.
    changed: BTreeSet<i64>,
    gone: Vec<i64>,
}

impl Passed {
    /// Goes on at the LSN that is kept.
    pub(super) fn of(log: &OutboxLog) -> Self {
        Self {
            epoch: log.epoch,
            place: log.lsn_place,
            confirmed: log.confirmed,
            taken: VecDeque::new(),
            ends: VecDeque::new(),
            end: (log.lsn_place, Lsn(log.lsn.unsigned_abs())),
            floor: log.floor,
            floors: VecDeque::from([(log.confirmed, log.floor)]),
            runs: log.ahead.iter().copied().collect(),
            changed: BTreeSet::new(),
            gone: Vec::new(),
        }
    }

    /// Counts a row of the log; answers its place, if it is not acknowledged already.
    pub(super) fn take(&mut self, sequence: i64) -> Option<i64> {
        self.place += 1;
        if self.place <= self.confirmed {
            return None;
        }
        self.taken.push_back((self.place, sequence));
        Some(self.place)
    }

    /// Notes where a transaction ended, of rows of ours or of none.
    pub(super) fn end_transaction(&mut self, end: Lsn) {
        match self.ends.back_mut() {
            Some((place, last)) if *place == self.place => *last = end,
            _ => self.ends.push_back((self.place, end)),
        }
    }

    /// Notes that rows up to this place are acknowledged; answers what is to be saved with it. It
    /// counts as saved from now on.
    pub(super) fn confirm(&mut self, place: i64) -> LogSave {
        while let Some((_, sequence)) = self.taken.pop_front_if(|(taken, _)| *taken <= place) {
            self.publish(sequence);
        }
        self.confirmed = self.confirmed.max(place);
        while let Some(end) = self
            .ends
            .pop_front_if(|(before, _)| *before <= self.confirmed)
        {
            self.end = end;
        }
        let changed = std::mem::take(&mut self.changed);
        let runs = changed.into_iter();
        let runs = runs.filter_map(|first| Some((first, *self.runs.get(&first)?)));
        LogSave {
            epoch: self.epoch,
            lsn: self.end.1.signed(),
            lsn_place: self.end.0,
            runs: runs.collect(),
            runs_gone: std::mem::take(&mut self.gone),
        }
    }

    fn publish(&mut self, sequence: i64) {
        let (mut first, mut last) = (sequence, sequence);
        if let Some((&before, &end)) = self.runs.range(..=sequence).next_back() {
            if end >= sequence {
                return;
            }
            if end + 1 == sequence {
                first = before;
            }
        }
        if let Some(end) = self.runs.remove(&(sequence + 1)) {
            last = end;
            self.changed.remove(&(sequence + 1));
            self.gone.push(sequence + 1);
        }
        self.runs.insert(first, last);
        self.changed.insert(first);
    }

    /// The sequence of a row that is on its way.
    pub(super) fn sequence_of(&self, place: i64) -> Option<i64> {
        let index = self.taken.binary_search_by_key(&place, |(taken, _)| *taken);
        self.taken.get(index.ok()?).map(|(_, sequence)| *sequence)
    }

    /// Whether a row is acknowledged.
    pub(super) fn has(&self, sequence: i64) -> bool {
        let run = self.runs.range(..=sequence).next_back();
        sequence <= self.floor || run.is_some_and(|(_, last)| *last >= sequence)
    }

    /// How many rows between the floor and a sequence are acknowledged.
    pub(super) fn count_to(&self, sequence: i64) -> i64 {
        let runs = self.runs.range(..=sequence);
        let rows = runs.map(|(first, last)| {
            let (first, last) = ((*first).max(self.floor + 1), (*last).min(sequence));
            (last - first + 1).max(0)
        });
        rows.sum()
    }

    /// Notes that all sequences up to this one are decided, and their rows at places up to this one.
    pub(super) fn raise(&mut self, floor: i64, place: i64) {
        self.floor = self.floor.max(floor);
        self.runs.retain(|_, last| *last > floor);
        self.changed.retain(|first| self.runs.contains_key(first));
        if self.floors.len() >= FLOORS_MAX {
            self.floors.pop_front();
        }
        self.floors.push_back((place, floor));
    }

    /// The sequence up to which every row is at a place up to this one, as far as it is known.
    pub(super) fn floor_at(&mut self, place: i64) -> Option<i64> {
        while let Some((next, _)) = self.floors.get(1)
            && *next <= place
        {
            self.floors.pop_front();
        }
        let floor = self.floors.front().filter(|(at, _)| *at <= place);
        floor.map(|(_, floor)| *floor)
    }

    pub(super) fn place(&self) -> i64 {
        self.place
    }

    pub(super) fn confirmed(&self) -> i64 {
        self.confirmed
    }

    pub(super) fn floor(&self) -> i64 {
        self.floor
    }

    /// Where the last transaction ended of which everything is acknowledged.
    pub(super) fn end(&self) -> Lsn {
        self.end.1
    }

    /// Whether everything that was taken is acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.taken.is_empty()
    }

    pub(super) fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> Passed {
        Passed::of(&OutboxLog {
            epoch: 2,
            confirmed: 1,
            lsn: 100,
            lsn_place: 1,
            floor: 10,
            ..OutboxLog::default()
        })
    }

    #[test]
    fn what_is_acknowledged_is_kept_as_runs_of_sequences() {
        let mut passed = passed();
        // 11 is of a transaction that stays open.
        let places: Vec<_> = [12, 14, 13].map(|sequence| passed.take(sequence)).into();
        assert_eq!(places, [Some(2), Some(3), Some(4)]);
        passed.end_transaction(Lsn(200));
        assert_eq!(passed.sequence_of(3), Some(14));
        let save = passed.confirm(3);
        // The transaction is acknowledged in part: the LSN stays before it.
        assert_eq!((save.lsn, save.lsn_place), (100, 1));
        assert_eq!(save.runs, [(12, 12), (14, 14)]);
        let save = passed.confirm(4);
        assert_eq!((save.lsn, save.lsn_place, save.epoch), (200, 4, 2));
        assert_eq!((save.runs, save.runs_gone), (vec![(12, 14)], vec![14]));
        assert!(passed.has(9) && passed.has(13) && !passed.has(11) && !passed.has(15));
        assert_eq!((passed.count_to(13), passed.count_to(99)), (2, 3));
        assert!(passed.is_settled());
        assert_eq!(passed.confirm(4).runs, []);
    }

    #[test]
    fn what_is_read_again_has_the_places_of_before() {
        let log = OutboxLog {
            confirmed: 3,
            lsn_place: 1,
            ahead: vec![(12, 12), (14, 14)],
            floor: 10,
            ..OutboxLog::default()
        };
        let mut passed = Passed::of(&log);
        let places: Vec<_> = [12, 14, 13].map(|sequence| passed.take(sequence)).into();
        assert_eq!(places, [None, None, Some(4)]);
        assert_eq!(passed.confirm(4).runs, [(12, 14)]);
    }

    #[test]
    fn a_floor_counts_for_places_behind_it() {
        let mut passed = passed();
        for sequence in 11..=20 {
            passed.take(sequence);
        }
        passed.confirm(11);
        passed.raise(15, 6);
        assert!(passed.has_runs());
        passed.raise(20, 11);
        assert!(!passed.has_runs());
        assert_eq!(passed.floor(), 20);
        assert_eq!(passed.floor_at(0), None);
        assert_eq!(passed.floor_at(5), Some(10));
        assert_eq!(passed.floor_at(8), Some(15));
        assert_eq!(passed.floor_at(30), Some(20));
    }

    #[test]
    fn transactions_of_others_move_the_end_alone() {
        let mut passed = passed();
        passed.end_transaction(Lsn(150));
        passed.end_transaction(Lsn(160));
        passed.take(11);
        passed.end_transaction(Lsn(170));
        let save = passed.confirm(1);
        assert_eq!((save.lsn, save.lsn_place), (160, 1));
        assert_eq!(passed.confirm(2).lsn, 170);
    }
}
