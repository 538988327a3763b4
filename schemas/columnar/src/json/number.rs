//! JSON numbers, exactly.

use super::reader::Reader;
use crate::error::{Fault, truncated};

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// A number as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    text: &'a str,
    negative: bool,
    /// The digits before the exponent as one number, if there are at most 18.
    digits: u64,
    count: usize,
    fraction: usize,
    exponent: bool,
}

impl<'a> Reader<'a> {
    /// Takes a number.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number<'a>, Fault> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let first = self.at;
        let mut digits = self.digits(0)?;
        let mut count = self.at - first;
        if count > 1 && self.bytes().get(first) == Some(&b'0') {
            return Err(self.error("a number with a leading zero"));
        }
        let mut fraction = 0;
        if self.peek() == Some(b'.') {
            self.at += 1;
            let first = self.at;
            digits = self.digits(digits)?;
            fraction = self.at - first;
            count += fraction;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits(0)?;
        }
        let text = self.since(start)?;
        Ok(Number {
            text,
            negative,
            digits,
            count,
            fraction,
            exponent,
        })
    }

    /// Takes at least one digit.
    #[inline]
    fn digits(&mut self, before: u64) -> Result<u64, Fault> {
        let start = self.at;
        let mut value = before;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            self.at += 1;
        }
        if self.at > start {
            return Ok(value);
        }
        Err(if self.peek().is_none() {
            truncated(self.at)
        } else {
            self.error("expected a digit")
        })
    }
}

impl<'a> Number<'a> {
    /// The number as it was written.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The number if it is whole and has 64 bits: `3`, `3.0` and `3e2`, but not `3.5`.
    #[inline]
    pub(crate) fn long(&self) -> Option<i64> {
        if self.fraction == 0 && !self.exponent && self.count <= 18 {
            let value = self.digits.cast_signed();
            return Some(if self.negative { -value } else { value });
        }
        self.long_slowly()
    }

    fn long_slowly(&self) -> Option<i64> {
        let mantissa = self.text.split(['e', 'E']).next()?;
        let exponent: i64 = match self.text.get(mantissa.len() + 1..) {
            // An exponent beyond an i64 makes any number but zero too large or broken.
            Some(exponent) => exponent.parse().unwrap_or(i64::from(i32::MAX)),
            None => 0,
        };
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() {
            return Some(0);
        }
        let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
        let fraction = i64::try_from(self.fraction).ok()?;
        let zeros = exponent.checked_sub(fraction)?.checked_add(dropped)?;
        let zeros = u32::try_from(zeros).ok().filter(|zeros| *zeros <= 18)?;
        let value = significant
            .parse::<i128>()
            .ok()?
            .checked_mul(10_i128.checked_pow(zeros)?)?;
        i64::try_from(if self.negative { -value } else { value }).ok()
    }

    /// The 32-bit number nearest to the number, if there is a finite one.
    pub(crate) fn float(&self) -> Option<f32> {
        let value = self.text.parse().ok();
        value.filter(|value: &f32| value.is_finite())
    }

    /// The double nearest to the number, if there is a finite one. A whole number beyond what doubles
    /// count must be one that a double stands for: its own value, or the digits it is written in.
    #[inline]
    pub(crate) fn double(&self) -> Option<f64> {
        // Both operands are exact, so the quotient is the nearest double.
        if !self.exponent
            && self.count <= 15
            && let Some(power) = POWERS.get(self.fraction)
        {
            #[expect(clippy::cast_precision_loss, reason = "15 digits fit in 53 bits")]
            let value = self.digits as f64 / power;
            return Some(if self.negative { -value } else { value });
        }
        let value: f64 = self.text.parse().ok()?;
        let is_whole = self.fraction == 0 && !self.exponent;
        (value.is_finite() && (!is_whole || self.stands_for(value))).then_some(value)
    }

    fn stands_for(&self, value: f64) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "too large is not equal")]
        let is_exact = || self.text.parse::<i128>() == Ok(value as i128);
        is_exact() || self.text == value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(json: &str) -> Option<Number<'_>> {
        let mut reader = Reader::new(json.as_bytes()).ok()?;
        let number = reader.number().ok()?;
        reader.end().ok().map(|()| number)
    }

    #[test]
    fn the_grammar_is_that_of_json() {
        for json in [
            "0", "-0", "01", "-", "1.", ".5", "1.5", "1e", "1e+", "1E-2", "+1", "1.5e3", "--1",
            "1e5x", "00", "-01",
        ] {
            let expected = serde_json::from_str::<serde_json::Number>(json).is_ok();
            assert_eq!(number(json).is_some(), expected, "{json}");
        }
    }

    #[test]
    fn a_long_is_exact_or_refused() {
        let long = |json| number(json).unwrap().long();
        assert_eq!(long("9223372036854775807"), Some(i64::MAX));
        assert_eq!(long("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(long("9223372036854775808"), None);
        assert_eq!(long("3.0"), Some(3));
        assert_eq!(long("-0.0"), Some(0));
        assert_eq!(long("0e999999999999999999999"), Some(0));
        assert_eq!(long("1.25e2"), Some(125));
        assert_eq!(long("1200e-2"), Some(12));
        assert_eq!(long("1.5"), None);
        assert_eq!(long("9007199254740991.4"), None);
        assert_eq!(long("9007199254740993.0"), Some(9_007_199_254_740_993));
        assert_eq!(long("1e19"), None);
        assert_eq!(long("1e99999999999999999999999"), None);
        assert_eq!(
            long("1000000000000000000000e-5"),
            Some(10_000_000_000_000_000)
        );
    }

    #[test]
    fn a_whole_number_is_not_rounded_into_a_double() {
        let double = |json| number(json).unwrap().double();
        assert_eq!(double("9007199254740992"), Some(9_007_199_254_740_992.0));
        assert_eq!(double("-9007199254740993"), None);
        assert_eq!(double("123456789012345678"), None);
        // As other languages write the double nearest to it.
        assert_eq!(
            double("123456789012345680"),
            Some(123_456_789_012_345_680.0)
        );
        assert_eq!(double("1152921504606846976"), Some(2_f64.powi(60)));
        assert_eq!(double("9007199254740993.0"), Some(9_007_199_254_740_992.0));
    }

    proptest! {
        #[test]
        fn a_double_is_the_nearest(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            prop_assert_eq!(number(&format!("{value:e}")).unwrap().double(), Some(value));
            prop_assert_eq!(number(&format!("{value:?}")).unwrap().double(), Some(value));
        }

        #[test]
        fn a_short_decimal_is_the_nearest(digits in 0_u64..1_000_000_000_000_000, places in 0_usize..15) {
            let text = format!("{digits:016}");
            let (whole, fraction) = text.split_at(16 - places - 1);
            let whole = whole.trim_start_matches('0');
            let text = format!("-{}.{fraction}", if whole.is_empty() { "0" } else { whole });
            prop_assert_eq!(number(&text).unwrap().double(), text.parse::<f64>().ok());
        }

        #[test]
        fn every_long_is_read(value in any::<i64>()) {
            prop_assert_eq!(number(&value.to_string()).unwrap().long(), Some(value));
        }
    }
}
