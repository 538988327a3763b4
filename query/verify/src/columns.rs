//! The columns that both sides have.

use schemas::{Contract, Field, TableName};

use crate::VerifyError;

/// What is compared: fields in the order of their names, which is that of the canonical form.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) fields: Vec<Field>,
    /// Whether each is of the key; all are where rows have no key.
    pub(crate) is_key: Vec<bool>,
    /// Columns of the lake that the owner's table lacks.
    pub(crate) only_lake: Vec<String>,
    /// Columns of the owner's table that the lake lacks.
    pub(crate) only_owner: Vec<String>,
}

impl Columns {
    /// The common ground of an entity and an owner's table.
    pub(crate) fn common(
        table: &TableName,
        contract: &Contract,
        owner: &[String],
    ) -> Result<Self, VerifyError> {
        let refuse = |why: String| VerifyError::Table {
            table: table.clone(),
            why,
        };
        let is_common = |field: &&Field| owner.contains(&field.name);
        let mut fields: Vec<Field> = contract
            .fields()
            .iter()
            .filter(is_common)
            .cloned()
            .collect();
        fields.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let of_key = |name: &String| contract.key().contains(name);
        if let Some(missing) = contract.key().iter().find(|name| !owner.contains(name)) {
            let columns = owner.join(", ");
            return Err(refuse(format!(
                "its key has the field {missing:?}, and the owner's table has no such column, but \
                 {columns}; --owner-table names another table"
            )));
        }
        if fields.is_empty() {
            let columns = owner.join(", ");
            return Err(refuse(format!(
                "no column of the owner's table ({columns}) is one of its fields"
            )));
        }
        let is_key = fields
            .iter()
            .map(|field| contract.key().is_empty() || of_key(&field.name))
            .collect();
        let all = contract.fields().iter().map(|field| &field.name);
        let only_lake = all.clone().filter(|name| !owner.contains(name)).cloned();
        let only_owner = owner
            .iter()
            .filter(|name| !all.clone().any(|own| own == *name));
        Ok(Self {
            only_lake: only_lake.collect(),
            only_owner: only_owner.cloned().collect(),
            fields,
            is_key,
        })
    }
}
