//! Options apart from each other, and the escapes of their values.

use crate::failure::{Failure, Result};

/// An option: its name and its raw value, in which escapes still stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

impl Item {
    /// The value of an option that needs one.
    pub(super) fn required(&self) -> Result<&[u8]> {
        let missing = || Failure::new(format!("the option {} needs a value: {0}=…", self.key));
        self.value.as_deref().ok_or_else(missing)
    }

    /// Fails for an option that takes no value and has one.
    pub(super) fn without_value(&self) -> Result<()> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("the option {} takes no value", self.key))),
        }
    }
}

/// The options of a string. Empty ones, as a trailing comma leaves, are skipped.
pub(super) fn items(string: &[u8]) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut rest = string;
    while !rest.is_empty() {
        let (item, tail) = match quoted(rest)? {
            Some(found) => found,
            None => plain(rest),
        };
        items.extend(item);
        rest = tail;
    }
    Ok(items)
}

/// What an item or a rest of the string is split into.
type Split<'a> = (Option<Item>, &'a [u8]);

/// An option whose value is in quotes, up to the comma behind it.
fn quoted(rest: &[u8]) -> Result<Option<Split<'_>>> {
    let Some(at) = rest.windows(2).position(|pair| pair == b"=\"") else { return Ok(None) };
    if rest[..at].contains(&b',') || rest[..at].contains(&b'=') {
        return Ok(None);
    }
    let key = String::from_utf8_lossy(&rest[..at]).into_owned();
    let value = &rest[at + 2..];
    let end = value.iter().position(|b| *b == b'"');
    match end.map(|end| (&value[..end], &value[end + 1..])) {
        Some((value, [])) => Ok(Some((Some(Item { key, value: Some(value.into()) }), b""))),
        Some((value, [b',', tail @ ..])) => Ok(Some((Some(Item { key, value: Some(value.into()) }), tail))),
        _ => Err(Failure::new(format!(
            "the value of the option {key} has a quote that is not closed at its end"
        ))),
    }
}

/// An option up to the next comma that no backslash escapes.
fn plain(rest: &[u8]) -> Split<'_> {
    let mut end = 0;
    while end < rest.len() && rest[end] != b',' {
        end += if rest[end] == b'\\' { 2 } else { 1 };
    }
    let end = end.min(rest.len());
    (item(&rest[..end]), rest.get(end + 1..).unwrap_or_default())
}

fn item(text: &[u8]) -> Option<Item> {
    if text.is_empty() {
        return None;
    }
    let equals = text.iter().position(|b| *b == b'=');
    let (key, value) = equals.map_or((text, None), |at| (&text[..at], Some(text[at + 1..].to_vec())));
    Some(Item { key: String::from_utf8_lossy(key).into_owned(), value })
}

/// A value without its escapes.
pub(super) fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, tail)) = next(rest) {
        out.push(byte);
        rest = tail;
    }
    out
}

/// The first byte of a value and what follows: `\040` is a byte in octal, `\x` is `x`, and a backslash at the very
/// end stands for itself.
pub(super) fn next(value: &[u8]) -> Option<(u8, &[u8])> {
    match value {
        [] => None,
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
            Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail))
        }
        [b'\\', byte, tail @ ..] | [byte, tail @ ..] => Some((*byte, tail)),
    }
}

/// A value of `lowerdir+`, in which a backslash is an ordinary character but for the comma that `-o` itself needs.
pub(super) fn unescape_commas(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        if *byte == b',' && out.last() == Some(&b'\\') {
            out.pop();
        }
        out.push(*byte);
    }
    out
}
