//! The query engine over small lakes that the tests write themselves.

mod catalog;
mod current;
mod gate;
mod lake;
mod limits;
mod property;
