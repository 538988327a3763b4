//! Decimals: bytes, digits and text.

use crate::error::{Fault, type_mismatch};

/// Most bytes of a decimal that is held as text, and most places that its point is moved: what is
/// larger is no number that anybody meant.
const BYTES_MAX: usize = 1024;
const PLACES_MAX: u32 = 2048;

/// How a writer's decimals fill a column of decimals.
#[derive(Clone, Debug)]
pub(crate) struct DecimalRead {
    /// What its digits are multiplied with, to have as many after the point as the column's.
    factor: i128,
    /// The column's digits are below this.
    limit: i128,
    precision: u8,
    scale: u8,
}

impl DecimalRead {
    /// For a column of `precision` and `scale`; the writer's scale is not larger.
    pub(crate) fn new(precision: u8, scale: u8, writer_scale: u32) -> Option<Self> {
        let power = |places: u32| 10_i128.checked_pow(places);
        Some(Self {
            factor: power(u32::from(scale).checked_sub(writer_scale)?)?,
            limit: power(precision.into())?,
            precision,
            scale,
        })
    }

    /// The column's digits for the writer's digits, which are a number in two's complement, big
    /// endian.
    pub(crate) fn of_bytes(&self, bytes: &[u8], field: &str) -> Result<i128, Fault> {
        let digits = whole(bytes).and_then(|digits| digits.checked_mul(self.factor));
        let digits = digits.filter(|digits| digits.unsigned_abs() < self.limit.unsigned_abs());
        digits.ok_or_else(|| self.too_large(field))
    }

    /// The column's digits for a number as it is written, if they are exactly that number.
    pub(crate) fn of_text(&self, text: &str) -> Option<i128> {
        let digits = digits_at(text, self.scale.into())?;
        (digits.unsigned_abs() < self.limit.unsigned_abs()).then_some(digits)
    }

    #[cold]
    fn too_large(&self, field: &str) -> Fault {
        let found = format!(
            "a number that decimal({}, {}) does not hold",
            self.precision, self.scale
        );
        type_mismatch(field, "decimal", found)
    }
}

/// The digits of a number in JSON's grammar (or with a leading `+`), with so many after the point,
/// if that is the number exactly.
fn digits_at(text: &str, scale: i64) -> Option<i128> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let significant = whole.trim_start_matches('0');
    let all = format!("{significant}{fraction}");
    let trimmed = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - trimmed.len()).ok()?;
    if trimmed.is_empty() {
        return Some(0);
    }
    let fraction = i64::try_from(fraction.len()).ok()?;
    let places = exponent
        .checked_sub(fraction)?
        .checked_add(dropped)?
        .checked_add(scale)?;
    let power = 10_i128.checked_pow(u32::try_from(places).ok()?)?;
    let digits = trimmed.parse::<i128>().ok()?.checked_mul(power)?;
    Some(if negative { -digits } else { digits })
}

/// A number in two's complement, big endian, if it has at most 128 bits.
fn whole(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let (extension, low) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut value = [fill; 16];
    value.get_mut(16 - low.len()..)?.copy_from_slice(low);
    let value = i128::from_be_bytes(value);
    let is_extension = extension.iter().all(|byte| *byte == fill) && (value < 0) == negative;
    is_extension.then_some(value)
}

/// The plain digits of a decimal of any size, with `scale` of them after the point (a negative
/// scale appends zeros): `-12.50`. Nothing if it is larger than any number that was meant.
pub(crate) fn decimal_text(bytes: &[u8], scale: i64) -> Option<String> {
    let places = u32::try_from(scale.unsigned_abs()).ok()?;
    if bytes.len() > BYTES_MAX || places > PLACES_MAX {
        return None;
    }
    let (negative, mut digits) = match whole(bytes) {
        Some(value) => (value < 0, value.unsigned_abs().to_string()),
        None => long_digits(bytes),
    };
    let places = usize::try_from(places).ok()?;
    if scale < 0 {
        if digits != "0" {
            digits.extend(std::iter::repeat_n('0', places));
        }
    } else if scale > 0 {
        if digits.len() <= places {
            digits.insert_str(0, &"0".repeat(places + 1 - digits.len()));
        }
        digits.insert(digits.len() - places, '.');
    }
    if negative {
        digits.insert(0, '-');
    }
    Some(digits)
}

/// The sign and the decimal digits of a number in two's complement of any length.
fn long_digits(bytes: &[u8]) -> (bool, String) {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (negated, overflow) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (negated, overflow);
        }
    }
    let mut groups = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut magnitude {
            rest = rest << 8 | u64::from(*byte);
            // The quotient of a rest below 10^9 with one more byte has at most 8 bits.
            *byte = u8::try_from(rest / 1_000_000_000).unwrap_or(u8::MAX);
            rest %= 1_000_000_000;
        }
        groups.push(rest);
    }
    let mut text = groups
        .pop()
        .map_or("0".to_owned(), |group| group.to_string());
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    (negative, text)
}

#[cfg(test)]
mod tests {
    use apache_avro::BigDecimal;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_held_exactly_or_not_at_all() {
        let read = DecimalRead::new(5, 2, 2).unwrap();
        for (text, digits) in [
            ("1", Some(100)),
            ("-1.5", Some(-150)),
            ("+0.10", Some(10)),
            ("1.230", Some(123)),
            ("1.234", None),
            ("999.99", Some(99_999)),
            ("1000", None),
            ("1e2", Some(10_000)),
            ("1.25e1", Some(1_250)),
            ("125e-2", Some(125)),
            ("1e-3", None),
            ("0e999999999999999999", Some(0)),
            ("1e999999999999999999", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("0x1", None),
            ("-", None),
        ] {
            assert_eq!(read.of_text(text), digits, "{text:?}");
        }
    }

    #[test]
    fn bytes_of_any_length_are_a_number() {
        let read = DecimalRead::new(10, 3, 1).unwrap();
        assert_eq!(read.of_bytes(&[0xff, 0xff, 0x85], "a"), Ok(-12_300));
        assert_eq!(read.of_bytes(&[], "a"), Ok(0));
        let mut long = vec![0; 40];
        long.push(7);
        assert_eq!(read.of_bytes(&long, "a"), Ok(700));
        assert!(read.of_bytes(&[0x7f; 17], "a").is_err());
        assert!(read.of_bytes(&[0x7f; 6], "a").is_err());
        let mut wrong = vec![0; 1];
        wrong.extend([0x80; 16]);
        assert_eq!(whole(&wrong), None);
    }

    #[test]
    fn a_decimal_of_any_size_has_its_text() {
        for (bytes, scale, text) in [
            (&[][..], 0, "0"),
            (&[123], 2, "1.23"),
            (&[0xff], 3, "-0.001"),
            (&[12], -3, "12000"),
            (&[0], 2, "0.00"),
            (&[1], 0, "1"),
        ] {
            assert_eq!(decimal_text(bytes, scale).as_deref(), Some(text));
        }
        assert_eq!(decimal_text(&[1], i64::from(i32::MAX)), None);
        assert_eq!(decimal_text(&[1; 2000], 0), None);
    }

    proptest! {
        #[test]
        fn texts_are_those_of_big_numbers(whole in "-?[1-9][0-9]{0,120}", scale in 0_i64..30) {
            let number: BigDecimal = whole.parse().unwrap();
            let bytes = number.into_bigint_and_exponent().0.to_signed_bytes_be();
            let digits = whole.trim_start_matches('-');
            let places = usize::try_from(scale).unwrap();
            let padded = format!("{}{digits}", "0".repeat((places + 1).saturating_sub(digits.len())));
            let (before, after) = padded.split_at(padded.len() - places);
            let sign = if whole.starts_with('-') { "-" } else { "" };
            let point = if places == 0 { "" } else { "." };
            prop_assert_eq!(decimal_text(&bytes, scale).unwrap(), format!("{sign}{before}{point}{after}"));
        }
    }
}
