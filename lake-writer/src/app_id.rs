//! The names under which a table keeps its progress: application ids of Delta `txn` actions.
//!
//! The writer moves them with its rows, `lakehead resume` moves them over a gap; both must mean the
//! same by a name.

use std::fmt::Display;

use schemas::TopicPartition;

/// The value of [`AppIds::last_record`] that says that no record is known: a `txn` cannot be
/// taken back. Marks of records are never negative.
pub(crate) const NO_MARK: i64 = -1;

/// The value of [`AppIds::ordinal`] that says that the last sequence has no second number, though
/// one before it had. Ordinals are never negative.
pub(crate) const NO_ORDINAL: i64 = -1;

/// How the name of a partition count ends.
const PARTITION_COUNT: &str = "/partitions";

/// What moves in a partition, by the partition's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The next offset.
    Progress(i32),
    /// How often offsets began anew.
    Generation(i32),
}

/// The names of one pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppIds<'a> {
    pipeline: &'a str,
}

impl<'a> AppIds<'a> {
    pub(crate) fn new(pipeline: &'a str) -> Self {
        Self { pipeline }
    }

    /// The next offset of a partition.
    pub(crate) fn progress(self, partition: &TopicPartition) -> String {
        format!("{}/{partition}", self.pipeline)
    }

    /// The last sequence that landed of one source: its first number.
    pub(crate) fn sequence(self, partition: &TopicPartition, source: &str) -> String {
        format!("{}/{partition}/sequence/{source}", self.pipeline)
    }

    /// The second number of that sequence, if it has one.
    pub(crate) fn ordinal(self, partition: &TopicPartition, source: &str) -> String {
        format!("{}/{partition}/ordinal/{source}", self.pipeline)
    }

    /// Whether this is the [`Self::sequence`] of any source.
    pub(crate) fn is_sequence(app_id: &str) -> bool {
        let mut parts = app_id.splitn(5, '/').skip(3);
        matches!((parts.next(), parts.next()), (Some("sequence"), Some(_)))
    }

    /// The mark of the record before the next offset.
    pub(crate) fn last_record(self, partition: &TopicPartition) -> String {
        format!("{}/{partition}/last_mark", self.pipeline)
    }

    /// How often the partition's offsets began anew.
    pub(crate) fn generation(self, partition: &TopicPartition) -> String {
        format!("{}/{partition}/generation", self.pipeline)
    }

    /// What an application id says of a partition: its next offset ([`Self::progress`]) or its
    /// [`Self::generation`]; nothing of all others.
    pub(crate) fn place_of(app_id: &str) -> Option<Place> {
        let mut parts = app_id.split('/').skip(2);
        let partition = parts.next()?.parse().ok()?;
        match (parts.next(), parts.next()) {
            (None, _) => Some(Place::Progress(partition)),
            (Some("generation"), None) => Some(Place::Generation(partition)),
            _ => None,
        }
    }

    /// The partition whose [`Self::progress`] this is.
    pub(crate) fn partition_of(app_id: &str) -> Option<TopicPartition> {
        let mut parts = app_id.split('/').skip(1);
        let (topic, partition) = (parts.next()?, parts.next()?.parse().ok()?);
        parts
            .next()
            .is_none()
            .then(|| TopicPartition::new(topic, partition))
    }

    /// The topic and the source whose [`Self::sequence`] this is.
    pub(crate) fn source_of(app_id: &str) -> Option<(&str, &str)> {
        let mut parts = app_id.splitn(5, '/').skip(1);
        let topic = parts.next()?;
        match (parts.next(), parts.next(), parts.next()) {
            (Some(_), Some("sequence"), Some(source)) => Some((topic, source)),
            _ => None,
        }
    }

    /// How many partitions the topic had.
    pub(crate) fn partition_count(self, topic: &str) -> String {
        format!("{}/{topic}{PARTITION_COUNT}", self.pipeline)
    }

    /// The cluster that the topic is of, by [`cluster_number`].
    pub(crate) fn cluster(self, topic: &str) -> String {
        format!("{}/{topic}/cluster", self.pipeline)
    }

    /// The pipeline and the topic whose [`Self::partition_count`] this is. Neither has a slash.
    pub(crate) fn feed_of(app_id: &str) -> Option<(&str, &str)> {
        let feed = app_id.strip_suffix(PARTITION_COUNT)?;
        let (pipeline, topic) = feed.split_once('/')?;
        (!topic.contains('/')).then_some((pipeline, topic))
    }

    /// In the table of dead letters: the offset up to which they are committed.
    pub(crate) fn dead_letters(self, partition: &TopicPartition) -> String {
        format!("{}/dead_letters/{partition}", self.pipeline)
    }

    /// In the table of dead letters: microseconds since 1970-01-01T00:00Z; letters that were taken
    /// in earlier are of a topic that is gone, though their offsets come again.
    pub(crate) fn dead_letters_since(self, partition: &TopicPartition) -> String {
        format!("{}/dead_letters/{partition}/since", self.pipeline)
    }

    /// How many gaps the table has passed over at a place: a partition, or a topic as a whole.
    pub(crate) fn gaps_passed(self, place: &dyn Display) -> String {
        format!("{}/{place}/gaps", self.pipeline)
    }

    /// In the table of gaps: how many were recorded at a place.
    pub(crate) fn gaps_recorded(self, place: &dyn Display) -> String {
        format!("{}/gaps/{place}", self.pipeline)
    }

    /// In the table of gaps: a number of the last gap recorded at a place.
    pub(crate) fn last_gap(self, place: &dyn Display, what: &str) -> String {
        format!("{}/gaps/{place}/{what}", self.pipeline)
    }
}

/// The number that stands for a cluster's id where only a number fits.
pub(crate) fn cluster_number(id: &str) -> i64 {
    number_of(id.as_bytes())
}

/// The number that stands for bytes where only a number fits: the 64 bits of FNV-1a, less the lowest.
/// Tells apart what nobody chose to look alike, is never negative, and never changes from one version
/// of the program to the next.
pub(crate) fn number_of(bytes: &[u8]) -> i64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    let hash = bytes.iter().fold(OFFSET_BASIS, mix);
    (hash >> 1).cast_signed()
}

/// How often the table at this path was maintained: keeps those apart who do it.
pub(crate) fn maintenance(path: &str) -> String {
    format!("lakehead/maintain/{path}")
}

/// In a table that is derived from changes: the version of them that it covers.
pub(crate) fn changes_version(path: &str) -> String {
    format!("lakehead/maintain/{path}/changes_version")
}

/// In a table that is derived from changes: the number of the log entry of that version, or
/// [`NO_ENTRY`].
pub(crate) fn changes_commit(path: &str) -> String {
    format!("lakehead/maintain/{path}/changes_commit")
}

/// In a table that is derived from changes: the number of their table's id.
pub(crate) fn changes_table(path: &str) -> String {
    format!("lakehead/maintain/{path}/changes_table")
}

/// In a table that is derived from changes: the number of all its files, which tells whether another
/// program wrote to it.
pub(crate) fn files(path: &str) -> String {
    format!("lakehead/maintain/{path}/files")
}

/// The number of a log entry that nobody could read any more. Others are never negative.
pub(crate) const NO_ENTRY: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_number_is_fnv_1a_without_its_lowest_bit() {
        // Published values of the 64-bit hash: cbf29ce484222325, af63dc4c8601ec8c, 85944171f73967e8.
        assert_eq!(cluster_number(""), 0x65f9_4e72_4211_1192);
        assert_eq!(cluster_number("a"), 0x57b1_ee26_4300_f646);
        assert_eq!(cluster_number("foobar"), 0x42ca_20b8_fb9c_b3f4);
    }

    #[test]
    fn what_belongs_to_a_source_is_told_from_what_belongs_to_a_partition() {
        let (ids, partition) = (AppIds::new("p"), TopicPartition::new("a.b", 3));
        for source in ["/orders", "", "https://x/sequence/1"] {
            assert!(AppIds::is_sequence(&ids.sequence(&partition, source)));
        }
        let odd = TopicPartition::new("sequence", 0);
        for others in [
            ids.ordinal(&partition, "/orders"),
            ids.progress(&partition),
            ids.last_record(&partition),
            ids.generation(&partition),
            ids.partition_count("sequence"),
            ids.gaps_passed(&odd),
            ids.progress(&odd),
        ] {
            assert!(!AppIds::is_sequence(&others), "{others}");
        }
    }

    #[test]
    fn progress_names_its_partition_and_a_sequence_its_source() {
        let (ids, partition) = (AppIds::new("p"), TopicPartition::new("a.b", 7));
        let (progress, sequence) = (ids.progress(&partition), ids.sequence(&partition, "/s/1"));
        assert_eq!(AppIds::partition_of(&progress).as_ref(), Some(&partition));
        assert_eq!(AppIds::source_of(&sequence), Some(("a.b", "/s/1")));
        for other in [ids.generation(&partition), ids.ordinal(&partition, "/s/1")] {
            assert_eq!(AppIds::partition_of(&other), None, "{other}");
            assert_eq!(AppIds::source_of(&other), None, "{other}");
        }
        assert_eq!(
            (
                AppIds::partition_of(&sequence),
                AppIds::source_of(&progress)
            ),
            (None, None)
        );
    }

    #[test]
    fn places_are_told_from_all_other_applications() {
        let ids = AppIds::new("p");
        let partition = TopicPartition::new("a.b", 7);
        let found = |app_id: String| AppIds::place_of(&app_id);
        assert_eq!(found(ids.progress(&partition)), Some(Place::Progress(7)));
        assert_eq!(
            found(ids.generation(&partition)),
            Some(Place::Generation(7))
        );
        for other in [
            ids.sequence(&partition, "generation"),
            ids.sequence(&partition, "/s/1"),
            ids.last_record(&partition),
            ids.partition_count("a.b"),
            ids.gaps_passed(&"a.b"),
            ids.gaps_passed(&"a.b/7"),
            maintenance("a/b/current"),
            changes_version("a/b/current"),
            changes_commit("a/b/current"),
            changes_table("a/b/current"),
            files("a/b/current"),
        ] {
            assert_eq!(found(other.clone()), None, "{other}");
        }
    }
}
