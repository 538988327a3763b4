//! Arrays of one dimension.

use std::borrow::Cow;

use super::{Kind, ValueError, put, put_length};

/// Appends the items of `{1,NULL,"a \"text\""}` as an Avro array of nullable items. An array of more
/// dimensions, or one that does not count from 1, has no such form.
pub(super) fn put_array(item: &Kind, text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let wrong = || ValueError::new(text, "an array of one dimension that counts from 1");
    let inner = text
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
        .ok_or_else(wrong)?;
    let mut items = Vec::new();
    let mut count = 0;
    let mut rest = inner;
    while !inner.is_empty() {
        let (value, after) = split_item(rest).ok_or_else(wrong)?;
        match value {
            None => items.push(0),
            Some(value) => {
                items.push(2);
                put(item, &value, &mut items)?;
            }
        }
        count += 1;
        match after {
            [] => break,
            [b',', after @ ..] => rest = after,
            _ => return Err(wrong()),
        }
    }
    if count > 0 {
        put_length(count, out);
        out.extend_from_slice(&items);
    }
    out.push(0);
    Ok(())
}

/// An item, none for null, and what follows it.
type Split<'a> = (Option<Cow<'a, [u8]>>, &'a [u8]);

/// The first item; nothing if there is none.
fn split_item(text: &[u8]) -> Option<Split<'_>> {
    if let [b'"', quoted @ ..] = text {
        return split_quoted(quoted);
    }
    let end = text.iter().position(|byte| *byte == b',');
    let (item, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    match item {
        [] => None,
        b"NULL" => Some((None, rest)),
        _ if item.iter().any(|byte| b"{}\"\\".contains(byte)) => None,
        _ => Some((Some(Cow::Borrowed(item)), rest)),
    }
}

fn split_quoted(text: &[u8]) -> Option<Split<'_>> {
    let plain = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let (head, mut rest) = text.split_at_checked(plain)?;
    let mut item = Cow::Borrowed(head);
    loop {
        match rest {
            [b'"', rest @ ..] => return Some((Some(item), rest)),
            [b'\\', escaped, after @ ..] => {
                item.to_mut().push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                item.to_mut().push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}
