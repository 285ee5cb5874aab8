//! The value of `lowerdir`: layers apart from each other.

use super::split;
use crate::failure::{Failure, Result};

/// The layers of a `lowerdir` value, topmost first, without escapes.
pub(super) fn split(value: &[u8]) -> Result<Vec<Vec<u8>>> {
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
    check(&done)?;
    Ok(done)
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

fn check(items: &[Vec<u8>]) -> Result<()> {
    let Some(empty) = items.iter().position(Vec::is_empty) else { return Ok(()) };
    let sentence = match items.len() {
        1 => "the option lowerdir is empty",
        count if empty == 0 || empty + 1 == count => "the option lowerdir begins or ends with a colon",
        _ => "data-only layers (\"::\" in lowerdir) are not supported yet",
    };
    Err(Failure::new(sentence))
}
