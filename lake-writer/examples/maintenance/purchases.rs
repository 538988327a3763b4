//! Purchases: every key is updated in turn, in an order that scatters them.

use std::fmt::Write;

use schemas::Shape;

use crate::generated::{FIRST_MS, Subject};

/// Odd, so that the records of a key are in one partition where keys are a multiple of them.
const STRIDE: i64 = 7919;

pub(crate) const PURCHASES: Subject = Subject {
    topic: "shop.purchase",
    contract: r#"{"type":"record","name":"Purchase","lakehead.key":["id"],"fields":[
        {"name":"id","type":"long"},{"name":"item","type":"string"},{"name":"quantity","type":"int"},
        {"name":"price","type":["null","double"]},{"name":"placed_ms","type":"long"},
        {"name":"customer","type":"string"},{"name":"note","type":["null","string"]}]}"#,
    shape: Shape::Upsert,
    compose,
};

fn compose(number: i64, keys: i64, key: &mut String, value: &mut String) {
    let id = number.wrapping_mul(STRIDE) % keys;
    // Writing into a String does not fail.
    write!(key, r#"{{"id":{id}}}"#).ok();
    write!(
        value,
        r#"{{"id":{id},"item":"item-{}","quantity":{},"price":{}.25,"placed_ms":{},"customer":"customer-{}","note":"note {number}"}}"#,
        id % 997,
        number % 13,
        number % 1000,
        FIRST_MS + number,
        id % 50_000,
    )
    .ok();
}
