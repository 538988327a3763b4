//! The data set: one row per flight, in its final state.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use chrono::DateTime;
use csv::StringRecord;
use flate2::read::GzDecoder;

use crate::{Flight, FlightKey, Period};

const FLIGHTS: &[u8] = include_bytes!("../data/flights.csv.gz");

/// The data set that the program carries is not what it should be: a broken build.
#[derive(Debug, thiserror::Error)]
pub enum DataSetError {
    /// It is not the CSV it was.
    #[error("the flight data in this program cannot be read: {0}; build it again")]
    Csv(#[from] csv::Error),
    /// A value is not what its column holds.
    #[error("the flight data in this program has {value:?} as {column}; build it again")]
    Value {
        /// The column.
        column: &'static str,
        /// The text that was found.
        value: String,
    },
    /// An airport's zone is not known.
    #[error("airport {0:?} has no time zone in the flight data of this program; build it again")]
    Airport(String),
}

/// Columns in the data set's order.
const YEAR: (usize, &str) = (0, "year");
const MONTH: (usize, &str) = (1, "month");
const DAY: (usize, &str) = (2, "day");
const DEP_TIME: (usize, &str) = (3, "dep_time");
const SCHED_DEP_TIME: (usize, &str) = (4, "sched_dep_time");
const DEP_DELAY: (usize, &str) = (5, "dep_delay");
const ARR_TIME: (usize, &str) = (6, "arr_time");
const SCHED_ARR_TIME: (usize, &str) = (7, "sched_arr_time");
const ARR_DELAY: (usize, &str) = (8, "arr_delay");
const CARRIER: (usize, &str) = (9, "carrier");
const FLIGHT: (usize, &str) = (10, "flight");
const TAILNUM: (usize, &str) = (11, "tailnum");
const ORIGIN: (usize, &str) = (12, "origin");
const DEST: (usize, &str) = (13, "dest");
const AIR_TIME: (usize, &str) = (14, "air_time");
const DISTANCE: (usize, &str) = (15, "distance");
const HOUR: (usize, &str) = (16, "hour");
const MINUTE: (usize, &str) = (17, "minute");
const TIME_HOUR: (usize, &str) = (18, "time_hour");

/// The flights that were scheduled in a period, in the data set's order.
pub(crate) fn flights(period: Period) -> Result<Vec<Flight>, DataSetError> {
    let mut texts = Texts::default();
    let mut flights = Vec::new();
    let mut reader = csv::Reader::from_reader(GzDecoder::new(FLIGHTS));
    let mut row = StringRecord::new();
    while reader.read_record(&mut row)? {
        if period.contains(required(&row, MONTH)?) {
            flights.push(flight(&row, &mut texts)?);
        }
    }
    Ok(flights)
}

/// The data set's column names.
#[cfg(test)]
pub(crate) fn header() -> Result<StringRecord, DataSetError> {
    Ok(csv::Reader::from_reader(GzDecoder::new(FLIGHTS))
        .headers()?
        .clone())
}

/// Carriers, airports and planes recur; each text is kept once.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}

fn flight(row: &StringRecord, texts: &mut Texts) -> Result<Flight, DataSetError> {
    Ok(Flight {
        key: FlightKey {
            year: required(row, YEAR)?,
            month: required(row, MONTH)?,
            day: required(row, DAY)?,
            carrier: texts.shared(text(row, CARRIER)),
            flight: required(row, FLIGHT)?,
            origin: texts.shared(text(row, ORIGIN)),
            sched_dep_time: required(row, SCHED_DEP_TIME)?,
        },
        dep_time: optional(row, DEP_TIME)?,
        dep_delay: optional(row, DEP_DELAY)?,
        arr_time: optional(row, ARR_TIME)?,
        sched_arr_time: required(row, SCHED_ARR_TIME)?,
        arr_delay: optional(row, ARR_DELAY)?,
        tailnum: present(row, TAILNUM).map(|tailnum| texts.shared(tailnum)),
        dest: texts.shared(text(row, DEST)),
        air_time: optional(row, AIR_TIME)?,
        distance: required(row, DISTANCE)?,
        hour: required(row, HOUR)?,
        minute: required(row, MINUTE)?,
        time_hour_us: time_hour_us(row)?,
    })
}

fn text<'a>(row: &'a StringRecord, (index, _): (usize, &'static str)) -> &'a str {
    row.get(index).unwrap_or_default()
}

/// `NA` or nothing marks a missing value.
fn present<'a>(row: &'a StringRecord, column: (usize, &'static str)) -> Option<&'a str> {
    Some(text(row, column)).filter(|text| !matches!(*text, "" | "NA"))
}

fn required<T: FromStr>(
    row: &StringRecord,
    column: (usize, &'static str),
) -> Result<T, DataSetError> {
    let value = text(row, column);
    value.parse().map_err(|_| DataSetError::Value {
        column: column.1,
        value: value.to_owned(),
    })
}

fn optional<T: FromStr>(
    row: &StringRecord,
    column: (usize, &'static str),
) -> Result<Option<T>, DataSetError> {
    present(row, column)
        .map(|_| required(row, column))
        .transpose()
}

fn time_hour_us(row: &StringRecord) -> Result<i64, DataSetError> {
    let value = text(row, TIME_HOUR);
    let instant = DateTime::parse_from_rfc3339(value).map_err(|_| DataSetError::Value {
        column: TIME_HOUR.1,
        value: value.to_owned(),
    })?;
    Ok(instant.timestamp_micros())
}
