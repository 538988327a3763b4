//! Canonical bytes as people read them.

/// A canonical value as JSON, for messages; dates and instants as texts.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    match put(&mut rest, &mut out) {
        Some(()) if rest.is_empty() => out,
        // Never of bytes that were written canonically.
        _ => bytes.escape_ascii().to_string(),
    }
}

fn put(rest: &mut &[u8], out: &mut String) -> Option<()> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    match tag {
        b'n' => out.push_str("null"),
        b't' => out.push_str("true"),
        b'f' => out.push_str("false"),
        b'#' => out.push_str(&number(until_semicolon(rest)?)),
        b'd' => out.push_str(&day(until_semicolon(rest)?.parse().ok()?)),
        b'i' => out.push_str(&instant(until_semicolon(rest)?.parse().ok()?)),
        b's' => out.push_str(&quoted(sized(rest)?)),
        b'b' => {
            let hex = sized(rest)?.iter().map(|byte| format!("{byte:02x}"));
            out.push_str(&format!("\"{}\"", hex.collect::<String>()));
        }
        b'{' => members(rest, b'}', out)?,
        b'<' => members(rest, b'>', out)?,
        b'[' => {
            out.push('[');
            while rest.first()? != &b']' {
                if !out.ends_with('[') {
                    out.push(',');
                }
                put(rest, out)?;
            }
            *rest = &rest[1..];
            out.push(']');
        }
        _ => return None,
    }
    Some(())
}

fn members(rest: &mut &[u8], end: u8, out: &mut String) -> Option<()> {
    out.push('{');
    let mut comma = "";
    loop {
        let (tag, after) = rest.split_first()?;
        *rest = after;
        if *tag == end {
            break;
        }
        out.push_str(comma);
        out.push_str(&quoted(sized(rest)?));
        out.push(':');
        put(rest, out)?;
        comma = ",";
    }
    out.push('}');
    Some(())
}

fn until_semicolon<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|byte| *byte == b';')?;
    let (text, after) = rest.split_at(end);
    *rest = &after[1..];
    std::str::from_utf8(text).ok()
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn quoted(text: &[u8]) -> String {
    serde_json::Value::from(String::from_utf8_lossy(text)).to_string()
}

/// Digits and power of ten as a plain number where that is short.
fn number(canonical: &str) -> String {
    let plain = || {
        let (digits, power) = canonical.split_once('e')?;
        let power: i64 = power.parse().ok()?;
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", digits),
        };
        let length = digits.len() as i64;
        match power {
            0..20 => Some(format!("{sign}{digits}{}", "0".repeat(power as usize))),
            -20..0 if length > -power => {
                let (whole, fraction) = digits.split_at((length + power) as usize);
                Some(format!("{sign}{whole}.{fraction}"))
            }
            -20..0 => {
                let width = power.unsigned_abs() as usize;
                Some(format!("{sign}0.{digits:0>width$}"))
            }
            _ => None,
        }
    };
    plain().unwrap_or_else(|| canonical.to_owned())
}

/// A day counted from 1970-01-01.
fn day(days: i64) -> String {
    let (year, month, day) = civil(days);
    format!("\"{year:04}-{month:02}-{day:02}\"")
}

/// Microseconds since 1970-01-01 UTC.
fn instant(micros: i64) -> String {
    let (days, micros) = (
        micros.div_euclid(86_400_000_000),
        micros.rem_euclid(86_400_000_000),
    );
    let (year, month, day) = civil(days);
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z\"")
}

/// Year, month and day of the Gregorian calendar, years counted from March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use schemas::Contract;
    use schemas::canonical::{JsonRow, RowWriter};

    use super::*;

    #[test]
    fn a_key_is_shown_as_json() {
        let contract: Contract = r#"{"type":"record","name":"R","fields":[
            {"name":"id","type":"long"},{"name":"n","type":"double"},{"name":"s","type":"string"},
            {"name":"d","type":{"type":"int","logicalType":"date"}},
            {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"m","type":{"type":"map","values":["null","boolean"]}},
            {"name":"l","type":{"type":"array","items":"int"}},{"name":"b","type":"bytes"}]}"#
            .parse()
            .unwrap();
        let json = r#"{"b":"Af8=","d":"1969-12-31","id":-1200,"l":[1,2],"m":{"x":null,"y":true},"n":-0.0125,"s":"ö\"","t":"2013-01-01T05:02:03.004Z"}"#;
        let mut out = RowWriter::default();
        JsonRow::new(&contract).write(json, &mut out).unwrap();
        assert_eq!(
            shown(out.bytes()),
            r#"{"b":"01ff","d":"1969-12-31","id":-1200,"l":[1,2],"m":{"x":null,"y":true},"n":-0.0125,"s":"ö\"","t":"2013-01-01T05:02:03.004000Z"}"#
        );
        for (number, text) in [
            (1e300, "1e300"),
            (12.5, "12.5"),
            (0.5, "0.5"),
            (f64::NAN, "nan"),
        ] {
            out.clear();
            out.double(number);
            assert_eq!(shown(out.bytes()), text);
        }
        assert_eq!(shown(b"?"), "?");
    }
}
