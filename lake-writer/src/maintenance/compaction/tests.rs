//! The rows before and after, whoever else is at work and whatever dies or lies.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::fault_store::{Fault, FaultStore};
use crate::maintenance::VacuumSettings;
use crate::maintenance::fixture::{
    DAY, Fixture, LONGER_CONTRACT, PATH, Requests, WIDER_CONTRACT, days, read,
};

mod golden;
mod own;

/// A table with small files of two dates.
async fn table(lake: LakeStore) -> Fixture {
    let mut table = Fixture::new(lake, 1).await;
    for round in 0..6 {
        table.append(&[(1, 20), (0, 30)], DAY).await;
        table.append(&[(round % 3, 5)], DAY + 1).await;
    }
    table
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

#[tokio::test]
async fn small_files_become_one_for_each_date_and_rows_stay() {
    let table = table(Fixture::in_memory()).await;
    let txns = table.state.txns.clone();
    let report = table.compaction(&table.lake).run().await.unwrap();
    assert_eq!((report.files_removed, report.files_added), (12, 2));
    assert_eq!((report.commits, report.rows), (2, 6 * 55));
    assert_eq!(report.yielded, None);
    let found = table.log.inventory().await.unwrap().unwrap();
    assert_eq!(table.read_rows().await, table.rows);
    assert_eq!(found.files.len(), 2);
    let mut left = 0;
    for version in 0..=found.state.version {
        let actions = table.log.entry(version).await.unwrap().unwrap();
        left += actions.iter().filter(|a| a.remove.is_some()).count();
    }
    assert_eq!(left, 12);
    for (app_id, version) in &txns {
        assert_eq!(found.state.txns.get(app_id), Some(version), "{app_id}");
    }
    // The next run has nothing to do.
    let report = table.compaction(&table.lake).run().await.unwrap();
    assert_eq!(report, CompactionReport::default());
}

#[tokio::test]
async fn rows_are_in_the_order_of_their_places_and_statistics_say_where_they_are() {
    let table = table(Fixture::in_memory()).await;
    table.compaction(&table.lake).run().await.unwrap();
    let mut adds = Vec::new();
    for version in 0..=20 {
        let actions = table.log.entry(version).await.unwrap().unwrap_or_default();
        let compacted = actions.into_iter().filter_map(|action| action.add);
        adds.extend(compacted.filter(|add| !add.data_change));
    }
    assert_eq!(adds.len(), 2);
    for add in adds {
        let mut places = Vec::new();
        for batch in read(&table.log, &add.path).await {
            let column = |name: &str| Arc::clone(batch.column_by_name(name).unwrap());
            let (partitions, offsets) = (column("_partition"), column("_offset"));
            let partitions = partitions.as_primitive::<Int32Type>().values().to_vec();
            let offsets = offsets.as_primitive::<Int64Type>().values().to_vec();
            places.extend(partitions.into_iter().zip(offsets));
        }
        assert!(places.is_sorted());
        let stats: serde_json::Value = serde_json::from_str(&add.stats.unwrap()).unwrap();
        assert_eq!(stats["numRecords"], places.len());
        let last = places.iter().map(|place| place.1).max().unwrap();
        assert_eq!(stats["maxValues"]["_offset"], last);
        for column in [
            "_partition",
            "_offset",
            "_generation",
            "_event_time",
            "_event_id",
            "id",
            "n",
        ] {
            let bounds = (&stats["minValues"][column], &stats["maxValues"][column]);
            assert!(!bounds.0.is_null() && !bounds.1.is_null(), "{column}");
            assert_eq!(stats["nullCount"][column], 0, "{column}");
        }
    }
}

#[tokio::test]
async fn older_files_get_the_columns_that_came_since() {
    let mut table = Fixture::new(Fixture::in_memory(), 2).await;
    for _ in 0..3 {
        table.append(&[(0, 10)], DAY).await;
    }
    add_column(&mut table).await;
    table.append(&[(0, 10)], DAY).await;
    table.compaction(&table.lake).run().await.unwrap();
    let files = table.files().await;
    assert_eq!(files.len(), 1);
    let batches = read(&table.log, &files[0].path).await;
    assert_eq!(batches[0].column_by_name("text").unwrap().null_count(), 30);
    assert_eq!(table.read_rows().await, table.rows);
}

/// A column more, without a rewrite: older files lack it.
async fn add_column(table: &mut Fixture) {
    let contract: schemas::Contract = LONGER_CONTRACT.parse().unwrap();
    let layout = table.state.metadata.clone();
    let schema = ChangeSchema::new(&contract);
    let metadata = layout::grown(&layout, &schema, schemas::Shape::Append).unwrap();
    let draft = crate::commit::Draft {
        layout,
        steps: Vec::new(),
        further: Vec::new(),
        files: Vec::new(),
        rework: Some(crate::commit::Rework {
            operation: "ADD COLUMNS",
            metadata,
            removed: Vec::new(),
            after: None,
        }),
    };
    table.commit(&draft).await.unwrap();
    table.use_contract(&contract);
}

#[tokio::test]
async fn the_store_is_away_or_lies_and_rows_stay() {
    for seed in 0..30 {
        let table = table(Fixture::in_memory()).await;
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        let lying = table.lake.clone().map_store(|store| {
            Arc::new(FaultStore::new(store, move |_| {
                let mut dice = dice.lock().unwrap();
                let faults = [
                    Fault::None,
                    Fault::None,
                    Fault::FailBefore,
                    Fault::OkThenError,
                    Fault::OkThenExists,
                    Fault::ExistsFalsely,
                    Fault::LandsLate,
                ];
                faults[dice.random_range(0..faults.len())]
            }))
        });
        tokio::time::pause();
        while table.files().await.len() > 2 {
            // An upload that fails ends the run; the next one begins with what is there.
            table.compaction(&lying).run().await.ok();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        tokio::time::resume();
        assert_eq!(table.read_rows().await, table.rows, "seed {seed}");
        let newest = table.log.load().await.unwrap().unwrap();
        // Every version of it was whole.
        for version in 12..=newest.version {
            assert_eq!(table.read_rows_at(version).await, table.rows, "seed {seed}");
        }
        assert_eq!(newest.version, 14, "one commit for each date");
    }
}

#[test]
fn killed_at_any_request_it_leaves_the_rows_and_the_next_run_ends_it() {
    let mut killed = 0;
    for requests in 0.. {
        let done = runtime().block_on(async {
            let table = table(Fixture::in_memory()).await;
            let allowed = Requests::new(requests);
            let compaction = table.compaction(&table.hanging(&allowed));
            let done = tokio::select! {
                run = compaction.run() => run.is_ok(),
                () = allowed.hung() => false,
            };
            assert_eq!(table.read_rows().await, table.rows, "after {requests}");
            table.compaction(&table.lake).run().await.unwrap();
            assert_eq!(table.read_rows().await, table.rows, "after {requests}");
            assert_eq!(table.files().await.len(), 2, "after {requests}");
            done
        });
        if done {
            break;
        }
        killed += 1;
    }
    assert!(killed > 20, "{killed}");
}

#[tokio::test]
async fn of_two_compactions_of_the_same_files_one_lands_and_the_other_yields() {
    let table = table(Fixture::in_memory()).await;
    let lake = table.courteous();
    let (one, other) = (table.compaction(&lake), table.compaction(&lake));
    // Both plan on the same version.
    let (one, other) = tokio::join!(one.run(), other.run());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.yielded.is_some() || other.yielded.is_some());
    table.compaction(&table.lake).run().await.unwrap();
    assert_eq!(table.read_rows().await, table.rows);
    assert_eq!(table.files().await.len(), 2);
}

/// What happens while a compaction is between its plan and its commit.
struct Meanwhile {
    compaction: Compaction,
    columns: SchemaRef,
    base: Base,
    groups: VecDeque<Group>,
}

impl Meanwhile {
    async fn planned(table: &Fixture) -> Self {
        let compaction = table.compaction(&table.lake);
        let inventory = table.log.inventory().await.unwrap().unwrap();
        let now_ms = table.clock.now_us() / 1000;
        let files = inventory.files.into_values();
        Self {
            columns: columns(&inventory.state.metadata).unwrap(),
            groups: plan::groups(files, &compaction.settings, now_ms).into(),
            base: Base::new(inventory.state),
            compaction,
        }
    }

    /// Goes on with the next group; whether it landed.
    async fn step(&mut self) -> Option<bool> {
        let group = self.groups.pop_front()?;
        let mut report = CompactionReport::default();
        let yielded = self
            .compaction
            .compact(&mut self.base, &self.columns, group, &mut report);
        Some(yielded.await.unwrap().is_none())
    }
}

#[tokio::test]
async fn appends_in_between_do_not_matter() {
    let mut table = table(Fixture::in_memory()).await;
    let mut compaction = Meanwhile::planned(&table).await;
    table.append(&[(0, 5)], DAY).await;
    assert_eq!(compaction.step().await, Some(true));
    table.append(&[(2, 5)], DAY).await;
    assert_eq!(compaction.step().await, Some(true));
    assert_eq!(table.read_rows().await, table.rows);
    assert_eq!(table.files().await.len(), 4);
}

#[tokio::test]
async fn a_widening_rewrite_in_between_wins_and_the_other_way_round_too() {
    let mut table = table(Fixture::in_memory()).await;
    let mut compaction = Meanwhile::planned(&table).await;
    table.grow(WIDER_CONTRACT).await;
    assert_eq!(compaction.step().await, Some(false));
    assert_eq!(table.read_rows().await, table.rows);
    // Compacted, they have the wider columns.
    table.append(&[(0, 5)], DAY).await;
    table.compaction(&table.lake).run().await.unwrap();
    assert_eq!(table.read_rows().await, table.rows);
    assert_eq!(table.files().await.len(), 2);
}

#[tokio::test]
async fn two_that_replace_a_file_without_a_fence_are_told_apart_by_its_name() {
    let table = table(Fixture::in_memory()).await;
    let mut slow = Meanwhile::planned(&table).await;
    table.compaction(&table.lake).run().await.unwrap();
    // As if the fence were where it was: only the names are left to tell.
    let newest = table.log.load().await.unwrap().unwrap();
    let fence = crate::app_id::maintenance(PATH);
    slow.base
        .state
        .txns
        .insert(fence.clone(), newest.txns[&fence]);
    assert_eq!(slow.step().await, Some(false));
    assert_eq!(table.read_rows().await, table.rows);
}

#[tokio::test]
async fn a_file_that_was_vacuumed_meanwhile_ends_the_run() {
    let table = table(Fixture::in_memory()).await;
    let mut slow = Meanwhile::planned(&table).await;
    table.compaction(&table.lake).run().await.unwrap();
    table.clock.advance(days(8));
    let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
    assert_eq!(vacuum.run().await.unwrap().files, 12);
    assert_eq!(slow.step().await, Some(false));
    assert_eq!(table.read_rows().await, table.rows);
}

/// What may happen next to a table.
#[derive(Clone, Debug)]
enum Event {
    Append(Vec<(i32, usize)>, i32),
    Plan,
    Step(usize),
    Run,
    Widen,
    Vacuum,
}

fn event() -> impl Strategy<Value = Event> {
    let parts = proptest::collection::btree_map(0..3i32, 1..6usize, 1..3);
    prop_oneof![
        6 => (parts, 0..2i32)
            .prop_map(|(parts, date)| Event::Append(parts.into_iter().collect(), DAY + date)),
        2 => Just(Event::Plan),
        4 => any::<usize>().prop_map(Event::Step),
        1 => Just(Event::Run),
        1 => Just(Event::Widen),
        1 => Just(Event::Vacuum),
    ]
}

/// Lives through the events and compares the rows with the model after each.
async fn live(events: Vec<Event>) {
    let mut table = Fixture::new(Fixture::in_memory(), 5).await;
    let mut planned: Vec<Meanwhile> = Vec::new();
    let mut widened = false;
    for event in events {
        match event {
            Event::Append(parts, day) => {
                table.append(&parts, day).await;
            }
            Event::Plan => planned.push(Meanwhile::planned(&table).await),
            Event::Step(which) if !planned.is_empty() => {
                let which = which % planned.len();
                if planned[which].step().await != Some(true) {
                    planned.remove(which);
                }
            }
            Event::Step(_) => {}
            Event::Run => {
                table.compaction(&table.lake).run().await.unwrap();
            }
            Event::Widen => {
                if !std::mem::replace(&mut widened, true) {
                    table.grow(WIDER_CONTRACT).await;
                }
            }
            Event::Vacuum => {
                table.clock.advance(days(8));
                let vacuum = table.vacuum(&table.lake, VacuumSettings::default());
                vacuum.run().await.unwrap();
            }
        }
        assert_eq!(table.read_rows().await, table.rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn whoever_comes_first_rows_are_there_once(events in proptest::collection::vec(event(), 1..30)) {
        runtime().block_on(live(events));
    }
}

/// delta-rs, which shares no code with ours, sees the same rows and the progress of the writers.
#[tokio::test(flavor = "multi_thread")]
async fn another_reader_of_delta_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let lake = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
    let table = table(lake.clone()).await;
    table.compaction(&lake).run().await.unwrap();
    let mut seen = deltalake::DeltaTable::new(lake.table_log(PATH));
    seen.load().await.unwrap();
    let snapshot = seen.snapshot().unwrap();
    let files = snapshot.log_data();
    assert_eq!(files.iter().count(), 2);
    let rows: usize = files.iter().filter_map(|file| file.num_records()).sum();
    assert_eq!(rows, table.rows.len());
    let store = seen.log_store();
    for partition in 0..3 {
        let app_id = Fixture::app_id(partition);
        let reached = snapshot.transaction_version(store.as_ref(), &app_id);
        assert_eq!(
            reached.await.unwrap(),
            table.state.txns.get(&app_id).copied()
        );
    }
}

#[test]
fn settings_that_make_no_sense_are_told_all_at_once() {
    let mut problems = Vec::new();
    CompactionSettings::default().validate(&mut problems);
    Fixture::eager().validate(&mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let wrong = CompactionSettings {
        target_bytes: ByteSize::gib(2),
        files_min: 1,
        sort_bytes_max: ByteSize::b(1),
        ..CompactionSettings::default()
    };
    wrong.validate(&mut problems);
    assert_eq!(problems.len(), 3, "{problems:?}");
}

/// Rows that take more memory than may be held are put in order part by part.
#[tokio::test]
async fn what_is_too_large_is_sorted_in_parts() {
    let mut table = Fixture::new(Fixture::in_memory(), 3).await;
    for _ in 0..4 {
        table.append(&[(2, 3000), (0, 3000)], DAY).await;
    }
    let settings = CompactionSettings {
        sort_bytes_max: ByteSize::kib(500),
        target_bytes: ByteSize::kib(120),
        ..Fixture::eager()
    };
    let (clock, entropy) = (Arc::clone(&table.clock), Arc::clone(&table.entropy));
    let compaction = Compaction::new(&table.lake, &table.name, settings, clock, entropy);
    let report = compaction.run().await.unwrap();
    assert_eq!(report.rows, 24_000);
    assert!(report.files_added > 1, "{report:?}");
    assert_eq!(table.read_rows().await, table.rows);
}
