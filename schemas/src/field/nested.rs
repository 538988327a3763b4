//! Fields of what lies in a type.

use super::build::{Builder, DEPTH_MAX};
use super::names::{check_names, joined, refused};
use super::{Field, FieldType};
use crate::avro::{Kind, NodeId};
use crate::contract::ContractError;

impl Builder<'_> {
    pub(super) fn plain(
        &mut self,
        id: NodeId,
        path: &str,
        table: Option<&Field>,
    ) -> Result<FieldType, ContractError> {
        let schema = self.schema;
        Ok(match &schema.node(id).kind {
            Kind::Boolean => FieldType::Boolean,
            Kind::Long => FieldType::Long,
            Kind::Double => FieldType::Double,
            Kind::String => FieldType::String,
            Kind::Bytes => FieldType::Bytes,
            Kind::Record { .. } => {
                let table = match table.map(|table| &table.field_type) {
                    Some(FieldType::Record(fields)) => Some(fields.as_slice()),
                    _ => None,
                };
                FieldType::Record(self.record(id, path, table)?)
            }
            Kind::Array(items) => {
                let table = match table.map(|table| &table.field_type) {
                    Some(FieldType::Array(items)) => Some(&**items),
                    _ => None,
                };
                self.nested(id, path, |this| {
                    let item = this.item(*items, "element", &joined(path, "element"), table)?;
                    Ok(FieldType::Array(Box::new(item)))
                })?
            }
            Kind::Map(values) => {
                let table = match table.map(|table| &table.field_type) {
                    Some(FieldType::Map(values)) => Some(&**values),
                    _ => None,
                };
                self.nested(id, path, |this| {
                    let value = this.item(*values, "value", &joined(path, "value"), table)?;
                    Ok(FieldType::Map(Box::new(value)))
                })?
            }
            _ => return Err(refused(path, schema.describe(id))),
        })
    }

    /// Reads what lies in a type, which must not hold itself.
    fn nested(
        &mut self,
        id: NodeId,
        path: &str,
        read: impl FnOnce(&mut Self) -> Result<FieldType, ContractError>,
    ) -> Result<FieldType, ContractError> {
        if self.open.len() > DEPTH_MAX {
            let why = format!("types that lie more than {DEPTH_MAX} deep in one another");
            return Err(refused(path, why));
        }
        self.open.push(id);
        let read = read(self)?;
        self.open.pop();
        Ok(read)
    }

    /// A record with a field for each type, named as Avro's JSON encoding names the branch.
    pub(super) fn union(
        &mut self,
        id: NodeId,
        path: &str,
        table: Option<&Field>,
    ) -> Result<FieldType, ContractError> {
        let schema = self.schema;
        let Kind::Union(branches) = &schema.node(id).kind else {
            return Err(refused(path, schema.describe(id)));
        };
        let known = match table.map(|table| &table.field_type) {
            Some(FieldType::Record(fields)) => fields.as_slice(),
            _ => &[],
        };
        let fields = self.nested(id, path, |this| {
            let mut fields = Vec::with_capacity(branches.len());
            for branch in branches {
                let Some(name) = schema.branch_name(*branch) else {
                    continue;
                };
                let table = known.iter().find(|field| field.name == name);
                let mut field = this.item(*branch, name, &joined(path, name), table)?;
                field.nullable = true;
                fields.push(field);
            }
            if fields.is_empty() {
                return Err(refused(path, "a union of nothing but null".to_owned()));
            }
            check_names(path, &fields)?;
            Ok(FieldType::Record(fields))
        })?;
        Ok(fields)
    }
}
