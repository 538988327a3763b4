//! What the flight-inventory service promises of its flights.

use schemas::{Contract, ContractError, NameError, TableName};

/// The contract of `flights.flight`: an Avro record schema with Lakehead's attributes.
pub const FLIGHT_CONTRACT: &str = include_str!("../../../schemas/contracts/flights.flight.avsc");

/// The entity's name in the lake, and its topic's.
pub const FLIGHT_TABLE: &str = "flights.flight";

/// [`FLIGHT_CONTRACT`], read.
pub fn flight_contract() -> Result<Contract, ContractError> {
    FLIGHT_CONTRACT.parse()
}

/// [`FLIGHT_TABLE`], read.
pub fn flight_table() -> Result<TableName, NameError> {
    FLIGHT_TABLE.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_names_the_data_sets_columns_and_the_key() {
        let contract = flight_contract().unwrap();
        let names: Vec<&str> = contract
            .fields()
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        let header = crate::data_set::header().unwrap();
        let columns: Vec<&str> = header.iter().chain(["status"]).collect();
        assert_eq!(names, columns);
        assert_eq!(
            contract.key(),
            [
                "year",
                "month",
                "day",
                "carrier",
                "flight",
                "origin",
                "sched_dep_time"
            ]
        );
        flight_table().unwrap();
    }
}
