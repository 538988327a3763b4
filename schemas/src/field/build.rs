//! Fields from the types of an Avro schema.

use serde_json::json;

use super::held::{asked_for, decimal, duration};
use super::names::{check_names, joined, refused};
use super::{Ask, Field, FieldType};
use crate::avro::{AvroSchema, Kind, NodeId, Nulls, RecordField};
use crate::contract::ContractError;
use crate::meaning::Meaning;

/// How deep types may lie in one another.
const DEPTH_MAX: usize = 32;

/// How many fields an entity may have, with those in records within. A type that is named many
/// times counts as often, or a schema of a kilobyte could stand for millions.
const FIELDS_MAX: usize = 4096;

/// Reads fields from a schema.
#[derive(Debug)]
pub(crate) struct Builder<'s> {
    schema: &'s AvroSchema,
    left: usize,
    /// The records that are being read.
    open: Vec<NodeId>,
}

/// What a type's values become.
struct Held {
    field_type: FieldType,
    meaning: Meaning,
    asked: Option<Ask>,
}

impl<'s> Builder<'s> {
    pub(crate) fn new(schema: &'s AvroSchema) -> Self {
        Self {
            schema,
            left: FIELDS_MAX,
            open: Vec::new(),
        }
    }

    /// The fields of a record at `path`, empty for the entity itself. What `table` asks of fields
    /// that it knows goes for those that do not ask themselves.
    pub(crate) fn record(
        &mut self,
        id: NodeId,
        path: &str,
        table: Option<&[Field]>,
    ) -> Result<Vec<Field>, ContractError> {
        let refused = |why: &str| refused(path, why.to_owned());
        let Kind::Record { fields, .. } = &self.schema.node(id).kind else {
            return Err(ContractError::NotARecord(self.schema.describe(id)));
        };
        if self.open.contains(&id) {
            return Err(refused("a record that holds itself"));
        }
        if self.open.len() > DEPTH_MAX {
            return Err(refused("types that lie more than 32 deep in one another"));
        }
        if fields.is_empty() {
            return Err(refused("a record without fields"));
        }
        self.open.push(id);
        let mut built = Vec::with_capacity(fields.len());
        for field in fields {
            let known = table.and_then(|table| {
                let named = table.iter().find(|known| known.name == field.name);
                named.or_else(|| table.iter().find(|known| known.is_known_as(&field.name)))
            });
            built.push(self.field(field, path, known)?);
        }
        self.open.pop();
        check_names(path, &built)?;
        Ok(built)
    }

    fn field(
        &mut self,
        field: &RecordField,
        path: &str,
        table: Option<&Field>,
    ) -> Result<Field, ContractError> {
        let path = joined(path, &field.name);
        let (nulls, inner) = self.schema.without_null(field.node);
        let attributes = [&field.attributes, &self.schema.node(inner).attributes];
        let asked = attributes
            .iter()
            .find_map(|attributes| attributes.get("lakehead.type"));
        let asked = asked.map(|asked| {
            let known = asked.as_str().and_then(Ask::named);
            known.ok_or_else(|| {
                let why =
                    format!("\"lakehead.type\": {asked} (int, long, float, string or timestamp)");
                refused(&path, why)
            })
        });
        let asked = asked.transpose()?;
        let held = self.held(inner, asked, &path, table)?;
        Ok(Field {
            name: field.name.clone(),
            field_type: held.field_type,
            nullable: self.is_nullable(nulls, inner),
            meaning: held.meaning,
            asked: held.asked,
            aliases: field.aliases.clone(),
            default: field.default.clone(),
            json: self.schema.standalone_field(field),
        })
    }

    /// An item of an array, a value of a map, a branch of a union.
    pub(super) fn item(
        &mut self,
        id: NodeId,
        name: &str,
        path: &str,
        table: Option<&Field>,
    ) -> Result<Field, ContractError> {
        let (nulls, inner) = self.schema.without_null(id);
        let asked = self
            .schema
            .node(inner)
            .text("lakehead.type")
            .and_then(Ask::named);
        let held = self.held(inner, asked, path, table)?;
        Ok(Field {
            name: name.to_owned(),
            field_type: held.field_type,
            nullable: self.is_nullable(nulls, inner),
            meaning: held.meaning,
            asked: held.asked,
            aliases: Vec::new(),
            default: None,
            json: json!({"name": name, "type": self.schema.standalone(id)}),
        })
    }

    fn is_nullable(&self, nulls: Nulls, inner: NodeId) -> bool {
        let is_null = |id: &NodeId| matches!(self.schema.node(*id).kind, Kind::Null);
        match &self.schema.node(inner).kind {
            Kind::Union(branches) => branches.iter().any(is_null),
            _ => matches!(nulls, Nulls::First | Nulls::Second),
        }
    }

    fn held(
        &mut self,
        id: NodeId,
        asked: Option<Ask>,
        path: &str,
        table: Option<&Field>,
    ) -> Result<Held, ContractError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| refused(path, format!("one of more than {FIELDS_MAX} fields")))?;
        let meaning = Meaning::of(self.schema, id).map_err(|why| refused(path, why))?;
        let inherited = table
            .filter(|_| asked.is_none())
            .and_then(|table| table.asked);
        if let Some(asked) = asked.or(inherited) {
            match asked_for(&self.schema.node(id).kind, meaning, asked) {
                Some(field_type) => {
                    return Ok(Held {
                        field_type,
                        meaning,
                        asked: Some(asked),
                    });
                }
                // What the table asked of another type: evolution has a word on that.
                None if inherited.is_some() => {}
                None => {
                    let what = self.schema.describe(id);
                    return Err(refused(
                        path,
                        format!("{what} held as \"lakehead.type\" asks"),
                    ));
                }
            }
        }
        Ok(Held {
            field_type: self.by_default(id, meaning, path, table)?,
            meaning,
            asked: None,
        })
    }

    fn by_default(
        &mut self,
        id: NodeId,
        meaning: Meaning,
        path: &str,
        table: Option<&Field>,
    ) -> Result<FieldType, ContractError> {
        Ok(match meaning {
            Meaning::Int | Meaning::Time(_) | Meaning::WallClock(_) => FieldType::Long,
            Meaning::Float => FieldType::Double,
            Meaning::Enum | Meaning::UuidBytes | Meaning::VariableDecimal | Meaning::BigDecimal => {
                FieldType::String
            }
            Meaning::Fixed(0) => return Err(refused(path, "a fixed of no bytes".to_owned())),
            Meaning::Fixed(_) => FieldType::Bytes,
            Meaning::Date => FieldType::Date,
            Meaning::Instant(_) | Meaning::InstantText => FieldType::Timestamp,
            Meaning::Decimal {
                precision, scale, ..
            } => decimal(precision, scale, path)?,
            Meaning::Duration => duration(),
            Meaning::Union => self.union(id, path, table)?,
            Meaning::Plain => self.plain(id, path, table)?,
        })
    }

    fn plain(
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
    fn union(
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
