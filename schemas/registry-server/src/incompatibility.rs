//! One reason why a schema cannot read what another one wrote, told so that it can be repaired.

use std::fmt::Write as _;

/// Which of two schemas reads: the other one wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    New,
    Old,
}

impl Reader {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::New => ("new", "old"),
            Self::Old => ("old", "new"),
        }
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incompatibility {
    pub(crate) cause: Cause,
    /// A JSON pointer into the reader's schema.
    pub(crate) path: String,
    /// The names of the fields down to there, with dots; empty outside of all fields.
    pub(crate) field: String,
}

/// What is wrong. `reader` and `writer` say what each schema has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Name { reader: String, writer: String },
    Size { reader: usize, writer: usize },
    Symbols { missing: Vec<String> },
    Default,
    Type { reader: String, writer: String },
    Branch { writer: String },
    TooLarge,
}

impl Cause {
    /// The name that Confluent's registry gives to such a reason.
    fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "NAME_MISMATCH",
            Self::Size { .. } => "FIXED_SIZE_MISMATCH",
            Self::Symbols { .. } => "MISSING_ENUM_SYMBOLS",
            Self::Default => "READER_FIELD_MISSING_DEFAULT_VALUE",
            Self::Type { .. } => "TYPE_MISMATCH",
            Self::Branch { .. } => "MISSING_UNION_BRANCH",
            Self::TooLarge => "TOO_LARGE_TO_COMPARE",
        }
    }
}

impl Incompatibility {
    /// The reason in the form that Confluent's messages have.
    pub(crate) fn message(&self, by: Reader) -> String {
        let mut text = format!(
            "{{errorType:'{}', description:'{}'",
            self.cause.code(),
            self.description(by)
        );
        let info = match &self.cause {
            Cause::Default => self.field.rsplit('.').next().map(str::to_owned),
            Cause::Symbols { missing } => Some(missing.join(", ")),
            Cause::Type { reader, writer } => Some(format!(
                "reader type: {reader} not compatible with writer type: {writer}"
            )),
            Cause::Name { writer, .. } => Some(format!("expected: {writer}")),
            Cause::Size { reader, writer } => Some(format!("expected: {writer}, found: {reader}")),
            Cause::Branch { writer } => Some(format!("reader union lacking writer type: {writer}")),
            Cause::TooLarge => None,
        };
        if let Some(info) = info {
            // Writing to a string cannot fail.
            let _ = write!(text, ", additionalInfo:'{info}'");
        }
        text.push('}');
        text
    }

    fn description(&self, by: Reader) -> String {
        let (reads, wrote) = by.words();
        let what = if self.field.is_empty() {
            format!("the type at path '{}'", self.path)
        } else {
            format!("the field '{}' at path '{}'", self.field, self.path)
        };
        match &self.cause {
            Cause::Name { reader, writer } => format!(
                "{what} is named {reader} in the {reads} schema and {writer} in the {wrote} schema"
            ),
            Cause::Size { reader, writer } => format!(
                "{what} has {reader} bytes in the {reads} schema and {writer} in the {wrote} schema"
            ),
            Cause::Symbols { missing } => format!(
                "{what} in the {reads} schema lacks the symbols {} of the {wrote} schema, and has no default symbol",
                missing.join(", ")
            ),
            Cause::Default => format!(
                "{what} in the {reads} schema has no default value and is missing in the {wrote} schema"
            ),
            Cause::Type { reader, writer } => format!(
                "{what} is {reader} in the {reads} schema, which cannot read the {writer} of the {wrote} schema"
            ),
            Cause::Branch { writer } => format!(
                "{what} in the {reads} schema is a union without a type that can read the {writer} of the {wrote} schema"
            ),
            Cause::TooLarge => "the schemas are too large to be compared".to_owned(),
        }
    }
}
