//! Answers as an array of objects, one row a line.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_json::WriterBuilder;
use arrow_json::writer::JsonFormat;

/// An answer as an array of objects.
#[derive(Debug, Default)]
pub(crate) struct JsonOutput {
    any: bool,
}

impl JsonOutput {
    pub(crate) fn begin() -> Vec<u8> {
        b"[".to_vec()
    }

    pub(crate) fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let mut text = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, RowPerLine>(&mut text);
        writer.write(batch)?;
        writer.finish()?;
        drop(writer);
        if self.any && !text.is_empty() {
            text.insert(0, b',');
        }
        self.any |= !text.is_empty();
        Ok(text)
    }

    pub(crate) fn end(&mut self) -> Vec<u8> {
        if self.any {
            b"\n]\n".to_vec()
        } else {
            b"]\n".to_vec()
        }
    }
}

/// Rows on lines of their own, commas between them.
#[derive(Debug, Default)]
struct RowPerLine;

impl JsonFormat for RowPerLine {
    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        writer.write_all(if is_first_row { b"\n" } else { b",\n" })?;
        Ok(())
    }
}
