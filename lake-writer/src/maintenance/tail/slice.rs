//! A part of all keys, by their hash.

use lake_store::bucket_of;

/// The keys whose hash is `remainder` modulo `modulus`, a power of two. A table with at least
/// `modulus` buckets, a power of two as well, has every key of a bucket in one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    modulus: u32,
    remainder: u32,
}

impl Slice {
    /// All keys.
    pub(crate) const ALL: Self = Self {
        modulus: 1,
        remainder: 0,
    };

    pub(crate) fn modulus(self) -> u32 {
        self.modulus
    }

    pub(crate) fn has(self, hash: u32) -> bool {
        bucket_of(hash, self.modulus) == self.remainder
    }

    /// The buckets that are in it, of a table that has so many.
    pub(crate) fn buckets(self, of: u32) -> impl Iterator<Item = u32> {
        (0..of).filter(move |bucket| bucket % self.modulus == self.remainder)
    }

    pub(crate) fn halves(self) -> (Self, Self) {
        let half = |remainder| Self {
            modulus: self.modulus * 2,
            remainder,
        };
        (half(self.remainder), half(self.remainder + self.modulus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_whole_and_share_no_bucket() {
        let (a, b) = Slice::ALL.halves();
        let (c, d) = b.halves();
        for hash in (0..10_000_u32).map(|number| number.wrapping_mul(0x9e37_79b9)) {
            let found = [a, c, d].iter().filter(|slice| slice.has(hash)).count();
            assert_eq!(found, 1, "{hash}");
            let bucket = bucket_of(hash, 8);
            let of_bucket = [a, c, d]
                .into_iter()
                .filter(|slice| slice.buckets(8).any(|one| one == bucket));
            assert!(of_bucket.into_iter().all(|slice| slice.has(hash)));
        }
        assert_eq!(d.buckets(8).collect::<Vec<_>>(), [3, 7]);
    }
}
