//! Unions with null.

/// How a value may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// It is no union.
    Never,
    /// A union of one type: a branch index is on the wire.
    Single,
    /// A union whose first branch is null.
    First,
    /// A union whose second branch is null.
    Second,
}
