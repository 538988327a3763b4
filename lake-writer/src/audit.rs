//! Whether a table is what its log says: the invariants that can be checked from the lake alone.
//!
//! - Every data file that the newest version names is there, with its size, and can be read (I10).
//! - No offset of a topic partition is in the table twice, nor both a row and a dead letter (I2).
//! - Progress is where the data end: no row and no dead letter lies at or beyond the next offset that
//!   the same version tells, and no partition has rows without progress (I4).
//!
//! Offsets below the progress that are neither rows nor dead letters nor in an accepted gap are
//! counted and told, not held to be missing: repetitions that a source announced, a transactional
//! producer's markers and what Kafka compacted leave no row. What an owner has and the lake has not
//! is seen by comparing the two.

mod file;
mod offsets;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::{StreamExt, stream};
use lake_store::{DEAD_LETTERS_PATH, GAPS_PATH, LakeStore};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use schemas::{TableName, TopicPartition};

use crate::action::Add;
use crate::delta_log::{DeltaLog, DeltaLogError, TableState};
use crate::stored_file::StoredFile;

use offsets::Offsets;
pub use told::{Finding, PartitionAudit, TableAudit};

/// Data files that are looked at or read at the same time.
const FILES_AT_ONCE: usize = 8;

/// Attempts to read log and files at one version while others commit and clean up.
const ATTEMPTS_MAX: usize = 5;

/// Why a table cannot be checked. That it is not as it must be is no error.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store does not answer.
    #[error("table {table}: the store does not answer: {source}")]
    Store {
        /// The table's path below the lake's root.
        table: String,
        /// The store's error.
        source: object_store::Error,
    },
    /// The log cannot be read, or changes faster than it is read.
    #[error("table {table}: its log cannot be read: {why}")]
    Log {
        /// The table's path below the lake's root.
        table: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A topic partition, and how often its offsets began anew.
type Place = (TopicPartition, i64);

/// What one place holds.
#[derive(Debug, Default)]
struct Held {
    rows: Offsets,
    letters: Offsets,
    /// Accepted gaps: from one offset to before another.
    gaps: Vec<(i64, i64)>,
    next_offset: Option<i64>,
}

/// Checks the newest version of an entity's table; `None` if there is none. Only lineage columns are
/// read; memory is one bit for each offset.
///
/// # Errors
/// The store or the log cannot be read.
pub async fn audit(lake: &LakeStore, table: &TableName) -> Result<Option<TableAudit>, AuditError> {
    let path = table.changes_path();
    // Dead letters are committed before the data that pass over them, and gaps before progress is
    // moved over them: read after the table, they hold all that its version relies on.
    let Some((state, files)) = version(lake, &path).await? else {
        return Ok(None);
    };
    let mut findings = Vec::new();
    let mut held: BTreeMap<Place, Held> = BTreeMap::new();
    let rows = rows(lake, &path, &files, &mut held, &mut findings).await?;
    progress(&state, &mut held);
    letters(lake, table, &mut held, &mut findings).await?;
    gaps(lake, table, &mut held).await?;
    without_progress(&held, &mut findings);
    let partitions = held
        .into_iter()
        .map(|(place, held)| judged(place, &held, &mut findings));
    let partitions = partitions.collect();
    Ok(Some(TableAudit {
        table: table.clone(),
        version: state.version,
        files: files.len(),
        rows,
        partitions,
        findings,
    }))
}

/// State and data files of one version.
async fn version(
    lake: &LakeStore,
    path: &str,
) -> Result<Option<(TableState, Vec<Add>)>, AuditError> {
    let log = DeltaLog::new(lake.table_store(path));
    let failed = |error| failed(path, error);
    for _ in 0..ATTEMPTS_MAX {
        let Some(before) = log.load().await.map_err(failed)? else {
            return Ok(None);
        };
        let files = log.files(|_| true).await.map_err(failed)?;
        let after = log.load().await.map_err(failed)?;
        if after.is_some_and(|after| after.version == before.version) {
            return Ok(Some((before, files)));
        }
    }
    Err(AuditError::Log {
        table: path.to_owned(),
        why: format!("it was committed to during each of {ATTEMPTS_MAX} attempts; try again"),
    })
}

/// Takes in the rows of all files; those that are missing or cannot be read are findings.
async fn rows(
    lake: &LakeStore,
    table: &str,
    files: &[Add],
    held: &mut BTreeMap<Place, Held>,
    findings: &mut Vec<Finding>,
) -> Result<u64, AuditError> {
    let store = lake.table_store(table);
    let reading = stream::iter(files.iter().map(|file| read(Arc::clone(&store), file)));
    let mut reading = reading.buffered(FILES_AT_ONCE);
    let mut rows = 0;
    while let Some(read) = reading.next().await {
        let (file, read) = read.map_err(|source| AuditError::Store {
            table: table.to_owned(),
            source,
        })?;
        let places = match read {
            Ok(places) => places,
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        for (place, offsets) in places {
            rows += offsets.len() as u64;
            let of_place = held.entry(place.clone()).or_default();
            let doubled: Vec<i64> = offsets
                .into_iter()
                .filter(|offset| !of_place.rows.insert(*offset))
                .collect();
            if let Some(first) = doubled.iter().min() {
                findings.push(Finding::Doubled {
                    partition: place.0,
                    generation: place.1,
                    first: *first,
                    offsets: doubled.len() as u64,
                    file: file.clone(),
                });
            }
        }
    }
    Ok(rows)
}

/// The offsets of one file by place, or what is wrong with it.
async fn read(
    store: Arc<dyn ObjectStore>,
    add: &Add,
) -> object_store::Result<(String, Result<Vec<(Place, Vec<i64>)>, Finding>)> {
    let name = add.path.clone();
    let found = match store.head(&path(add)).await {
        Ok(found) => found.size,
        Err(object_store::Error::NotFound { .. }) => {
            let missing = Finding::FileMissing { file: name.clone() };
            return Ok((name, Err(missing)));
        }
        Err(error) => return Err(error),
    };
    if i64::try_from(found).ok() != Some(add.size) {
        let other = Finding::FileSize {
            file: name.clone(),
            expected: add.size,
            found,
        };
        return Ok((name, Err(other)));
    }
    let file = StoredFile::new(&store, path(add), found);
    let offsets = match file::offsets(&file).await {
        Ok(offsets) => Ok(offsets),
        Err(error) => match file.blame(error) {
            DeltaLogError::Store(error) => return Err(error),
            DeltaLogError::Corrupt { why, .. } => Err(Finding::FileUnreadable {
                file: name.clone(),
                why,
            }),
        },
    };
    Ok((name, offsets))
}

/// Paths in a log are written as in addresses.
fn path(add: &Add) -> Path {
    Path::from_url_path(&add.path).unwrap_or_else(|_| Path::from(add.path.as_str()))
}

/// A file that is believed to be as the log says.
fn stored(store: &Arc<dyn ObjectStore>, add: &Add) -> StoredFile {
    StoredFile::new(store, path(add), u64::try_from(add.size).unwrap_or(0))
}

/// Takes in how far every pipeline has come, for the generation that each partition is in.
fn progress(state: &TableState, held: &mut BTreeMap<Place, Held>) {
    for (app_id, next_offset) in &state.txns {
        let parts: Vec<&str> = app_id.split('/').collect();
        let [_, topic, partition] = parts[..] else {
            continue;
        };
        let Ok(partition) = partition.parse() else {
            continue;
        };
        let generation = state.txns.get(&format!("{app_id}/generation")).copied();
        let place = (
            TopicPartition::new(topic, partition),
            generation.unwrap_or(0),
        );
        let of_place = held.entry(place).or_default();
        of_place.next_offset = of_place.next_offset.max(Some(*next_offset));
    }
}

/// Takes in the table's dead letters.
async fn letters(
    lake: &LakeStore,
    table: &TableName,
    held: &mut BTreeMap<Place, Held>,
    findings: &mut Vec<Finding>,
) -> Result<(), AuditError> {
    let Some((state, files)) = version(lake, DEAD_LETTERS_PATH).await? else {
        return Ok(());
    };
    let store = lake.table_store(DEAD_LETTERS_PATH);
    let (name, began) = (table.to_string(), began(&state));
    for add in files {
        let file = stored(&store, &add);
        let letters = match file::letters(&file, &name).await {
            Ok(letters) => letters,
            Err(error) => match file.blame(error) {
                error @ DeltaLogError::Store(_) => return Err(failed(DEAD_LETTERS_PATH, error)),
                DeltaLogError::Corrupt { why, .. } => {
                    findings.push(Finding::FileUnreadable {
                        file: format!("{DEAD_LETTERS_PATH}/{}", add.path),
                        why,
                    });
                    continue;
                }
            },
        };
        for letter in letters {
            let began = began.get(&letter.partition.to_string());
            let is_current = began.is_none_or(|began| letter.ingest_time_us >= *began);
            let mut places = held.iter_mut().rev();
            let place = places.find(|((partition, _), _)| *partition == letter.partition);
            if let Some((_, held)) = place.filter(|_| is_current) {
                held.letters.insert(letter.offset);
            }
        }
    }
    Ok(())
}

/// When the letters of each partition began to be of the topic that is there now: those that were
/// taken in earlier have offsets that come again.
fn began(state: &TableState) -> HashMap<String, i64> {
    let mut began = HashMap::new();
    for (app_id, time_us) in &state.txns {
        let since = app_id.strip_suffix("/since");
        if let Some((_, partition)) = since.and_then(|since| since.split_once("/dead_letters/")) {
            let latest = began.entry(partition.to_owned()).or_insert(*time_us);
            *latest = (*latest).max(*time_us);
        }
    }
    began
}

/// Takes in the gaps that were accepted for the table.
async fn gaps(
    lake: &LakeStore,
    table: &TableName,
    held: &mut BTreeMap<Place, Held>,
) -> Result<(), AuditError> {
    let Some((_, files)) = version(lake, GAPS_PATH).await? else {
        return Ok(());
    };
    let store = lake.table_store(GAPS_PATH);
    let name = table.to_string();
    let mut gaps = Vec::new();
    for add in files {
        let file = stored(&store, &add);
        let of_file = file::gaps(&file, &name).await;
        gaps.extend(of_file.map_err(|error| failed(GAPS_PATH, file.blame(error)))?);
    }
    for (partition, from, to) in gaps {
        for ((of, _), held) in held.iter_mut() {
            if *of == partition {
                held.gaps.push((from, to));
            }
        }
    }
    Ok(())
}

/// Partitions that have rows, and of whose progress no version tells.
fn without_progress(held: &BTreeMap<Place, Held>, findings: &mut Vec<Finding>) {
    let told: BTreeSet<&TopicPartition> = held
        .iter()
        .filter(|(_, held)| held.next_offset.is_some())
        .map(|((partition, _), _)| partition)
        .collect();
    let all: BTreeSet<&TopicPartition> = held.keys().map(|(partition, _)| partition).collect();
    let lost = all.difference(&told).map(|partition| Finding::NoProgress {
        partition: (*partition).clone(),
    });
    findings.extend(lost);
}

/// What is to be said of one place.
fn judged(
    (partition, generation): Place,
    held: &Held,
    findings: &mut Vec<Finding>,
) -> PartitionAudit {
    if let Some(both) = held.rows.first_common(&held.letters) {
        findings.push(Finding::RowAndLetter {
            partition: partition.clone(),
            offset: both,
        });
    }
    let end = held.rows.end();
    if let (Some(next_offset), Some(end)) = (held.next_offset, end)
        && end > next_offset
    {
        findings.push(Finding::BeyondProgress {
            partition: partition.clone(),
            next_offset,
            last: end - 1,
        });
    }
    PartitionAudit {
        rows: held.rows.len(),
        dead_letters: held.letters.len(),
        without_row: held.next_offset.map_or(0, |next| held.without_row(next)),
        next_offset: held.next_offset,
        partition,
        generation,
    }
}

impl Held {
    /// Offsets from the first known one to `next_offset` that are neither rows nor dead letters nor
    /// in a gap.
    fn without_row(&self, next_offset: i64) -> u64 {
        let firsts = [self.rows.first(), self.letters.first()];
        let Some(first) = firsts.into_iter().flatten().min() else {
            return 0;
        };
        let known = self.rows.union_len(&self.letters);
        let span = u64::try_from(next_offset - first).unwrap_or(0);
        let of_gap = |(from, to): &(i64, i64)| {
            let (from, to) = ((*from).max(first), (*to).min(next_offset));
            u64::try_from(to - from).unwrap_or(0)
        };
        let gaps: u64 = self.gaps.iter().map(of_gap).sum();
        span.saturating_sub(known).saturating_sub(gaps)
    }
}

fn failed(table: &str, error: DeltaLogError) -> AuditError {
    let table = table.to_owned();
    match error {
        DeltaLogError::Store(source) => AuditError::Store { table, source },
        DeltaLogError::Corrupt { .. } => AuditError::Log {
            table,
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
