//! A table's columns and schemas, prepared: from a row's values to its record.

mod rows;

use std::sync::Arc;

use change_events::put_text;
use schemas::canonical::AvroRow;
use schemas::{Contract, Envelope, SchemaId, SchemaRegistry};
use serde_json::json;
use tracing::debug;

pub(crate) use self::rows::{Change, Encoded, Origin, Place, RowError};
use crate::column_type::ColumnType;
use crate::key_order::KeyOrder;
use crate::owned_table::{OwnedColumn, refused};
use crate::pg_type::Types;
use crate::stop::Stop;
use crate::{CaptureError, CapturedTable, PostgresServer};

/// Connector name in the envelope's `source`: Debezium's.
const CONNECTOR: &str = "postgresql";

/// A column and how it is encoded.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    column_type: ColumnType,
    is_key: bool,
}

/// Everything about a table's records but the row's own values. Made anew when its columns change.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) settings: CapturedTable,
    /// What the plan was made of.
    pub(crate) source_columns: Vec<OwnedColumn>,
    columns: Vec<Column>,
    /// Places of the key's columns, in the order of the key.
    key: Vec<usize>,
    pub(crate) key_order: KeyOrder,
    pub(crate) topic: Arc<str>,
    pub(crate) event_type: Arc<str>,
    /// `ce_source` of changes, and of rows of the first copy.
    pub(crate) source: Arc<str>,
    pub(crate) copy_source: Arc<str>,
    /// The canonical form of what is published.
    pub(crate) row: AvroRow,
    key_id: SchemaId,
    value_id: SchemaId,
    /// Parts of the envelope's source that are the same in every record.
    source_head: Vec<u8>,
    database: String,
}

/// Who publishes, and where schemas are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publishing<'a> {
    pub(crate) server: &'a PostgresServer,
    pub(crate) source: &'a Arc<str>,
    pub(crate) registry: &'a dyn SchemaRegistry,
}

impl TablePlan {
    /// Prepares the columns and registers the schemas.
    pub(crate) async fn prepare(
        settings: &CapturedTable,
        source_columns: Vec<OwnedColumn>,
        key: &[String],
        types: &Types,
        publishing: Publishing<'_>,
    ) -> Result<Self, Stop> {
        let columns: Vec<Column> = source_columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                column_type: match settings.text_columns.contains(&column.name) {
                    true => ColumnType::text(),
                    false => ColumnType::of(column.type_oid, column.type_modifier, types),
                },
                is_key: key.contains(&column.name),
            })
            .collect();
        let place = |name: &String| {
            let place = columns.iter().position(|column| &column.name == name);
            place.ok_or_else(|| refused(settings, format!("its key column {name:?} is gone")))
        };
        let key = key.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let contract = contract(settings, &columns, &key)?;
        let row = AvroRow::new(&contract).map_err(|error| refused(settings, error.to_string()))?;
        let envelope = Envelope::captured(&settings.entity, &contract);
        let (key_id, value_id) = register(settings, &envelope, publishing.registry).await?;
        let keyed = key.iter().filter_map(|place| {
            let (column, source) = (columns.get(*place)?, source_columns.get(*place)?);
            Some((column.name.as_str(), source.type_oid, &column.column_type))
        });
        let key_order = KeyOrder::new(keyed, types);
        let mut source_head = Vec::new();
        for text in [
            env!("CARGO_PKG_VERSION"),
            CONNECTOR,
            settings.entity.service(),
        ] {
            put_text(text, &mut source_head);
        }
        Ok(Self {
            settings: settings.clone(),
            columns,
            key,
            key_order,
            topic: settings.topic().into(),
            event_type: format!("{}.change", settings.entity).into(),
            source: Arc::clone(publishing.source),
            copy_source: copy_source(publishing.source),
            row,
            key_id,
            value_id,
            source_head,
            database: publishing.server.database.clone(),
            source_columns,
        })
    }

    /// The columns in the log's order, as SQL lists them.
    pub(crate) fn select_list(&self) -> String {
        let names = self.columns.iter();
        let names = names.map(|column| crate::answer::identifier(&column.name));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// `ce_source` of the rows of a first copy.
pub(crate) fn copy_source(source: &str) -> Arc<str> {
    format!("{source}#copy").into()
}

/// Key columns are never null. Any other may be: the log is read later than it was written, and a
/// column that is NOT NULL today may have been null then.
fn contract(
    settings: &CapturedTable,
    columns: &[Column],
    key: &[usize],
) -> Result<Contract, CaptureError> {
    let fields = columns.iter().map(|column| {
        let (name, avro) = (&column.name, &column.column_type.avro);
        match column.is_key {
            true => json!({"name": name, "type": avro}),
            false => json!({"name": name, "type": ["null", avro], "default": null}),
        }
    });
    let key = key.iter().filter_map(|place| columns.get(*place));
    let key = key.map(|column| column.name.clone()).collect();
    Contract::of_fields(fields.collect())
        .and_then(|contract| contract.with_key(key))
        .map_err(|error| refused(settings, error.to_string()))
}

async fn register(
    settings: &CapturedTable,
    envelope: &Envelope,
    registry: &dyn SchemaRegistry,
) -> Result<(SchemaId, SchemaId), Stop> {
    let topic = settings.topic();
    let (key, value) = (format!("{topic}-key"), format!("{topic}-value"));
    let ids = tokio::try_join!(
        registry.register(&key, &envelope.key_schema),
        registry.register(&value, &envelope.value_schema),
    );
    match ids {
        Ok(ids) => {
            debug!(topic, key_id = %ids.0, value_id = %ids.1, "schemas registered");
            Ok(ids)
        }
        Err(error) => Err(Stop::of_registry(topic, error)),
    }
}
