//! Objects and listings in the protocol's own types.

use std::ops::Range as Span;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::keys::{After, Answer, Object as Stored};

/// The bytes of a request.
pub(super) async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    let mut all = BytesMut::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk.map_err(|_| s3_error!(IncompleteBody))?);
    }
    Ok(all.freeze())
}

/// An object as it was put.
pub(super) fn made(data: Bytes, content_type: Option<String>, metadata: Option<Metadata>) -> Stored {
    let metadata = metadata.unwrap_or_default().into_iter().collect();
    Stored { content_type, metadata, ..Stored::new(data) }
}

/// A copy, which keeps what describes it unless told otherwise.
pub(super) fn copied(
    source: &Stored,
    directive: Option<MetadataDirective>,
    content_type: Option<String>,
    metadata: Option<Metadata>,
) -> Stored {
    let replaces = directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    match replaces {
        true => made(source.data.clone(), content_type, metadata),
        false => Stored { modified: std::time::SystemTime::now(), ..source.clone() },
    }
}

/// The conditions of a read.
pub(super) fn check(
    object: &Stored,
    if_match: Option<&IfMatch>,
    if_none_match: Option<&IfNoneMatch>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !matches(condition, object)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|condition| matches(condition, object)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// The conditions of a write.
pub(super) fn check_put(
    existing: Option<&Stored>,
    if_match: Option<&IfMatch>,
    if_none_match: Option<&IfNoneMatch>,
) -> S3Result<()> {
    let matches = |condition| existing.is_some_and(|object| matches(condition, object));
    if if_match.is_some_and(|condition| !matches(condition)) || if_none_match.is_some_and(matches) {
        return Err(s3_error!(PreconditionFailed));
    }
    Ok(())
}

fn matches(condition: &ETagCondition, object: &Stored) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|etag| etag.value() == object.etag)
}

/// The answer to a GET.
pub(super) fn content(object: &Stored, range: Option<&Range>) -> S3Result<GetObjectOutput> {
    let size = object.data.len() as u64;
    let span = range.map(|range| range.check(size)).transpose()?;
    let Span { start, end } = span.clone().unwrap_or(0..size);
    let data = object.data.slice(start as usize..end as usize);
    let body = StreamingBlob::wrap(futures::stream::once(async { Ok::<_, std::io::Error>(data) }));
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".into()),
        body: Some(body),
        content_length: Some((end - start) as i64),
        content_range: span.map(|_| format!("bytes {start}-{}/{size}", end.saturating_sub(1))),
        content_type: object.content_type.clone(),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        metadata: metadata(object),
        ..Default::default()
    })
}

/// The answer to a HEAD.
pub(super) fn head(object: &Stored) -> HeadObjectOutput {
    HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        content_length: Some(object.data.len() as i64),
        content_type: object.content_type.clone(),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        metadata: metadata(object),
        ..Default::default()
    }
}

fn metadata(object: &Stored) -> Option<Metadata> {
    (!object.metadata.is_empty()).then(|| object.metadata.clone().into_iter().collect())
}

/// The answer to a listing.
pub(super) fn listing(input: ListObjectsV2Input, max_keys: i32, answer: Answer) -> ListObjectsV2Output {
    let is_url = input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    let encode = |text: String| if is_url { encode_url(&text) } else { text };
    let key_count = answer.objects.len() + answer.prefixes.len();
    let object = |(key, object): (String, std::sync::Arc<Stored>)| Object {
        key: Some(encode(key)),
        size: Some(object.data.len() as i64),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        ..Default::default()
    };
    let contents = answer.objects.into_iter().map(object).collect();
    let common = |prefix| CommonPrefix { prefix: Some(encode(prefix)) };
    ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: input.prefix.map(encode),
        delimiter: input.delimiter.map(encode),
        start_after: input.start_after.map(encode),
        encoding_type: input.encoding_type,
        max_keys: Some(max_keys),
        key_count: Some(key_count as i32),
        continuation_token: input.continuation_token,
        is_truncated: Some(answer.next.is_some()),
        next_continuation_token: answer.next.as_ref().map(write_token),
        contents: Some(contents),
        common_prefixes: Some(answer.prefixes.into_iter().map(common).collect()),
        ..Default::default()
    }
}

/// A token that clients cannot take for a key.
fn write_token(after: &After) -> String {
    let (kind, text) = match after {
        After::Nothing => ('n', ""),
        After::Key(key) => ('k', key.as_str()),
        After::Prefix(prefix) => ('p', prefix.as_str()),
    };
    text.bytes().fold(String::from(kind), |token, byte| format!("{token}{byte:02x}"))
}

/// What a token stands for; `None` if it is none of ours.
pub(super) fn read_token(token: &str) -> Option<After> {
    let (kind, hex) = token.split_at_checked(1)?;
    if hex.len() % 2 != 0 {
        return None;
    }
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes = digits.map(|digits| u8::from_str_radix(digits?, 16).ok()).collect::<Option<Vec<_>>>()?;
    let text = String::from_utf8(bytes).ok()?;
    match kind {
        "k" => Some(After::Key(text)),
        "p" => Some(After::Prefix(text)),
        _ => None,
    }
}

fn encode_url(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                char::from(byte).into()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for after in [After::Key("a/ü".into()), After::Prefix("x//".into())] {
            assert_eq!(read_token(&write_token(&after)), Some(after));
        }
        for bad in ["", "x61", "k6", "kzz", "ü"] {
            assert_eq!(read_token(bad), None, "{bad}");
        }
    }

    #[test]
    fn url_encoding_is_s3s() {
        assert_eq!(encode_url("a/b c+ü"), "a/b%20c%2B%C3%BC");
    }
}
