//! One suite for the embedded broker and a real Kafka: what Lakehead uses of a broker.
//!
//! Against the embedded broker it always runs; against the Kafka that `LAKEHEAD_TEST_KAFKA` names
//! (`host:port`) when it is set, and with `CI=true` it must be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy allows them in test functions, not in what these call"
)]

mod client;
mod groups;
mod limits;
mod offsets;
mod on_demand;
mod records;
mod topics;

use std::future::Future;
use std::pin::Pin;

use embedded_broker::{EmbeddedBroker, Settings};

const KAFKA: &str = "LAKEHEAD_TEST_KAFKA";

type Check = fn(String) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Names the checks and runs them against both brokers, each as a test of its own.
macro_rules! conformance {
    ($($module:ident :: $check:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::on_embedded(|servers| Box::pin(super::$module::$check(servers))).await;
                }
            )*
        }
        mod kafka {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::on_kafka(stringify!($check), |servers| {
                        Box::pin(super::$module::$check(servers))
                    })
                    .await;
                }
            )*
        }
    };
}

conformance! {
    topics::topics_have_the_partitions_asked_for,
    topics::a_missing_topic_is_named_as_missing,
    topics::a_topic_that_cannot_be_is_refused,
    topics::a_topic_deleted_and_created_again_is_empty,
    records::records_come_back_as_they_were_sent,
    records::every_compression_is_kept,
    records::order_is_kept_per_partition,
    records::producers_do_not_disturb_each_other,
    records::a_large_record_passes,
    records::a_record_too_large_is_refused,
    records::a_waiting_consumer_is_woken,
    offsets::a_consumer_resumes_inside_a_batch,
    offsets::an_offset_past_the_end_is_an_error,
    offsets::earliest_is_the_first_record_whatever_its_timestamp,
    offsets::offsets_are_found_by_time,
    groups::a_group_resumes_where_it_committed,
    groups::offsets_are_committed_without_a_subscription,
    groups::two_members_share_the_partitions,
    groups::the_members_that_stay_share_what_one_left,
    groups::a_member_that_vanishes_is_replaced,
}

async fn on_embedded(check: Check) {
    let place = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(Settings::new(place.path()))
        .await
        .unwrap();
    check(broker.bootstrap_servers().to_owned()).await;
    broker.stop().await.unwrap();
}

async fn on_kafka(name: &str, check: Check) {
    match std::env::var(KAFKA) {
        Ok(servers) => check(servers).await,
        Err(_) if std::env::var("CI").as_deref() == Ok("true") => {
            panic!("CI=true and {KAFKA} is not set: {name} must run against a real Kafka")
        }
        Err(_) => eprintln!("SKIPPED: {name} against a real Kafka: set {KAFKA}=host:port"),
    }
}
