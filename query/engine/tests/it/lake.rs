//! A lake in a temporary directory, written with delta-rs: nothing of ours but the layout.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake::DeltaTable;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::operations::create::CreateBuilder;
use deltalake::operations::write::WriteBuilder;
use lake_store::LakeStore;
use query_engine::{Engine, EngineSettings, QueryError};
use tempfile::TempDir;

/// 2013-01-01T00:00:00Z.
pub(crate) const START_US: i64 = 1_356_998_400_000_000;

const DAY_US: i64 = 86_400_000_000;

/// One row of the table of changes of the test's entity, whose key is (base, number).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) op: &'static str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) generation: i32,
    pub(crate) time_us: i64,
    pub(crate) row: Row,
}

/// A row of the entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) base: String,
    pub(crate) number: i64,
    pub(crate) name: Option<String>,
    pub(crate) hours: Option<f64>,
    pub(crate) active: Option<bool>,
    pub(crate) hired: Option<i32>,
    pub(crate) seen: Option<i64>,
    pub(crate) photo: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn new(op: &'static str, offset: i64, row: Row) -> Self {
        Self {
            op,
            partition: 0,
            offset,
            generation: 0,
            time_us: START_US + offset,
            row,
        }
    }
}

pub(crate) fn row(base: &str, number: i64, name: Option<&str>) -> Row {
    Row {
        base: base.into(),
        number,
        name: name.map(str::to_owned),
        ..Row::default()
    }
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of the table of changes, in the lake's order.
pub(crate) fn schema() -> SchemaRef {
    let source = Fields::from(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("sequence", DataType::Int64, true),
        Field::new("lsn", DataType::Int64, true),
        Field::new("transaction", DataType::Utf8, true),
    ]);
    let columns = [
        ("_op", DataType::Utf8, false),
        ("_event_id", DataType::Utf8, true),
        ("_event_time", instant(), false),
        ("_topic", DataType::Utf8, false),
        ("_partition", DataType::Int32, false),
        ("_offset", DataType::Int64, false),
        ("_generation", DataType::Int32, false),
        ("_schema_id", DataType::Int32, true),
        ("_source", DataType::Struct(source), true),
        ("_ingest_time", instant(), false),
        ("base", DataType::Utf8, true),
        ("number", DataType::Int64, true),
        ("name", DataType::Utf8, true),
        ("hours", DataType::Float64, true),
        ("active", DataType::Boolean, true),
        ("hired", DataType::Date32, true),
        ("seen", instant(), true),
        ("photo", DataType::Binary, true),
        ("_event_date", DataType::Date32, false),
    ];
    let fields = columns.map(|(name, data_type, nullable)| Field::new(name, data_type, nullable));
    Arc::new(Schema::new(fields.to_vec()))
}

pub(crate) fn batch(changes: &[Change]) -> RecordBatch {
    fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
    fn time(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
        Arc::new(
            values
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        )
    }
    let schema = schema();
    let all = || changes.iter();
    let DataType::Struct(source) = schema.field(8).data_type() else {
        unreachable!()
    };
    let source = StructArray::new(
        source.clone(),
        vec![
            text(all().map(|_| Some("crew-db"))),
            Arc::new(
                all()
                    .map(|change| Some(change.offset))
                    .collect::<Int64Array>(),
            ),
            Arc::new(all().map(|_| None).collect::<Int64Array>()),
            text(all().map(|_| None)),
        ],
        None,
    );
    let ids: Vec<String> = all()
        .map(|c| format!("{}-{}", c.partition, c.offset))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        text(all().map(|change| Some(change.op))),
        text(ids.iter().map(|id| Some(id.as_str()))),
        time(all().map(|change| Some(change.time_us))),
        text(all().map(|_| Some("crew.pilot"))),
        Arc::new(all().map(|change| change.partition).collect::<Int32Array>()),
        Arc::new(all().map(|change| change.offset).collect::<Int64Array>()),
        Arc::new(
            all()
                .map(|change| change.generation)
                .collect::<Int32Array>(),
        ),
        Arc::new(all().map(|_| Some(7)).collect::<Int32Array>()),
        Arc::new(source),
        time(all().map(|change| Some(change.time_us + 1))),
        text(all().map(|change| Some(change.row.base.as_str()))),
        Arc::new(
            all()
                .map(|change| change.row.number)
                .collect::<Int64Array>(),
        ),
        text(all().map(|change| change.row.name.as_deref())),
        Arc::new(
            all()
                .map(|change| change.row.hours)
                .collect::<Float64Array>(),
        ),
        Arc::new(
            all()
                .map(|change| change.row.active)
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            all()
                .map(|change| change.row.hired)
                .collect::<Date32Array>(),
        ),
        time(all().map(|change| change.row.seen)),
        Arc::new(
            all()
                .map(|change| change.row.photo.as_deref())
                .collect::<BinaryArray>(),
        ),
        Arc::new(
            all()
                .map(|change| Some(i32::try_from(change.time_us.div_euclid(DAY_US)).unwrap()))
                .collect::<Date32Array>(),
        ),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

/// A lake and an engine over it.
pub(crate) struct Lake {
    pub(crate) directory: TempDir,
    pub(crate) engine: Engine,
}

impl Lake {
    pub(crate) fn new() -> Self {
        Self::with_settings(&EngineSettings::default())
    }

    pub(crate) fn with_settings(settings: &EngineSettings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LakeStore::open(directory.path().to_str().unwrap(), &[], true).unwrap();
        let engine = Engine::open(store, settings).unwrap();
        Self { directory, engine }
    }

    /// A table of changes of `service.entity` with the usual properties.
    pub(crate) async fn create(&self, service: &str, entity: &str) {
        self.create_with(service, entity, &usual_properties()).await;
    }

    pub(crate) async fn create_with(
        &self,
        service: &str,
        entity: &str,
        properties: &[(&str, &str)],
    ) {
        let path = format!("{service}/{entity}/changes");
        let kernel: StructType = schema().as_ref().try_into_kernel().unwrap();
        let configuration: HashMap<String, Option<String>> = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect();
        CreateBuilder::new()
            .with_log_store(self.engine.lake().table_log(&path))
            .with_columns(kernel.fields().cloned())
            .with_partition_columns(["_event_date"])
            .with_raise_if_key_not_exists(false)
            .with_configuration(configuration)
            .await
            .unwrap();
    }

    /// Appends one commit to `crew.pilot`.
    pub(crate) async fn append(&self, changes: &[Change]) {
        self.append_to("crew/pilot/changes", batch(changes)).await;
    }

    pub(crate) async fn append_to(&self, path: &str, batch: RecordBatch) {
        let mut table = DeltaTable::new(self.engine.lake().table_log(path));
        table.load().await.unwrap();
        let snapshot = table.snapshot().unwrap().snapshot().clone();
        WriteBuilder::new(table.log_store(), Some(snapshot))
            .with_input_batches([batch])
            .await
            .unwrap();
    }

    /// The answer to one statement as one batch.
    pub(crate) async fn ask(&self, sql: &str) -> Result<RecordBatch, QueryError> {
        let answer = self.engine.ask(sql).await?;
        let schema = answer.schema();
        let batches = answer.collect().await?;
        Ok(concat_batches(&schema, &batches).unwrap())
    }

    /// The answer as a table drawn with characters, rows in the order of the answer.
    pub(crate) async fn table(&self, sql: &str) -> String {
        let batch = self
            .ask(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        arrow::util::pretty::pretty_format_batches(&[batch])
            .unwrap()
            .to_string()
    }

    /// The answer's only value.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let batch = self
            .ask(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let column = arrow::compute::cast(batch.column(0), &DataType::Int64).unwrap();
        column
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap()
            .value(0)
    }

    pub(crate) async fn error(&self, sql: &str) -> String {
        match self.ask(sql).await {
            Ok(batch) => panic!("{sql} was answered: {batch:?}"),
            Err(error) => error.to_string(),
        }
    }
}

pub(crate) fn usual_properties() -> [(&'static str, &'static str); 3] {
    [
        ("lakehead.format", "1"),
        ("lakehead.key", r#"["base","number"]"#),
        ("lakehead.shape", "debezium"),
    ]
}
