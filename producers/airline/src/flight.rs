//! A flight, and its row at each step of its life.

use std::sync::Arc;

use serde::Serialize;

/// What names a flight: the plan, not the plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightKey {
    /// Year of the scheduled departure, local.
    pub year: i32,
    /// Month of the scheduled departure, local.
    pub month: i32,
    /// Day of the scheduled departure, local.
    pub day: i32,
    /// Code of the airline.
    pub carrier: Arc<str>,
    /// Flight number.
    pub flight: i32,
    /// Airport of departure.
    pub origin: Arc<str>,
    /// Scheduled departure, local HHMM.
    pub sched_dep_time: i32,
}

/// A flight in its final state, as the data set has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// What names it.
    pub key: FlightKey,
    /// Departure, local HHMM; none if it was cancelled.
    pub dep_time: Option<i32>,
    /// Minutes behind schedule at departure.
    pub dep_delay: Option<i32>,
    /// Arrival, local HHMM at the destination.
    pub arr_time: Option<i32>,
    /// Scheduled arrival, local HHMM at the destination.
    pub sched_arr_time: i32,
    /// Minutes behind schedule at arrival; none if it never arrived where it was to.
    pub arr_delay: Option<i32>,
    /// The plane.
    pub tailnum: Option<Arc<str>>,
    /// Airport of arrival.
    pub dest: Arc<str>,
    /// Minutes in the air.
    pub air_time: Option<i32>,
    /// Miles between the airports.
    pub distance: i32,
    /// Hour of the scheduled departure, local.
    pub hour: i32,
    /// Minute of the scheduled departure.
    pub minute: i32,
    /// The hour of the scheduled departure as an instant, microseconds since 1970-01-01 UTC.
    pub time_hour_us: i64,
}

/// Where a flight is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is planned.
    Scheduled,
    /// It is in the air.
    Departed,
    /// It has landed where it was to.
    Arrived,
    /// It does not fly.
    Cancelled,
}

impl Status {
    /// The status as the table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Departed => "departed",
            Self::Arrived => "arrived",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a flight was before; none before it was scheduled.
    pub fn before(self) -> Option<Self> {
        match self {
            Self::Scheduled => None,
            Self::Departed | Self::Cancelled => Some(Self::Scheduled),
            Self::Arrived => Some(Self::Departed),
        }
    }
}

/// The row of a flight at one status: the columns of the service's table, in its contract's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the columns are described in the contract")]
pub struct FlightRow<'a> {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub dep_time: Option<i32>,
    pub sched_dep_time: i32,
    pub dep_delay: Option<i32>,
    pub arr_time: Option<i32>,
    pub sched_arr_time: i32,
    pub arr_delay: Option<i32>,
    pub carrier: &'a str,
    pub flight: i32,
    pub tailnum: Option<&'a str>,
    pub origin: &'a str,
    pub dest: &'a str,
    pub air_time: Option<i32>,
    pub distance: i32,
    pub hour: i32,
    pub minute: i32,
    pub time_hour: i64,
    pub status: Status,
}

/// The key fields of a flight, as the outbox has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct KeyRow<'a> {
    year: i32,
    month: i32,
    day: i32,
    carrier: &'a str,
    flight: i32,
    origin: &'a str,
    sched_dep_time: i32,
}

impl Flight {
    /// The flight's row when it had this status: what was not known yet is none.
    ///
    /// The plane is known from departure or cancellation on. An arrival time is known with the
    /// arrival only: the data set has one for some flights that landed elsewhere, which never
    /// arrive here.
    pub fn row(&self, status: Status) -> FlightRow<'_> {
        let has_left = matches!(status, Status::Departed | Status::Arrived);
        let has_arrived = status == Status::Arrived;
        let has_plane = status != Status::Scheduled;
        FlightRow {
            year: self.key.year,
            month: self.key.month,
            day: self.key.day,
            dep_time: self.dep_time.filter(|_| has_left),
            sched_dep_time: self.key.sched_dep_time,
            dep_delay: self.dep_delay.filter(|_| has_left),
            arr_time: self.arr_time.filter(|_| has_arrived),
            sched_arr_time: self.sched_arr_time,
            arr_delay: self.arr_delay.filter(|_| has_arrived),
            carrier: &self.key.carrier,
            flight: self.key.flight,
            tailnum: self.tailnum.as_deref().filter(|_| has_plane),
            origin: &self.key.origin,
            dest: &self.dest,
            air_time: self.air_time.filter(|_| has_arrived),
            distance: self.distance,
            hour: self.hour,
            minute: self.minute,
            time_hour: self.time_hour_us,
            status,
        }
    }

    pub(crate) fn key_row(&self) -> KeyRow<'_> {
        KeyRow {
            year: self.key.year,
            month: self.key.month,
            day: self.key.day,
            carrier: &self.key.carrier,
            flight: self.key.flight,
            origin: &self.key.origin,
            sched_dep_time: self.key.sched_dep_time,
        }
    }
}
