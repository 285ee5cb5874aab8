//! Keys in the XML of a listing, made safe for object_store.
//!
//! Its `Path::parse` fails a whole page for one key such as `a//b`, and drops the slash that tells the marker
//! `dir/` from the object `dir`; its XML reader trims spaces around a key. So the answer is rewritten before it
//! is read: every key becomes one plain ASCII segment, from which the exact key is read back.

/// Begins every escaped key, so that none is empty, `.` or `..`.
const MARK: u8 = b'k';

/// The elements whose text is a key: `Key` and `Prefix` of S3 and GCS, `Name` of Azure. Other elements of these
/// names (the bucket's) are escaped too; nobody reads them.
const ELEMENTS: [&[u8]; 3] = [b"Key", b"Prefix", b"Name"];

/// The listing `xml` with every key escaped.
pub(crate) fn escape_keys(xml: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(xml.len() + xml.len() / 4);
    let mut rest = xml;
    while let Some(open) = position(rest, b'<') {
        let Some(close) = position(&rest[open..], b'>').map(|at| open + at + 1) else { break };
        let tag = &rest[open + 1..close - 1];
        out.extend_from_slice(&rest[..close]);
        rest = &rest[close..];
        if is_key(tag) {
            let end = position(rest, b'<').unwrap_or(rest.len());
            out.extend(escape(&text(&rest[..end], tag)));
            rest = &rest[end..];
        }
    }
    out.extend_from_slice(rest);
    out
}

/// The key that an escaped one stands for; `None` if it is none of ours.
pub(crate) fn unescape(escaped: &str) -> Option<Vec<u8>> {
    let (first, rest) = escaped.as_bytes().split_first()?;
    if *first != MARK { None } else { percent_decode(rest) }
}

fn is_key(tag: &[u8]) -> bool {
    let name = tag.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    ELEMENTS.contains(&name) && !tag.ends_with(b"/")
}

/// The key that an element's text stands for. Azure percent-encodes names that XML cannot hold, and says so.
fn text(raw: &[u8], tag: &[u8]) -> Vec<u8> {
    let plain = unescape_xml(raw);
    let encoded = tag.windows(12).any(|window| window == b"Encoded=\"tru");
    if encoded { percent_decode(&plain).unwrap_or(plain) } else { plain }
}

fn escape(key: &[u8]) -> Vec<u8> {
    let mut out = vec![MARK];
    for byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(*byte);
        } else {
            out.extend(format!("%{byte:02X}").into_bytes());
        }
    }
    out
}

fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    Some(out)
}

fn unescape_xml(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = position(rest, b'&') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let end = position(rest, b';');
        match end.and_then(|end| entity(&rest[1..end]).map(|char| (end, char))) {
            Some((end, char)) => {
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[end + 1..];
            }
            None => {
                out.push(b'&');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

fn entity(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        [b'#', b'x' | b'X', hex @ ..] => number(hex, 16),
        [b'#', decimal @ ..] => number(decimal, 10),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok()?;
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

fn position(haystack: &[u8], byte: u8) -> Option<usize> {
    haystack.iter().position(|b| *b == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of a rewritten listing, read back.
    fn keys(xml: &str) -> Vec<String> {
        let out = String::from_utf8(escape_keys(xml.as_bytes())).unwrap();
        let texts = out.split("<Key>").skip(1).map(|part| part.split('<').next().unwrap());
        texts.map(|text| String::from_utf8(unescape(text).unwrap()).unwrap()).collect()
    }

    #[test]
    fn every_key_comes_back_exactly() {
        let xml = "<R><Key>a//b</Key><Key>/x</Key><Key>..</Key><Key> a </Key><Key>d/</Key><Key></Key>\
                   <Key>a%2Fb</Key><Key>ü&amp;&lt;&#13;&#x41;&unknown;&</Key></R>";
        assert_eq!(keys(xml), ["a//b", "/x", "..", " a ", "d/", "", "a%2Fb", "ü&<\rA&unknown;&"]);
    }

    #[test]
    fn escaped_keys_are_single_plain_segments() {
        let out = escape_keys("<Key>a/ü b</Key><Prefix>p/</Prefix><Size>1</Size>".as_bytes());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "<Key>ka%2F%C3%BC%20b</Key><Prefix>kp%2F</Prefix><Size>1</Size>");
    }

    #[test]
    fn the_rest_of_the_listing_is_untouched() {
        let xml = "<?xml version=\"1.0\"?><L><Prefix/><KeyCount>1</KeyCount><Next>x/y</Next></L>";
        assert_eq!(escape_keys(xml.as_bytes()), xml.as_bytes());
        for broken in ["<Key>a", "<Key", "no tags", "<Key>a<"] {
            assert!(!escape_keys(broken.as_bytes()).is_empty());
        }
    }

    #[test]
    fn names_that_azure_encoded_are_decoded() {
        let out = escape_keys(b"<Name Encoded=\"true\">a%0Bb</Name>");
        assert_eq!(out, b"<Name Encoded=\"true\">ka%0Bb</Name>");
    }

    #[test]
    fn what_we_did_not_escape_is_refused() {
        assert!(unescape("a/b").is_none() && unescape("").is_none() && unescape("k%4").is_none());
    }
}
