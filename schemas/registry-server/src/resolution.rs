//! Whether one schema can read everything that another one wrote: Avro's rules of schema resolution.
//!
//! apache-avro's own check is not used: it refuses a named type that one schema defines where the
//! other refers to it, does not know aliases of types, calls a lost enum symbol half compatible,
//! and says neither where nor how often two schemas differ.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{Name, NamesRef, RecordField, RecordSchema, ResolvedSchema};

use crate::incompatibility::{Cause, Incompatibility};

mod branch;
mod shape;

use shape::{Shape, decimal};

/// Reasons that are told of one pair of schemas.
const FOUND_MAX: usize = 20;
/// Pairs of types that are compared before it is given up.
const STEPS_MAX: usize = 1_000_000;
/// Steps of a path before it is given up, so that no schema uses up the stack.
const DEPTH_MAX: usize = 256;

/// Why `reader` cannot read everything that `writer` writes; empty when it can.
///
/// # Errors
/// A schema refers to a type that it does not define.
pub(crate) fn incompatibilities(
    reader: &Schema,
    writer: &Schema,
) -> Result<Vec<Incompatibility>, String> {
    let told = |error: apache_avro::Error| error.to_string();
    let reader_names = ResolvedSchema::new(reader).map_err(told)?;
    let writer_names = ResolvedSchema::new(writer).map_err(told)?;
    let mut resolution = Resolution {
        reader_names: reader_names.get_names(),
        writer_names: writer_names.get_names(),
        known: HashMap::new(),
        order: Vec::new(),
        path: Vec::new(),
        fields: Vec::new(),
        found: Vec::new(),
        steps: 0,
        is_too_large: false,
    };
    let fits = resolution.compare(reader, writer);
    if resolution.is_too_large {
        resolution.found.clear();
    }
    if !fits && resolution.found.is_empty() {
        resolution.report(Cause::TooLarge);
    }
    Ok(resolution.found)
}

/// The full names of two named types.
type Pair = (String, String);

struct Resolution<'s> {
    reader_names: &'s NamesRef<'s>,
    writer_names: &'s NamesRef<'s>,
    /// Whether a pair of named types fits and what is wrong with it; `None` while it is being
    /// compared, which counts as compatible: a recursive type is, unless something else in it is not.
    known: HashMap<Pair, Option<(bool, Vec<Incompatibility>)>>,
    /// The pairs in the order in which they became known.
    order: Vec<Pair>,
    path: Vec<String>,
    fields: Vec<&'s str>,
    found: Vec<Incompatibility>,
    steps: usize,
    is_too_large: bool,
}

impl<'s> Resolution<'s> {
    /// Compares two types and reports what is wrong; whether nothing is.
    fn compare(&mut self, reader: &'s Schema, writer: &'s Schema) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.path.len() > DEPTH_MAX {
            self.is_too_large = true;
            return false;
        }
        let reader = defined(self.reader_names, reader);
        let writer = defined(self.writer_names, writer);
        let shapes = (Shape::of(reader), Shape::of(writer));
        match (shapes.0.names(), shapes.1.names()) {
            (Some((reader_name, _)), Some((writer_name, _))) => {
                let pair = (reader_name.to_string(), writer_name.to_string());
                self.compare_once(pair, |this| this.compare_shapes(reader, writer, shapes))
            }
            _ => self.compare_shapes(reader, writer, shapes),
        }
    }

    /// Compares a pair of named types, unless it is known or being compared.
    fn compare_once(&mut self, pair: Pair, compare: impl FnOnce(&mut Self) -> bool) -> bool {
        match self.known.get(&pair) {
            Some(None) => return true,
            Some(Some((fits, found))) => {
                self.found.extend(found.iter().cloned());
                self.found.truncate(FOUND_MAX);
                return *fits;
            }
            None => {}
        }
        self.known.insert(pair.clone(), None);
        let (known_before, found_before) = (self.order.len(), self.found.len());
        let fits = compare(self);
        let found = self.found.get(found_before..).unwrap_or_default().to_vec();
        if !fits {
            // What was found compatible on the strength of this pair is to be asked again.
            for later in self.order.drain(known_before..) {
                self.known.remove(&later);
            }
        }
        self.known.insert(pair.clone(), Some((fits, found)));
        self.order.push(pair);
        fits
    }

    fn compare_shapes(
        &mut self,
        reader: &'s Schema,
        writer: &'s Schema,
        shapes: (Shape<'s>, Shape<'s>),
    ) -> bool {
        match shapes {
            (_, Shape::Union(branches)) => self.compare_branches(reader, branches),
            (Shape::Union(branches), _) => self.find_branch(branches, writer),
            (Shape::Array(reader), Shape::Array(writer)) => {
                self.at("items", |this| this.compare(reader, writer))
            }
            (Shape::Map(reader), Shape::Map(writer)) => {
                self.at("values", |this| this.compare(reader, writer))
            }
            (Shape::Record(of_reader), Shape::Record(of_writer)) => {
                let named = self.compare_names(shapes);
                self.compare_fields(of_reader, of_writer) && named
            }
            (Shape::Enum(of_reader), Shape::Enum(of_writer)) => {
                let named = self.compare_names(shapes);
                let missing = of_writer.symbols.iter();
                let missing = missing.filter(|symbol| !of_reader.symbols.contains(symbol));
                let missing: Vec<String> = missing.cloned().collect();
                if missing.is_empty() || of_reader.default.is_some() {
                    return named;
                }
                self.report(Cause::Symbols { missing })
            }
            (Shape::Fixed(of_reader), Shape::Fixed(of_writer)) => {
                let named = self.compare_names(shapes);
                if of_reader.size != of_writer.size {
                    let (reader, writer) = (of_reader.size, of_writer.size);
                    return self.report(Cause::Size { reader, writer });
                }
                self.compare_decimals(reader, writer) && named
            }
            (of_reader, of_writer) if of_reader.promotes(of_writer) => {
                self.compare_decimals(reader, writer)
            }
            (of_reader, of_writer) => self.report(Cause::Type {
                reader: of_reader.word(),
                writer: of_writer.word(),
            }),
        }
    }

    fn compare_fields(&mut self, reader: &'s RecordSchema, writer: &'s RecordSchema) -> bool {
        let mut fits = true;
        for (position, field) in reader.fields.iter().enumerate() {
            self.fields.push(&field.name);
            let place = format!("fields/{position}");
            fits &= self.at(place, |this| match written(field, writer) {
                Some(found) => this.at("type", |this| this.compare(&field.schema, &found.schema)),
                None if field.default.is_some() => true,
                None => this.report(Cause::Default),
            });
            self.fields.pop();
        }
        fits
    }

    /// The names without their namespaces, or an alias of the reader's with its namespace.
    fn compare_names(&mut self, shapes: (Shape<'s>, Shape<'s>)) -> bool {
        let (Some((reader, aliases)), Some((writer, _))) = (shapes.0.names(), shapes.1.names())
        else {
            return true;
        };
        if reader.name() == writer.name() || aliases.contains(&writer.to_string()) {
            return true;
        }
        let (reader, writer) = (reader.to_string(), writer.to_string());
        self.at("name", |this| this.report(Cause::Name { reader, writer }))
    }

    fn compare_decimals(&mut self, reader: &'s Schema, writer: &'s Schema) -> bool {
        match (decimal(reader), decimal(writer)) {
            (Some(of_reader), Some(of_writer)) if of_reader != of_writer => {
                let told = |(precision, scale)| format!("decimal({precision}, {scale})");
                self.report(Cause::Type {
                    reader: told(of_reader),
                    writer: told(of_writer),
                })
            }
            _ => true,
        }
    }

    fn at<T>(&mut self, place: impl Into<String>, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(place.into());
        let done = work(self);
        self.path.pop();
        done
    }

    /// Notes what is wrong here. Always false, as the answer of the comparison.
    fn report(&mut self, cause: Cause) -> bool {
        if self.found.len() < FOUND_MAX {
            self.found.push(Incompatibility {
                cause,
                path: format!("/{}", self.path.join("/")),
                field: self.fields.join("."),
            });
        }
        false
    }
}

/// The type that a reference stands for.
fn defined<'s>(names: &'s NamesRef<'s>, schema: &'s Schema) -> &'s Schema {
    let of = |name: &Name| names.get(name).copied();
    match schema {
        Schema::Ref { name } => of(name).unwrap_or(schema),
        _ => schema,
    }
}

/// The writer's field of the reader's name, else of the first alias that the writer has.
fn written<'w>(field: &RecordField, writer: &'w RecordSchema) -> Option<&'w RecordField> {
    let names = std::iter::once(&field.name).chain(&field.aliases);
    names
        .filter_map(|name| writer.fields.iter().find(|found| &found.name == name))
        .next()
}

#[cfg(test)]
mod tests;
