//! How many columns few bytes may fill.

use schemas::{Field, FieldType};

use crate::error::{Fault, invalid};

/// How many columns the items of all arrays and maps of one record may fill that its bytes say
/// nothing of. An item may take a byte and be null, or lack what its writer does not know, and
/// its record may have thousands of columns, or long defaults: without a limit a small record
/// could fill all memory. What may be filled so takes 64 MiB at the most.
const UNSAID_MAX: usize = 1 << 22;

/// What a record's bytes may still fill without saying it.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: UNSAID_MAX }
    }
}

impl Budget {
    /// Notes an item that fills so many columns and has so many bytes: a column with a byte of its
    /// own is free.
    #[inline]
    pub(crate) fn spend(&mut self, width: usize, bytes: usize) -> Result<(), Fault> {
        if bytes < width {
            let left = self.left.checked_sub(width - bytes);
            self.left = left.ok_or_else(|| spent(width))?;
        }
        Ok(())
    }
}

#[cold]
fn spent(width: usize) -> Fault {
    invalid(format!(
        "arrays and maps have too many items that fill {width} columns each with fewer bytes"
    ))
}

/// How many columns a value of this field fills. A default counts as many as it has bytes.
pub(crate) fn width(field: &Field) -> usize {
    match &field.field_type {
        FieldType::Record(fields) => {
            let fields = fields.iter().map(|field| {
                let default = field.default.as_ref().filter(|value| !value.is_null());
                width(field) + default.map_or(0, |value| value.to_string().len())
            });
            1 + fields.sum::<usize>()
        }
        _ => 1,
    }
}
