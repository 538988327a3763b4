//! What is kept of counted events, and how far the owner's clock is complete.

use schemas::canonical::EventSums;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use tracing::warn;

use crate::outbox_store::{CountedEvents, Counting, Horizon, Position};
use crate::owner_time::{self, OpenTransactions};

/// A column of an entity's sums, which are replaced by later ones alone.
macro_rules! later {
    ($column:literal) => {
        concat!(
            $column,
            " = CASE WHEN $6 > (SELECT through FROM before) THEN excluded.",
            $column,
            " ELSE known.",
            $column,
            " END, "
        )
    };
}

/// Position and counted events in one statement: both are there after a crash, or neither.
const SAVE: &str = concat!(
    "WITH before AS (SELECT coalesce(max(through), -1) AS through FROM lakehead.outbox_counting), \
     offsets AS (INSERT INTO lakehead.outbox_partition AS known \
     (topic, partition, next_offset) SELECT * FROM unnest($3::text[], $4::int[], $5::bigint[]) \
     ON CONFLICT (topic, partition) DO UPDATE \
     SET next_offset = greatest(known.next_offset, excluded.next_offset)), \
     counted AS (INSERT INTO lakehead.outbox_counted AS known SELECT * FROM unnest(\
     $7::text[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[]) \
     ON CONFLICT (entity) DO UPDATE SET ",
    later!("after_sequence"),
    later!("events"),
    later!("ids"),
    later!("images"),
    "complete_through_us = greatest(known.complete_through_us, excluded.complete_through_us)), \
     counting AS (INSERT INTO lakehead.outbox_counting AS known (through) VALUES ($6) \
     ON CONFLICT (id) DO UPDATE SET through = greatest(known.through, excluded.through)) \
     UPDATE lakehead.outbox_relay \
     SET confirmed = greatest(confirmed, $1), released = greatest(released, $2)"
);

const DRAWN: &str = "SELECT lakehead.outbox_drawn()";

pub(super) async fn read(connection: &mut PgConnection) -> Result<Option<Counting>, sqlx::Error> {
    let through = sqlx::query_scalar("SELECT through FROM lakehead.outbox_counting")
        .fetch_optional(&mut *connection)
        .await?;
    let Some(through) = through else {
        return Ok(None);
    };
    let rows = sqlx::query_as(
        "SELECT entity, after_sequence, events, ids, images, complete_through_us \
         FROM lakehead.outbox_counted",
    )
    .fetch_all(connection)
    .await?;
    Counting::of_rows(through, rows).map(Some)
}

/// Saves a position with what is counted.
pub(super) fn save(
    position: &Position,
    counting: &Counting,
) -> Query<'static, Postgres, PgArguments> {
    let places = || position.offsets.keys();
    let topics: Vec<String> = places().map(|place| place.topic.to_string()).collect();
    let partitions: Vec<i32> = places().map(|place| place.partition).collect();
    let offsets: Vec<i64> = position.offsets.values().copied().collect();
    let counted = || counting.entities.values();
    let numbers = |of: fn(&CountedEvents) -> i64| counted().map(of).collect::<Vec<i64>>();
    let sums = |of: fn(&EventSums) -> String| {
        let texts = counted().map(|counted| of(&counted.sums));
        texts.collect::<Vec<String>>()
    };
    sqlx::query(SAVE)
        .bind(position.confirmed)
        .bind(position.released)
        .bind(topics)
        .bind(partitions)
        .bind(offsets)
        .bind(counting.through)
        .bind(counting.entities.keys().cloned().collect::<Vec<String>>())
        .bind(numbers(|counted| counted.after))
        .bind(numbers(|counted| {
            i64::try_from(counted.sums.count).unwrap_or(i64::MAX)
        }))
        .bind(sums(|sums| sums.ids.to_string()))
        .bind(sums(|sums| sums.rows.to_string()))
        .bind(numbers(|counted| counted.complete_through_us))
}

/// What was committed up to the time had drawn its sequence before, so it is not above the last one drawn,
/// which is asked for afterwards.
pub(super) async fn horizon(connection: &mut PgConnection) -> Result<Option<Horizon>, sqlx::Error> {
    let Some(time_us) = complete_time(connection).await? else {
        return Ok(None);
    };
    let drawn = sqlx::query_scalar(DRAWN).fetch_one(connection).await?;
    Ok(Some(Horizon { time_us, drawn }))
}

/// How far the end that is asked for afterwards is complete.
pub(super) async fn complete_time(
    connection: &mut PgConnection,
) -> Result<Option<i64>, sqlx::Error> {
    let clock_us: i64 = sqlx::query_scalar(owner_time::CLOCK)
        .fetch_one(&mut *connection)
        .await?;
    let open = sqlx::query(owner_time::OPEN)
        .fetch_one(&mut *connection)
        .await?;
    let open = OpenTransactions {
        oldest_us: open.try_get(0)?,
        has_unknown: open.try_get(1)?,
        has_hidden: open.try_get(2)?,
        has_prepared: open.try_get(3)?,
    };
    if open.has_hidden {
        warn!(
            "the relay's user may not see when others' transactions began, so no watermark can be \
             published while they write; GRANT pg_read_all_stats to it"
        );
    }
    Ok(open.complete_us(clock_us))
}
