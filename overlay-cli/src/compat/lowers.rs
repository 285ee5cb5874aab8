//! The value of `lowerdir`: layers apart from each other.

use super::split;
use crate::failure::{Failure, Result};

/// The layers of a `lowerdir` value, without escapes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// The layers that are merged, topmost first.
    pub(super) lowers: Vec<Vec<u8>>,
    /// Those behind `::`, which hold data for files of the others and are not merged.
    pub(super) data: Vec<Vec<u8>>,
}

/// Takes the value of `lowerdir` apart: `A:B` are merged, `A:B::C::D` look for data in C and D.
pub(super) fn split(value: &[u8]) -> Result<Split> {
    sort(colons(value))
}

/// What stands between the colons.
fn colons(value: &[u8]) -> Vec<Vec<u8>> {
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut item = Vec::new();
    let mut rest = value;
    while let Some((byte, tail)) = split::next(rest) {
        if rest[0] != b':' {
            item.push(byte);
            rest = tail;
            continue;
        }
        let url = url_part(&item, rest);
        if url.is_empty() {
            done.push(std::mem::take(&mut item));
            rest = tail;
        } else {
            item.extend_from_slice(url);
            rest = &rest[url.len()..];
        }
    }
    done.push(item);
    done
}

/// Where `rest` begins with a colon: what of it belongs to a URL that `item` has begun, be it the layer's own or
/// the value of one of its options. Empty if the colon separates.
fn url_part<'a>(item: &[u8], rest: &'a [u8]) -> &'a [u8] {
    let Some(scheme) = rest.starts_with(b"://").then(|| scheme(item)).flatten() else { return b"" };
    // Only a web address has a port; behind s3://bucket a colon can but separate.
    let is_web = matches!(scheme.to_ascii_lowercase().as_slice(), b"http" | b"https");
    &rest[..3 + if is_web { host_and_port(&rest[3..]) } else { 0 }]
}

/// The scheme that `item` ends with, if a URL may begin there: at its start, or behind an option's `=`.
fn scheme(item: &[u8]) -> Option<&[u8]> {
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let start = item.iter().rposition(|b| !legal(b)).map_or(0, |at| at + 1);
    let in_option = start > 0 && item[start - 1] == b'=' && item.windows(3).any(|w| w == b"://");
    let scheme = &item[start..];
    ((start == 0 || in_option) && scheme.first().is_some_and(u8::is_ascii_alphabetic)).then_some(scheme)
}

/// How many bytes a host and its port take; the host may be an IPv6 address in brackets.
fn host_and_port(rest: &[u8]) -> usize {
    let bracket = rest.starts_with(b"[").then(|| rest.iter().position(|b| *b == b']')).flatten();
    let from = bracket.unwrap_or(0);
    let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'&' | b':' | b'\\');
    let host = from + rest[from..].iter().position(is_end).unwrap_or(rest.len() - from);
    let Some(port) = rest[host..].strip_prefix(b":") else { return host };
    let digits = port.iter().take_while(|b| b.is_ascii_digit()).count();
    let ended = port.get(digits).is_none_or(is_end);
    if digits > 0 && ended { host + 1 + digits } else { host }
}

/// An empty item between two others is a double colon.
fn sort(items: Vec<Vec<u8>>) -> Result<Split> {
    if items.iter().all(Vec::is_empty) && items.len() == 1 {
        return Err(Failure::new("the option lowerdir is empty"));
    }
    if items.first().is_some_and(Vec::is_empty) || items.last().is_some_and(Vec::is_empty) {
        return Err(Failure::new("the option lowerdir begins or ends with a colon"));
    }
    let mut split = Split::default();
    let mut doubled = false;
    for item in items {
        match (item.is_empty(), doubled) {
            (true, true) => {
                return Err(Failure::new("the option lowerdir has more than two colons in a row"));
            }
            (true, false) => doubled = true,
            (false, true) => {
                split.data.push(item);
                doubled = false;
            }
            (false, false) if split.data.is_empty() => split.lowers.push(item),
            (false, false) => {
                let sentence = "in the option lowerdir each layer behind a double colon needs one of its own";
                return Err(Failure::new(sentence));
            }
        }
    }
    Ok(split)
}
