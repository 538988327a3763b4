//! Numbers in their one form: `#`, the digits without zeros at either end, `e`, the power of ten, `;`.

use std::io::Write;

/// Farthest power of ten that a text may have: far beyond any number a database or a double holds.
const EXPONENT_MAX: i64 = 1_000_000;

/// Zero, of either sign.
const ZERO: &[u8] = b"#0e0;";

/// `digits` × 10^`exponent`.
pub(super) fn put_whole(digits: i128, exponent: i64, out: &mut Vec<u8>) {
    if digits == 0 {
        return out.extend_from_slice(ZERO);
    }
    let mut buffer = itoa::Buffer::new();
    // Numbers of 128 bits are formatted several times slower.
    let text = match i64::try_from(digits) {
        Ok(small) => buffer.format(small),
        Err(_) => buffer.format(digits),
    };
    let kept = text.trim_end_matches('0');
    let zeros = (text.len() - kept.len()) as i64;
    put(kept.as_bytes(), exponent + zeros, out);
}

/// The shortest digits that are read back as the same double.
pub(super) fn put_double(value: f64, out: &mut Vec<u8>) {
    if value == 0.0 {
        return out.extend_from_slice(ZERO);
    }
    if value.is_nan() {
        return out.extend_from_slice(b"#nan;");
    }
    if value.is_infinite() {
        let word: &[u8] = if value > 0.0 { b"#inf;" } else { b"#-inf;" };
        return out.extend_from_slice(word);
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        // Whole and exact: all its digits are needed, and they are found much faster.
        return put_whole(value as i128, 0, out);
    }
    let mut shown = [0_u8; 32];
    let mut rest = &mut shown[..];
    // At most a sign, 17 digits, a point, and "e-308".
    let written = write!(rest, "{value:e}");
    debug_assert!(written.is_ok());
    let left = rest.len();
    let shown = &shown[..32 - left];
    let text = std::str::from_utf8(shown).unwrap_or_default();
    put_text(text, out);
}

/// A decimal text: `-12.340e5`, `NaN`, `Infinity`. False, and nothing written, if it is no number.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) -> bool {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    match digits {
        b"NaN" | b"nan" if !negative => return put_word(b"#nan;", out),
        b"Infinity" | b"inf" if negative => return put_word(b"#-inf;", out),
        b"Infinity" | b"inf" => return put_word(b"#inf;", out),
        _ => {}
    }
    let Some((whole, fraction, power)) = parts(digits) else {
        return false;
    };
    let start = out.len();
    out.extend_from_slice(if negative { b"#-" } else { b"#" });
    let sign_end = out.len();
    let leading = [whole, fraction].into_iter().flatten();
    out.extend(leading.skip_while(|digit| **digit == b'0'));
    let mut exponent = power - fraction.len() as i64;
    while out.len() > sign_end && out.last() == Some(&b'0') {
        out.pop();
        exponent += 1;
    }
    if out.len() == sign_end {
        out.truncate(start);
        return put_word(ZERO, out);
    }
    out.push(b'e');
    put_count(exponent, out);
    true
}

/// A count as its digits and `;`.
pub(super) fn put_count(count: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.push(b';');
}

fn put(digits: &[u8], exponent: i64, out: &mut Vec<u8>) {
    out.push(b'#');
    out.extend_from_slice(digits);
    out.push(b'e');
    put_count(exponent, out);
}

fn put_word(word: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(word);
    true
}

/// Digits before and after the point, and the power of ten behind `e`.
fn parts(text: &[u8]) -> Option<(&[u8], &[u8], i64)> {
    let e = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (number, power) = match e {
        None => (text, 0),
        Some(at) => {
            let power = std::str::from_utf8(&text[at + 1..]).ok()?;
            (&text[..at], power.parse::<i64>().ok()?)
        }
    };
    let point = number.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        None => (number, &[][..]),
        Some(at) => (&number[..at], &number[at + 1..]),
    };
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let some = !whole.is_empty() || !fraction.is_empty();
    (some && digits(whole) && digits(fraction) && power.abs() <= EXPONENT_MAX)
        .then_some((whole, fraction, power))
}
