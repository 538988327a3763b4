//! Which files are compacted together.

use std::collections::BTreeMap;

use super::CompactionSettings;
use crate::action::Add;

type PartitionValues = BTreeMap<String, Option<String>>;

/// A file that is larger than as many times all smaller ones together waits until there are more of
/// them, or what comes in drops would have it written again each time.
const OUTWEIGHS: u64 = 4;

/// Small files of one partition value that become one, in the order they were written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) files: Vec<Add>,
}

impl Group {
    pub(super) fn partition_values(&self) -> &PartitionValues {
        static NONE: PartitionValues = PartitionValues::new();
        self.files
            .first()
            .map_or(&NONE, |file| &file.partition_values)
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size.unsigned_abs()).sum()
    }
}

/// The groups of files that are worth being compacted, partition value by partition value.
pub(super) fn groups(
    files: impl Iterator<Item = Add>,
    settings: &CompactionSettings,
    now_ms: i64,
) -> Vec<Group> {
    let mut values: BTreeMap<PartitionValues, Value> = BTreeMap::new();
    for file in files {
        let value = values.entry(file.partition_values.clone()).or_default();
        value.take(file, settings);
    }
    let lighter = values.into_values().map(Value::without_outweighing);
    let worth = lighter.filter(|value| {
        let quiet_ms = settings.quiet_age.as_millis();
        let is_hot = u128::try_from(now_ms - value.youngest_ms).unwrap_or(0) < quiet_ms;
        let few = if is_hot {
            settings.hot_files_max
        } else {
            settings.files_min
        };
        value.small.len() >= few
    });
    worth.flat_map(|value| value.groups(settings)).collect()
}

/// What is known of the files of one partition value.
#[derive(Default)]
struct Value {
    small: Vec<Add>,
    youngest_ms: i64,
}

impl Value {
    fn take(&mut self, file: Add, settings: &CompactionSettings) {
        self.youngest_ms = self.youngest_ms.max(file.modification_time);
        if file.size.unsigned_abs() < settings.target_bytes.as_u64() / 2 {
            self.small.push(file);
        }
    }

    /// Without the files that outweigh the rest. What stays adds a good part to every file that it is
    /// put together with: a byte is written a few times for each tier of sizes that it passes.
    fn without_outweighing(mut self) -> Self {
        self.small.sort_by_key(|file| file.size);
        let mut rest: u64 = self.small.iter().map(|file| file.size.unsigned_abs()).sum();
        while let Some(largest) = self.small.last() {
            let size = largest.size.unsigned_abs();
            rest -= size;
            if size <= OUTWEIGHS * rest {
                break;
            }
            self.small.pop();
        }
        self
    }

    /// Neighbours in time go together, so that a file covers one stretch of each topic partition.
    fn groups(mut self, settings: &CompactionSettings) -> Vec<Group> {
        self.small
            .sort_by(|a, b| (a.modification_time, &a.path).cmp(&(b.modification_time, &b.path)));
        let mut groups: Vec<Group> = Vec::new();
        for file in self.small {
            let size = file.size.unsigned_abs();
            match groups.last_mut() {
                Some(group) if group.bytes() + size <= settings.target_bytes.as_u64() => {
                    group.files.push(file);
                }
                _ => groups.push(Group { files: vec![file] }),
            }
        }
        // What is too few stays until more has come, or every run would write it again.
        groups.retain(|group| {
            let half_full = group.bytes() >= settings.target_bytes.as_u64() / 2;
            group.files.len() >= settings.files_min || (half_full && group.files.len() > 1)
        });
        groups
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytesize::ByteSize;

    use super::*;

    fn settings() -> CompactionSettings {
        CompactionSettings {
            target_bytes: ByteSize::b(1000),
            files_min: 3,
            quiet_age: Duration::from_secs(60),
            hot_files_max: 6,
            ..CompactionSettings::default()
        }
    }

    fn file(date: &str, size: i64, modification_time: i64) -> Add {
        Add {
            path: format!("{date}/{modification_time}"),
            partition_values: [("_event_date".to_owned(), Some(date.to_owned()))].into(),
            size,
            modification_time,
            data_change: true,
            stats: None,
        }
    }

    fn planned(files: Vec<Add>, now_ms: i64) -> Vec<Vec<String>> {
        let groups = groups(files.into_iter(), &settings(), now_ms).into_iter();
        let paths = |group: Group| group.files.into_iter().map(|file| file.path).collect();
        groups.map(paths).collect()
    }

    #[test]
    fn small_files_of_a_value_go_together_in_the_order_they_came() {
        let files = vec![
            file("b", 10, 4),
            file("a", 10, 3),
            file("a", 900, 2),
            file("a", 10, 1),
            file("b", 10, 5),
            file("a", 10, 0),
        ];
        assert_eq!(planned(files, 100_000), [["a/0", "a/1", "a/3"]]);
    }

    #[test]
    fn groups_are_no_larger_than_a_file_is_to_be() {
        let files: Vec<Add> = (0..8).map(|time| file("a", 300, time)).collect();
        let planned = planned(files, 100_000);
        assert_eq!(
            planned,
            [["a/0", "a/1", "a/2"], ["a/3", "a/4", "a/5"]]
                .map(Vec::from)
                .into_iter()
                .chain([vec!["a/6", "a/7"]])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_hot_value_waits_until_it_has_many() {
        let files = |count| (0..count).map(|time| file("a", 10, time)).collect();
        assert!(planned(files(5), 1_000).is_empty());
        assert_eq!(planned(files(6), 1_000).len(), 1);
        assert_eq!(planned(files(5), 61_000).len(), 1);
        // A clock that goes back makes every value hot, and nothing else.
        assert!(planned(files(5), -5).is_empty());
    }

    #[test]
    fn what_was_compacted_is_left_alone_until_more_has_come() {
        let files = vec![file("a", 400, 0), file("a", 10, 1)];
        assert!(planned(files, 100_000).is_empty());
    }

    #[test]
    fn a_file_that_outweighs_the_rest_waits_until_there_is_more() {
        let drops = |count| (1..=count).map(|time| file("a", 10, time));
        let with_large = |count| drops(count).chain([file("a", 400, 0)]).collect();
        let planned_files = |count| planned(with_large(count), 100_000).concat();
        assert!(planned_files(2).is_empty());
        assert_eq!(planned_files(9).len(), 9);
        assert_eq!(planned_files(10).len(), 11);
    }

    /// What comes in drops is written a few times, however many there are.
    #[test]
    fn bytes_that_are_written_rise_with_those_that_come() {
        let settings = CompactionSettings {
            target_bytes: ByteSize::mib(1),
            ..settings()
        };
        let (mut files, mut written): (Vec<Add>, u64) = (Vec::new(), 0);
        let came = 4_000;
        for time in 0..came {
            files.push(file("a", 100, time));
            for group in groups(files.iter().cloned(), &settings, 100_000_000) {
                files.retain(|file| !group.files.contains(file));
                let bytes = i64::try_from(group.bytes()).unwrap();
                files.push(file("a", bytes, time));
                written += group.bytes();
            }
        }
        let came_bytes = u64::try_from(came).unwrap() * 100;
        assert!(written < 20 * came_bytes, "{written} for {came_bytes}");
        assert!(files.len() < 12, "{}", files.len());
    }
}
