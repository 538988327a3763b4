//! The example services of an airline, each with its own database.
//!
//! [`FlightInventory`] owns the table of flights. It replays the real flights that left New York
//! City in 2013 in the order of their times: each is scheduled, then departs or is cancelled, then
//! arrives. Every change is one local transaction that writes the service's table and its outbox;
//! [`FlightInventory::relay`] publishes the outbox.
//!
//! Where to read next: [`Timetable`] (the data set as a list of changes), then
//! [`FlightInventory`].

mod airports;
mod contract;
mod data_set;
mod flight;
mod inventory;
mod inventory_error;
mod period;
mod progress;
mod questions;
mod replay;
mod timetable;

pub use airports::{Airports, LocalTime};
pub use contract::{FLIGHT_CONTRACT, FLIGHT_TABLE, flight_contract, flight_table};
pub use data_set::DataSetError;
pub use flight::{Flight, FlightKey, FlightRow, Status};
pub use inventory::FlightInventory;
pub use inventory_error::InventoryError;
pub use period::Period;
pub use progress::ReplayProgress;
pub use questions::{Question, demo_questions};
pub use timetable::{Change, Timetable};
