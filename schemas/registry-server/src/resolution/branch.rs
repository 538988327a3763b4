//! Unions: of the writer's every branch must be readable, of the reader's one must read.

use apache_avro::Schema;

use super::shape::Shape;
use super::{FOUND_MAX, Resolution, defined};
use crate::incompatibility::Cause;

impl<'s> Resolution<'s> {
    /// Every branch of a writer's union must be readable.
    pub(super) fn compare_branches(&mut self, reader: &'s Schema, branches: &'s [Schema]) -> bool {
        let mut fits = true;
        for branch in branches {
            fits &= self.compare(reader, branch);
        }
        fits
    }

    /// Some branch of a reader's union must read the writer's type.
    pub(super) fn find_branch(&mut self, branches: &'s [Schema], writer: &'s Schema) -> bool {
        let word = Shape::of(defined(self.writer_names, writer)).word();
        let found_before = self.found.len();
        let mut closest = None;
        for (position, branch) in branches.iter().enumerate() {
            if self.at(position.to_string(), |this| this.compare(branch, writer)) {
                self.found.truncate(found_before);
                return true;
            }
            let tried = self.found.split_off(found_before.min(self.found.len()));
            let is_of_the_kind = Shape::of(defined(self.reader_names, branch)).word() == word;
            if is_of_the_kind {
                closest = Some(tried);
            }
        }
        match closest {
            // The same type by name: what is wrong inside it says more than that nothing fits.
            Some(tried) if !tried.is_empty() => {
                self.found.extend(tried);
                self.found.truncate(FOUND_MAX);
                false
            }
            _ => self.report(Cause::Branch { writer: word }),
        }
    }
}
