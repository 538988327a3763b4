//! A topic that is deleted at the worst moment: between a poll and the seek that follows it.

use super::*;

/// Until something holds, in simulated time.
async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: never");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_goes_while_its_partition_waits_stops_its_table_only() {
    let lake = LakeStore::open("memory:///", &[], true).unwrap();
    let cluster = Arc::new(Mutex::new(Cluster::new(1)));
    let mut rng = StdRng::seed_from_u64(5);
    let progress = Arc::new(WriterProgress::default());
    let (member, expected) = {
        let mut cluster = cluster.lock().unwrap();
        cluster.produce(&mut rng, 200);
        cluster.goes_at_seek = true;
        let member = cluster.join();
        cluster.rebalance(&mut rng, &[member]);
        (member, cluster.expected())
    };
    let log = Member::new(Arc::clone(&cluster), member, 5);
    let settings = WriterSettings {
        flush_age_max: Duration::from_millis(100),
        record_bytes_max: bytesize::ByteSize::b(cluster::RECORD_BYTES_MAX as u64),
        ..WriterSettings::default()
    };
    // Its records wait for the columns that are inferred from them, and are then sought again.
    let route = Route {
        format: Format::Json,
        key_format: KeyFormat::Json,
        shape: Shape::Upsert,
        infer: true,
        ..Route::new(cluster::TOPIC, "sim.row".parse().unwrap())
    };
    let parts = Parts {
        lake: lake.clone(),
        registry: None,
        clock: Arc::new(SimulatedClock(tokio::time::Instant::now())),
        entropy: Arc::new(Entropy::seeded(5)),
        runtime: Handle::current(),
        progress: Arc::clone(&progress),
    };
    let routes = Routes::of(vec![route]).unwrap();
    let mut writer = LakeWriter::new(log, settings, routes, Until::Stopped, parts);
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(async move { writer.run(stopping).await });
    let why_stopped = || {
        let table = progress.tables().first()?.why_stopped()?;
        Some(table.code)
    };
    wait_until("the table is stopped", || {
        why_stopped() == Some("topic_missing") || task.is_finished()
    })
    .await;
    assert!(!task.is_finished(), "the writer ended: {:?}", task.await);
    // The same topic comes back: the brokers did not know of it for a moment.
    cluster.lock().unwrap().gone = false;
    wait_until("all is committed", || {
        progress.rows_committed() + progress.dead_letters() == expected.len() as u64
    })
    .await;
    stop.send_replace(true);
    task.await.unwrap().unwrap();
    oracle::compare(5, &expected, &oracle::landed(&lake).await);
}
