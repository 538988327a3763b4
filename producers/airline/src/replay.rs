//! The replay: each change one transaction of table, outbox and position.

use change_events::{ChangeEvent, Outbox};
use schemas::TableName;
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult};
use sqlx::{Connection, Sqlite, query::Query, sqlite::SqliteArguments};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    Change, Flight, FlightInventory, FlightRow, InventoryError, ReplayProgress, Status, Timetable,
    flight_table,
};

const INSERT: &str = "INSERT INTO flight (year, month, day, carrier, flight, origin, \
    sched_dep_time, sched_arr_time, dest, distance, hour, minute, time_hour, status) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The status before the change is part of the condition: a row that is not there, or is not where
/// the replay left it, is noticed.
const UPDATE: &str = "UPDATE flight SET dep_time = ?, dep_delay = ?, arr_time = ?, arr_delay = ?, \
    tailnum = ?, air_time = ?, status = ? \
    WHERE year = ? AND month = ? AND day = ? AND carrier = ? AND flight = ? AND origin = ? \
    AND sched_dep_time = ? AND status = ?";

type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Runs the replay of a service; see [`FlightInventory::replay`].
///
/// It has a thread of its own: reading the data set keeps a core busy for a second, and waiting for
/// the database some hundred thousand times is cheaper for a thread than for a task.
pub(crate) async fn run(
    inventory: &FlightInventory,
    progress: &ReplayProgress,
    cancel: &CancellationToken,
) -> Result<bool, InventoryError> {
    let inventory = inventory.clone();
    let progress = progress.clone();
    // The thread stops with this future, too.
    let cancel = cancel.child_token();
    let _stopped_when_dropped = cancel.clone().drop_guard();
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(apply_all(&inventory, &progress, &cancel))
    });
    match thread.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn apply_all(
    inventory: &FlightInventory,
    progress: &ReplayProgress,
    cancel: &CancellationToken,
) -> Result<bool, InventoryError> {
    let timetable = Timetable::load(inventory.period())?;
    let mut replay = Replay::new(inventory, &timetable).await?;
    let total = timetable.changes().len() as u64;
    let position = replay.position().await?;
    progress.begin(position, total);
    info!(position, total, period = %inventory.period(), "replay goes on");
    for position in position..total {
        if cancel.is_cancelled() {
            return Ok(false);
        }
        replay.apply(position).await?;
        progress.write(position + 1);
    }
    Ok(true)
}

struct Replay<'a> {
    inventory: &'a FlightInventory,
    table: TableName,
    connection: SqliteConnection,
    timetable: &'a Timetable,
}

impl<'a> Replay<'a> {
    async fn new(
        inventory: &'a FlightInventory,
        timetable: &'a Timetable,
    ) -> Result<Self, InventoryError> {
        let table = flight_table()?;
        let connection = inventory.connect().await?;
        Ok(Self {
            inventory,
            table,
            connection,
            timetable,
        })
    }

    async fn position(&mut self) -> Result<u64, InventoryError> {
        let position: i64 = sqlx::query_scalar("SELECT position FROM replay WHERE id = 1")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|source| self.inventory.failed(source))?;
        Ok(u64::try_from(position).unwrap_or(0))
    }

    /// One change: the service's transaction.
    async fn apply(&mut self, position: u64) -> Result<(), InventoryError> {
        let inventory = self.inventory;
        let failed = |source| inventory.failed(source);
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        let Some(&change) = self.timetable.changes().get(index) else {
            return Ok(());
        };
        let Some(flight) = self.timetable.flights().get(change.flight) else {
            return Ok(());
        };
        let event = event(&self.table, flight, change)?;
        // Immediate: the write lock first, so that the transaction cannot fail half-way for it.
        let mut transaction = self
            .connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let row = flight.row(change.status);
        let query = match change.status.before() {
            None => insert(&row),
            Some(before) => update(&row, before),
        };
        let result: SqliteQueryResult = query.execute(&mut *transaction).await.map_err(failed)?;
        if result.rows_affected() != 1 {
            return Err(InventoryError::OutOfStep {
                path: inventory.database().to_owned(),
                position,
                wanted: change.status.before().map_or("absent", Status::name),
            });
        }
        Outbox::append(&mut transaction, &event).await?;
        let moved = sqlx::query("UPDATE replay SET position = ? WHERE id = 1 AND position = ?")
            .bind(i64::try_from(position + 1).unwrap_or(i64::MAX))
            .bind(i64::try_from(position).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        // Another process replays into the same database: this one must not apply the change too.
        if moved.rows_affected() != 1 {
            return Err(InventoryError::OutOfStep {
                path: inventory.database().to_owned(),
                position,
                wanted: "the next change",
            });
        }
        transaction.commit().await.map_err(failed)
    }
}

/// The change's event; its time is the flight's own: the owner's clock is part of the replay.
fn event(
    table: &TableName,
    flight: &Flight,
    change: Change,
) -> Result<ChangeEvent, InventoryError> {
    let key = flight.key_row();
    let after = flight.row(change.status);
    let event = match change.status.before() {
        None => ChangeEvent::create(table, change.time_us, &key, &after),
        Some(before) => {
            ChangeEvent::update(table, change.time_us, &key, &flight.row(before), &after)
        }
    };
    event.map_err(|error| InventoryError::Image(error.to_string()))
}

fn insert<'q>(row: &FlightRow<'q>) -> SqliteQuery<'q> {
    bind_key(sqlx::query(INSERT), row)
        .bind(row.sched_arr_time)
        .bind(row.dest)
        .bind(row.distance)
        .bind(row.hour)
        .bind(row.minute)
        .bind(row.time_hour)
        .bind(row.status.name())
}

fn update<'q>(row: &FlightRow<'q>, before: Status) -> SqliteQuery<'q> {
    let query = sqlx::query(UPDATE)
        .bind(row.dep_time)
        .bind(row.dep_delay)
        .bind(row.arr_time)
        .bind(row.arr_delay)
        .bind(row.tailnum)
        .bind(row.air_time)
        .bind(row.status.name());
    bind_key(query, row).bind(before.name())
}

fn bind_key<'q>(query: SqliteQuery<'q>, row: &FlightRow<'q>) -> SqliteQuery<'q> {
    query
        .bind(row.year)
        .bind(row.month)
        .bind(row.day)
        .bind(row.carrier)
        .bind(row.flight)
        .bind(row.origin)
        .bind(row.sched_dep_time)
}

#[cfg(test)]
mod tests;
