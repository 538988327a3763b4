//! The flights of a period as one ordered list of changes.
//!
//! How a flight's row becomes its life, and when each change happens (all instants are UTC):
//! - *scheduled*: [`SCHEDULED_AHEAD`] before its scheduled departure;
//! - *departed*: at the scheduled departure plus the delay on record. The local clock then shows
//!   the departure time on record, rolled past midnight where it was late (a test checks it);
//! - *cancelled*, if it has no departure time: at the scheduled departure;
//! - *arrived*, if it has an arrival delay on record: the first instant after its departure and
//!   its time in the air at which the destination's clock shows the arrival time.
//!
//! The scheduled departure is the local HHMM by the origin's zone.

use chrono::{DateTime, Duration, NaiveDate, Utc};

use crate::airports::{first_instant, instants};
use crate::{Airports, DataSetError, Flight, LocalTime, Period, Status, data_set};

/// How long before its scheduled departure a flight is put on the timetable.
const SCHEDULED_AHEAD: Duration = Duration::hours(24);

/// One change of one flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it happened, microseconds since 1970-01-01 UTC.
    pub time_us: i64,
    /// The flight, by its place in the timetable.
    pub flight: usize,
    /// What it changed to.
    pub status: Status,
}

/// All changes of a period's flights, ordered by time, then key, then step: always the same list.
#[derive(Debug)]
pub struct Timetable {
    flights: Vec<Flight>,
    changes: Vec<Change>,
}

impl Timetable {
    /// Reads the period's flights and lays out their changes; takes about a second for the year.
    pub fn load(period: Period) -> Result<Self, DataSetError> {
        let airports = Airports::load()?;
        let mut flights = data_set::flights(period)?;
        flights.sort_by(|a, b| a.key.cmp(&b.key));
        let mut changes = Vec::with_capacity(flights.len() * 3);
        for (place, flight) in flights.iter().enumerate() {
            for (time, status) in life(flight, &airports)? {
                changes.push(Change {
                    time_us: time.timestamp_micros(),
                    flight: place,
                    status,
                });
            }
        }
        // Flights are in key order and statuses in the order of steps.
        changes.sort_by_key(|change| (change.time_us, change.flight, change.status));
        Ok(Self { flights, changes })
    }

    /// The changes in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The flights in the order of their keys.
    pub fn flights(&self) -> &[Flight] {
        &self.flights
    }
}

/// The changes of one flight in order.
fn life(
    flight: &Flight,
    airports: &Airports,
) -> Result<Vec<(DateTime<Utc>, Status)>, DataSetError> {
    let scheduled = scheduled_departure(flight, airports)?;
    let mut life = vec![(scheduled - SCHEDULED_AHEAD, Status::Scheduled)];
    let (Some(_), Some(delay)) = (flight.dep_time, flight.dep_delay) else {
        life.push((scheduled, Status::Cancelled));
        return Ok(life);
    };
    let departure = scheduled + Duration::minutes(i64::from(delay));
    life.push((departure, Status::Departed));
    if flight.arr_delay.is_some() {
        life.push((arrival(flight, departure, airports)?, Status::Arrived));
    }
    Ok(life)
}

fn scheduled_departure(
    flight: &Flight,
    airports: &Airports,
) -> Result<DateTime<Utc>, DataSetError> {
    let key = &flight.key;
    let zone = airports.zone(&key.origin)?;
    let day = u32::try_from(key.month)
        .ok()
        .zip(u32::try_from(key.day).ok())
        .and_then(|(month, day)| NaiveDate::from_ymd_opt(key.year, month, day));
    let time = LocalTime::new(key.sched_dep_time);
    day.zip(time)
        .and_then(|(day, time)| instants(zone, day, time).first().copied())
        .ok_or_else(|| wrong("sched_dep_time", key.sched_dep_time))
}

fn arrival(
    flight: &Flight,
    departure: DateTime<Utc>,
    airports: &Airports,
) -> Result<DateTime<Utc>, DataSetError> {
    let zone = airports.zone(&flight.dest)?;
    let in_the_air = Duration::minutes(i64::from(flight.air_time.unwrap_or(0).max(1)));
    let shown = flight.arr_time.unwrap_or(-1);
    LocalTime::new(shown)
        .and_then(|time| first_instant(zone, time, departure + in_the_air))
        .ok_or_else(|| wrong("arr_time", shown))
}

fn wrong(column: &'static str, value: i32) -> DataSetError {
    DataSetError::Value {
        column,
        value: value.to_string(),
    }
}

#[cfg(test)]
mod tests;
