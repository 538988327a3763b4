//! How many columns few bytes may fill.

use schemas::FieldType;

use crate::error::{Fault, invalid};

/// How many columns the items of one array may fill that their bytes say nothing of. An item may
/// take a byte and be null, or lack what its writer does not know, and its record may have
/// thousands of columns: without a limit a small record could fill all memory.
const UNSAID_MAX: usize = 1 << 24;

/// What the items of an array may still fill.
#[derive(Debug)]
pub(crate) struct Budget {
    width: usize,
    left: usize,
}

impl Budget {
    /// For items that fill so many columns each.
    #[inline]
    pub(crate) fn new(width: usize) -> Self {
        Self {
            width,
            left: UNSAID_MAX,
        }
    }

    /// Notes an item of so many bytes: one that has a byte for each column is free.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes < self.width {
            let left = self.left.checked_sub(self.width);
            self.left = left.ok_or_else(|| self.spent())?;
        }
        Ok(())
    }

    #[cold]
    fn spent(&self) -> Fault {
        invalid(format!(
            "an array has too many items that fill {} columns each with fewer bytes",
            self.width
        ))
    }
}

/// How many columns a value of this type fills.
pub(crate) fn width(field_type: &FieldType) -> usize {
    match field_type {
        FieldType::Record(fields) => {
            let fields = fields.iter().map(|field| width(&field.field_type));
            1 + fields.sum::<usize>()
        }
        _ => 1,
    }
}
