//! What a relay publishes.

use schemas::{Contract, TableName};

/// An entity whose changes are in the outbox.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its name, as in the outbox's column `entity`.
    pub table: TableName,
    /// Its contract.
    pub contract: Contract,
    /// The topic of its change events.
    pub topic: String,
}

impl Entity {
    /// An entity whose topic has its own name.
    pub fn new(table: TableName, contract: Contract) -> Self {
        Self {
            topic: table.to_string(),
            table,
            contract,
        }
    }
}
