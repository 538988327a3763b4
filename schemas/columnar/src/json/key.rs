//! Record keys in JSON.

use schemas::FieldType;

use super::fields::{FieldNames, for_each_field};
use super::reader::Reader;
use super::row::JsonRow;
use crate::entity::Entity;
use crate::error::{Fault, invalid};
use crate::schema::ChangeSchema;

/// Reads JSON keys of one table.
#[derive(Debug)]
pub(crate) struct JsonKey {
    row: JsonRow,
    /// Finds the payload in Debezium's wrapper; nothing if the key itself has such a field.
    wrapper: FieldNames<()>,
    /// The key's only column, and whether it is a string.
    single: Option<(usize, bool)>,
    scratch: String,
}

impl JsonKey {
    pub(crate) fn new(schema: &ChangeSchema) -> Self {
        let single = match schema.key() {
            [position] => schema
                .columns()
                .get(*position)
                .map(|plan| (*position, plan.field.field_type == FieldType::String)),
            _ => None,
        };
        let own_payload = schema.contract().key().iter().any(|name| name == "payload");
        Self {
            row: JsonRow::of_key(schema),
            wrapper: FieldNames::new((!own_payload).then_some(("payload", ()))),
            single,
            scratch: String::new(),
        }
    }

    /// Reads a key into the open row.
    pub(crate) fn run(&mut self, body: &[u8], entity: &mut Entity) -> Result<(), Fault> {
        let mut reader = Reader::new(body)?;
        let token = reader.token();
        if let Some((position, true)) = self.single
            && !matches!(token, Ok(b'"' | b'{'))
        {
            // Many producers write a key that is a text as it is.
            let column = entity.columns.get_mut(position);
            return column.map_or(Ok(()), |column| column.push_text(reader.text));
        }
        self.value(&mut reader, entity, true)?;
        reader.end()
    }

    fn value(
        &mut self,
        reader: &mut Reader<'_>,
        entity: &mut Entity,
        outside: bool,
    ) -> Result<(), Fault> {
        if reader.token()? != b'{' {
            let Some((position, _)) = self.single else {
                return Err(invalid("expected an object of the key's fields"));
            };
            return self.row.fill(position, reader, entity, &mut self.scratch);
        }
        let start = reader.place();
        if outside && let Some(payload) = self.payload(reader)? {
            let end = reader.place();
            reader.go(payload);
            self.value(reader, entity, false)?;
            reader.go(end);
            return Ok(());
        }
        reader.go(start);
        self.row.run(reader, entity, &mut self.scratch)
    }

    /// Where the payload is in an object that is Debezium's wrapper.
    fn payload(&mut self, reader: &mut Reader<'_>) -> Result<Option<usize>, Fault> {
        let mut payload = None;
        let scratch = &mut self.scratch;
        for_each_field(reader, &mut self.wrapper, scratch, |reader, field, _| {
            reader.token()?;
            if field.is_some() {
                payload = Some(reader.place());
            }
            reader.skip()
        })?;
        Ok(payload)
    }
}
