//! What lies in two types made one.

use super::incompatible::{Incompatible, WAY_ON};
use super::merge::Merge;
use super::types::{branch_of, inner_type, with_type};
use crate::field::{Field, FieldType};
use crate::meaning::Meaning;

impl Merge<'_> {
    /// Types that lie in both.
    pub(super) fn inside(
        &mut self,
        merged: &mut Field,
        writer: &Field,
        path: &str,
    ) -> Result<(), Incompatible> {
        let mut avro = inner_type(&merged.json).clone();
        match (&mut merged.field_type, &writer.field_type) {
            (FieldType::Array(own), FieldType::Array(other)) => {
                **own = self.field(own, other, path)?;
                avro["items"] = own.json["type"].clone();
            }
            (FieldType::Map(own), FieldType::Map(other)) => {
                **own = self.field(own, other, path)?;
                avro["values"] = own.json["type"].clone();
            }
            (FieldType::Record(own), FieldType::Record(other))
                if writer.meaning == merged.meaning =>
            {
                *own = self.record(own, other, path)?;
                let parts = own.iter();
                if merged.meaning == Meaning::Union {
                    avro = parts
                        .map(|branch| inner_type(&branch.json).clone())
                        .collect();
                } else {
                    avro["fields"] = parts.map(|field| field.json.clone()).collect();
                }
            }
            // A writer that only ever writes one of the types.
            (FieldType::Record(own), _) => {
                let name = branch_of(&writer.json);
                let branch = own.iter_mut().find(|branch| branch.name == name);
                let Some(branch) = branch else {
                    let why = format!("the union has no {name:?}; {WAY_ON}");
                    return Err(self.clash(path, merged, writer, why));
                };
                let mut one = writer.clone();
                one.name.clone_from(&branch.name);
                *branch = self.field(branch, &one, path)?;
                avro = own
                    .iter()
                    .map(|branch| inner_type(&branch.json).clone())
                    .collect();
            }
            _ => {}
        }
        with_type(merged, avro);
        Ok(())
    }
}
