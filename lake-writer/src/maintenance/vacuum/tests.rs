//! What goes and what stays.

use object_store::ObjectStoreExt;

use super::*;
use crate::delta_log::{entry_path, write_checkpoint};
use crate::layout;
use crate::maintenance::fixture::{DAY, Fixture, PATH, Requests, days};

/// A table with two versions of its rows: small files, and what they were compacted to.
async fn compacted() -> Fixture {
    let mut table = Fixture::new(Fixture::in_memory(), 1).await;
    for _ in 0..3 {
        table.append(&[(0, 10)], DAY).await;
        table.append(&[(1, 10)], DAY + 1).await;
    }
    table.compaction(&table.lake).run().await.unwrap();
    table
}

async fn put(table: &Fixture, path: &str) {
    let path = Path::from(path);
    table.log.store().put(&path, "x".into()).await.unwrap();
}

#[tokio::test]
async fn files_go_when_they_left_the_table_longer_ago_than_the_retention() {
    let table = compacted().await;
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    assert_eq!(vacuum.run().await.unwrap(), VacuumReport::default());
    table.clock.advance(days(6));
    assert_eq!(vacuum.run().await.unwrap(), VacuumReport::default());
    assert_eq!(table.stored().await.len(), 8);
    table.clock.advance(days(2));
    let report = vacuum.run().await.unwrap();
    assert_eq!((report.files, report.paths.len()), (6, 6));
    assert_eq!(table.stored().await.len(), 2);
    assert_eq!(table.read_rows().await, table.rows);
    assert_eq!(vacuum.run().await.unwrap(), VacuumReport::default());
}

#[tokio::test]
async fn a_dry_run_says_what_would_go() {
    let table = compacted().await;
    table.clock.advance(days(8));
    let settings = VacuumSettings {
        dry_run: true,
        ..VacuumSettings::default()
    };
    let told = table.vacuum(&table.lake, settings).run().await.unwrap();
    assert_eq!((told.files, table.stored().await.len()), (6, 8));
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    assert_eq!(vacuum.run().await.unwrap(), told);
}

#[tokio::test]
async fn what_no_commit_refers_to_goes_by_its_age() {
    let table = compacted().await;
    let name = table.entropy.uuid();
    put(
        &table,
        &format!("_event_date=2013-01-01/part-{name}.zstd.parquet"),
    )
    .await;
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    table.clock.advance(days(6));
    let report = vacuum.run().await.unwrap();
    assert_eq!((report.files, report.young_files), (0, 1));
    table.clock.advance(days(2));
    assert_eq!(vacuum.run().await.unwrap().files, 7);
}

#[tokio::test]
async fn nothing_is_touched_that_is_not_ours() {
    let table = compacted().await;
    let name = table.entropy.uuid();
    let foreign = [
        "_event_date=2013-01-01/part-00000-abc.snappy.parquet".to_owned(),
        format!("notes/part-{name}.zstd.parquet"),
        format!("part-{name}.zstd.parquet.bak"),
        format!("_delta_log/part-{name}.zstd.parquet"),
        "_event_date=2013-01-01/readme.txt".to_owned(),
    ];
    for path in &foreign {
        put(&table, path).await;
    }
    table.clock.advance(days(4000));
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    assert_eq!(vacuum.run().await.unwrap().files, 6);
    for path in &foreign {
        table
            .log
            .store()
            .head(&Path::from(path.as_str()))
            .await
            .unwrap();
    }
    assert_eq!(table.read_rows().await, table.rows);
}

#[tokio::test]
async fn a_longer_retention_has_the_log_keep_tombstones_as_long() {
    let table = compacted().await;
    let settings = VacuumSettings {
        retention: days(30),
        ..VacuumSettings::default()
    };
    let vacuum = table.vacuum(&table.lake, settings);
    vacuum.run().await.unwrap();
    let state = table.log.load().await.unwrap().unwrap();
    let kept = state
        .metadata
        .configuration
        .get("delta.deletedFileRetentionDuration");
    assert_eq!(kept.unwrap(), "interval 2592000 seconds");
    assert!(state.same_layout(&table.state.metadata));
    table.clock.advance(days(29));
    assert_eq!(vacuum.run().await.unwrap(), VacuumReport::default());
    table.clock.advance(days(2));
    assert_eq!(vacuum.run().await.unwrap().files, 6);
}

/// Another program sets a property of the table.
async fn set(table: &Fixture, property: &str, value: &str) {
    let state = table.log.load().await.unwrap().unwrap();
    let mut metadata = state.metadata;
    metadata
        .configuration
        .insert(property.to_owned(), value.to_owned());
    let entry = serde_json::json!({ "metaData": metadata }).to_string();
    table.log.put(state.version + 1, entry.into()).await;
}

#[tokio::test]
async fn a_table_that_asks_for_longer_than_the_setting_gets_it() {
    let table = compacted().await;
    set(&table, TOMBSTONES_KEPT, "interval 30 days").await;
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    for kept_days in [8, 21] {
        table.clock.advance(days(kept_days));
        assert_eq!(vacuum.run().await.unwrap(), VacuumReport::default());
        assert_eq!(table.stored().await.len(), 8, "after {kept_days} more");
    }
    table.clock.advance(days(2));
    assert_eq!(vacuum.run().await.unwrap().files, 6);
    assert_eq!(table.read_rows().await, table.rows);
}

/// Two processes whose settings differ: the one that keeps less goes by what the other has set.
#[tokio::test]
async fn of_two_retentions_the_longer_one_counts_and_a_shorter_property_does_not() {
    let table = compacted().await;
    let longer = VacuumSettings {
        retention: days(30),
        ..VacuumSettings::default()
    };
    let longer = table.vacuum(&table.lake, longer);
    longer.run().await.unwrap();
    let shorter = table.vacuum(&table.lake, VacuumSettings::default());
    table.clock.advance(days(29));
    assert_eq!(shorter.run().await.unwrap(), VacuumReport::default());
    let table = compacted().await;
    set(&table, TOMBSTONES_KEPT, "interval 1 day").await;
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    table.clock.advance(days(6));
    assert_eq!(vacuum.run().await.unwrap().files, 0);
}

#[tokio::test]
async fn where_it_is_not_known_what_the_table_asks_for_nothing_goes() {
    let table = compacted().await;
    set(&table, TOMBSTONES_KEPT, "interval 1 month").await;
    table.clock.advance(days(8));
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    let error = vacuum.run().await.unwrap_err().to_string();
    assert!(
        error.contains(PATH) && error.contains(TOMBSTONES_KEPT) && error.contains("1 month"),
        "{error}"
    );
    assert_eq!(table.stored().await.len(), 8);
}

/// A checkpoint has forgotten when the file left the table: it is not taken for one that never was in
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_longer_retention_does_not_take_what_the_log_has_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
    let mut table = Fixture::new(lake, 1).await;
    table.clock.set_back(days(10));
    for _ in 0..3 {
        table.append(&[(0, 10)], DAY).await;
    }
    let (version, rows) = (table.state.version, table.rows.clone());
    table.compaction(&table.lake).run().await.unwrap();
    table.clock.advance(days(10));
    let newest = table.log.load().await.unwrap().unwrap().version;
    write_checkpoint(&table.lake, PATH, newest).await.unwrap();
    // To the store, all files are old.
    let then = std::time::SystemTime::now() - days(200);
    for path in table.stored().await {
        let path = directory.path().join(PATH).join(path);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    }
    let settings = VacuumSettings {
        retention: days(30),
        ..VacuumSettings::default()
    };
    let vacuum = table.vacuum(&table.lake, settings);
    let report = vacuum.run().await.unwrap();
    assert_eq!((report.files, report.young_files), (0, 3));
    assert_eq!(table.read_rows_at(version).await, rows);
    // A month after the oldest tombstone that is there, nothing is needed that has none.
    table.clock.advance(days(22));
    assert_eq!(vacuum.run().await.unwrap().files, 0);
    table.clock.advance(days(2));
    assert_eq!(vacuum.run().await.unwrap().files, 3);
    assert_eq!(table.read_rows().await, table.rows);
}

/// A retention of two days ends between those that left, be it told by the log's entries or by a
/// checkpoint alone. To the store, all of them are young.
#[tokio::test(flavor = "multi_thread")]
async fn what_left_before_the_retention_goes_and_what_left_within_it_stays() {
    for by_checkpoint in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
        let mut table = Fixture::new(lake, 1).await;
        table.clock.set_back(days(3));
        let mut left = Vec::new();
        for (day, days_later) in [(DAY, 2), (DAY + 1, 1)] {
            for _ in 0..3 {
                table.append(&[(0, 10)], day).await;
            }
            let before = table.files().await;
            table.compaction(&table.lake).run().await.unwrap();
            let after = table.files().await;
            let gone = before.into_iter().filter(|file| !after.contains(file));
            left.push(gone.map(|file| file.path).collect::<Vec<String>>());
            table.clock.advance(days(days_later));
        }
        assert_eq!((left[0].len(), left[1].len()), (3, 3));
        if by_checkpoint {
            let newest = table.log.load().await.unwrap().unwrap().version;
            write_checkpoint(&table.lake, PATH, newest).await.unwrap();
            for version in 0..newest {
                let entry = entry_path(version);
                table.log.store().delete(&entry).await.unwrap();
            }
        }
        let settings = VacuumSettings {
            retention: days(2),
            ..VacuumSettings::default()
        };
        let vacuum = table.vacuum(&table.lake, settings);
        for (expected, stored) in left.into_iter().zip([5, 2]) {
            let mut report = vacuum.run().await.unwrap();
            report.paths.sort();
            assert_eq!((report.paths, report.young_files), (expected, 0));
            assert_eq!(table.stored().await.len(), stored);
            assert_eq!(vacuum.run().await.unwrap(), VacuumReport::default());
            table.clock.advance(days(2));
        }
        assert_eq!(table.read_rows().await, table.rows);
    }
}

const NOW_US: i64 = 1_800_000_000_000_000;

/// What becomes of a file that was just written, in a table that has these files and that these left, so
/// many days ago. The setting is a week.
fn fate_of(path: &str, files: &[&str], left: &[(&str, Option<u64>)], retention: Duration) -> Fate {
    let mut departed = Departed::recent_from(before(NOW_US, days(7)) / 1000);
    for (path, days_ago) in left {
        departed.take(&Remove {
            path: (*path).to_owned(),
            deletion_timestamp: days_ago.map(|days_ago| before(NOW_US, days(days_ago)) / 1000),
            ..Remove::default()
        });
    }
    let files = files.iter().map(|path| (*path).to_owned());
    let known = Tombstones::of(&BTreeMap::new(), NOW_US).unwrap();
    Sieve::new(files, departed, known, retention, NOW_US).fate(&ObjectMeta {
        location: Path::from(path),
        last_modified: chrono::DateTime::from_timestamp_micros(NOW_US).unwrap(),
        size: 1,
        e_tag: None,
        version: None,
    })
}

#[test]
fn what_left_is_told_by_its_latest_time_and_by_what_the_table_has() {
    let path = "_event_date=2013-01-01/part-20e451dc-1dd0-4a1b-8674-6d867a0f4e7e.zstd.parquet";
    let fate = |files: &[&str], left_days_ago: &[Option<u64>], retention_days| {
        let left = left_days_ago.iter().map(|days_ago| (path, *days_ago));
        let left: Vec<(&str, Option<u64>)> = left.collect();
        fate_of(path, files, &left, days(retention_days))
    };
    assert_eq!(fate(&[], &[], 7), Fate::Young);
    assert_eq!(fate(&[], &[Some(8)], 7), Fate::Garbage);
    assert_eq!(fate(&[], &[Some(7)], 7), Fate::Kept);
    assert_eq!(fate(&[], &[None], 7), Fate::Kept);
    assert_eq!(fate(&[], &[Some(8), Some(6)], 7), Fate::Kept);
    assert_eq!(fate(&[], &[Some(6), Some(8)], 7), Fate::Kept);
    assert_eq!(fate(&[path], &[Some(8)], 7), Fate::Kept);
    // The table asks for longer.
    assert_eq!(fate(&[], &[Some(8)], 30), Fate::Kept);
    assert_eq!(fate(&[], &[Some(31), Some(29)], 30), Fate::Kept);
    assert_eq!(fate(&[], &[Some(29), Some(31)], 30), Fate::Kept);
    assert_eq!(fate(&[], &[Some(31), Some(32)], 30), Fate::Garbage);
}

/// Whatever is like it in folder or name stays.
#[test]
fn nothing_goes_for_another_ones_sake() {
    let gone = "_event_date=2013-01-01/part-20e451dc-1dd0-4a1b-8674-6d867a0f4e7e.zstd.parquet";
    let left = [(gone, Some(8))];
    let fate = |path: &str| fate_of(path, &[], &left, days(7));
    assert_eq!(fate(gone), Fate::Garbage);
    for other in [
        "_event_date=2013-01-02/part-20e451dc-1dd0-4a1b-8674-6d867a0f4e7e.zstd.parquet",
        "_event_date=2013-01-01/part-20E451DC-1DD0-4A1B-8674-6D867A0F4E7E.zstd.parquet",
        "_event_date=2013-01-01/part-20e451dc-1dd0-4a1b-8674-6d867a0f4e7f.zstd.parquet",
        "part-20e451dc-1dd0-4a1b-8674-6d867a0f4e7e.zstd.parquet",
    ] {
        assert_eq!(fate(other), Fate::Young, "{other}");
        // Nor does it go for being told of in a way that is not ours.
        let told = fate_of(gone, &[], &[(other, Some(8))], days(7));
        assert_eq!(told, Fate::Young, "{other}");
    }
    let rooted = format!("/{gone}");
    let told = fate_of(gone, &[], &[(rooted.as_str(), Some(8))], days(7));
    assert_eq!(told, Fate::Young);
}

#[tokio::test]
async fn period_snapshots_and_short_retentions_are_refused() {
    let table = compacted().await;
    let (clock, entropy) = (Arc::clone(&table.clock), Arc::clone(&table.entropy));
    let path = "s/e/periods/2013-01/r1";
    let vacuum = Vacuum::new(&table.lake, path, VacuumSettings::default(), clock, entropy);
    let error = vacuum.run().await.unwrap_err().to_string();
    assert!(
        error.contains(path) && error.contains("immutable"),
        "{error}"
    );
    let short = VacuumSettings {
        retention: Duration::from_secs(3600),
        ..VacuumSettings::default()
    };
    let error = table.vacuum(&table.lake, short).run().await.unwrap_err();
    assert!(matches!(error, MaintenanceError::Setting(_)), "{error}");
}

#[test]
fn killed_at_any_request_it_takes_only_garbage() {
    let mut killed = 0;
    for requests in 0.. {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let done = runtime.block_on(async {
            let table = compacted().await;
            table.clock.advance(days(8));
            let allowed = Requests::new(requests);
            let vacuum = table.vacuum(&table.hanging(&allowed), VacuumSettings::default());
            let done = tokio::select! {
                run = vacuum.run() => run.is_ok(),
                () = allowed.hung() => false,
            };
            assert_eq!(table.read_rows().await, table.rows, "after {requests}");
            let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
            vacuum.run().await.unwrap();
            assert_eq!(table.stored().await.len(), 2, "after {requests}");
            done
        });
        if done {
            break;
        }
        killed += 1;
    }
    assert!(killed > 10, "{killed}");
}

/// A reader that began before the compaction ends after it, and after a vacuum within the retention.
#[tokio::test]
async fn readers_of_retained_versions_keep_their_files() {
    let mut table = Fixture::new(Fixture::in_memory(), 1).await;
    for _ in 0..3 {
        table.append(&[(0, 10)], DAY).await;
    }
    let (version, rows) = (table.state.version, table.rows.clone());
    table.compaction(&table.lake).run().await.unwrap();
    table.clock.advance(days(6));
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    vacuum.run().await.unwrap();
    assert_eq!(table.read_rows_at(version).await, rows);
}

/// Spark gave a file a deletion vector: it is in use, though its path left the table in that version.
#[tokio::test]
async fn a_table_of_another_protocol_is_refused_by_name() {
    let table = compacted().await;
    let file = table.files().await.remove(0);
    let removed_ms = table.clock.now_us() / 1000;
    let (path, size) = (&file.path, file.size);
    let date = file.partition_values[layout::EVENT_DATE].clone().unwrap();
    let entry = format!(
        r#"{{"protocol":{{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}}}
{{"add":{{"path":"{path}","partitionValues":{{"_event_date":"{date}"}},"size":{size},"modificationTime":0,"dataChange":true,"deletionVector":{{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}}K{{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}}}}}}
{{"remove":{{"path":"{path}","deletionTimestamp":{removed_ms},"dataChange":true}}}}
"#
    );
    let newest = table.log.load().await.unwrap().unwrap().version;
    table.log.put(newest + 1, entry.into()).await;
    let found = table.log.inventory().await.unwrap().unwrap();
    assert!(found.files.contains_key(path) && !table.log.left().await.contains(path));
    table.clock.advance(days(8));
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    let error = vacuum.run().await.unwrap_err().to_string();
    assert!(
        error.contains(PATH) && error.contains("deletionVectors") && error.contains("DROP FEATURE"),
        "{error}"
    );
    assert_eq!(table.stored().await.len(), 8);
    let compaction = table.compaction(&table.lake).run().await;
    assert!(matches!(compaction, Err(MaintenanceError::Table { .. })));
}
