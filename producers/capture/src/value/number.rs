//! Numbers.

use std::str::FromStr;

use super::{ValueError, put_length};

/// Digits that a whole number of 128 bits always has room for.
const DIGITS_MAX: usize = 38;

/// A whole number in the type's range.
pub(super) fn whole<N: FromStr>(text: &[u8], kind: &'static str) -> Result<N, ValueError> {
    let number = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| ValueError::new(text, kind))
}

/// A floating-point number; Postgres writes as many digits as bring the same number back.
pub(super) fn float<N: FromStr>(text: &[u8]) -> Result<N, ValueError> {
    whole(text, "a floating-point number")
}

/// Appends a decimal as Avro does: its digits as one whole number, big endian, in as few bytes as it
/// takes, with their length before them.
pub(super) fn put_decimal(text: &[u8], scale: u32, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let unscaled = unscaled(text, scale)
        .ok_or_else(|| ValueError::new(text, "a decimal of the column's precision and scale"))?;
    let bytes = unscaled.to_be_bytes();
    let sign = if unscaled < 0 { 0xFF } else { 0 };
    // A byte of nothing but sign is left out while the next one still shows it.
    let spare = bytes
        .windows(2)
        .take_while(
            |pair| matches!(pair, [first, second] if *first == sign && (second ^ sign) < 0x80),
        )
        .count();
    let bytes = bytes.get(spare..).unwrap_or_default();
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
    Ok(())
}

/// The digits as a whole number with `scale` of them after the point; nothing if it is not a number
/// (`NaN`, `Infinity`) or would lose a digit.
fn unscaled(text: &[u8], scale: u32) -> Option<i128> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let mut number: i128 = 0;
    let mut count = 0;
    let mut after_point: Option<u32> = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                number = number.checked_mul(10)?.checked_add((byte - b'0').into())?;
                count += 1;
                after_point = after_point.map(|places| places + 1);
            }
            b'.' if after_point.is_none() => after_point = Some(0),
            _ => return None,
        }
    }
    let missing = scale.checked_sub(after_point.unwrap_or(0))?;
    if count == 0 || count + missing as usize > DIGITS_MAX + 1 {
        return None;
    }
    let number = number.checked_mul(10_i128.checked_pow(missing)?)?;
    Some(if negative { -number } else { number })
}
