//! One request for bytes of an object, pinned to the version that was listed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta};

use crate::deadline::within;
use crate::error::{Asked, Failure, failure};
use crate::prefix::{Context, Facts};
use crate::wire::Answer;

/// The object behind an open file.
pub(super) struct Source {
    pub(super) context: Arc<Context>,
    pub(super) path: Path,
    pub(super) facts: Arc<Facts>,
}

impl Source {
    /// The bytes of `range`, which lies within the object, within the deadline.
    pub(super) async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        self.context.counters.get();
        let bytes = within(self.context.settings.timeout, self.ask(&range)).await?;
        self.context.counters.read(bytes.len() as u64);
        if bytes.len() as u64 == range.end - range.start {
            return Ok(bytes);
        }
        Err(Failure::stale("the object is shorter than it was listed"))
    }

    async fn ask(&self, range: &Range<u64>) -> Result<Bytes, Failure> {
        let answer = Answer::default();
        let words = &self.context.store.words;
        let fail = |error| failure(Asked::Read, &error, answer.status().as_ref(), words);
        let result = self.context.store.objects.get_opts(&self.path, self.options(range, &answer)).await;
        let result = result.map_err(fail)?;
        self.check(&result)?;
        result.bytes().await.map_err(fail)
    }

    fn options(&self, range: &Range<u64>, answer: &Answer) -> GetOptions {
        let is_whole = *range == (0..self.facts.size);
        let mut options = GetOptions {
            range: (!is_whole).then(|| GetRange::Bounded(range.clone())),
            if_match: self.facts.etag.as_deref().filter(|etag| is_strong(etag)).map(str::to_owned),
            ..Default::default()
        };
        options.extensions.insert(answer.clone());
        options
    }

    /// Some servers ignore If-Match.
    fn check(&self, result: &GetResult) -> Result<(), Failure> {
        if is_same(&self.facts, &result.meta) {
            return Ok(());
        }
        Err(Failure::stale("the object was changed in the store"))
    }
}

/// Whether an answer is of the version that was listed. Where either has no ETag, size and time must do; a server
/// that tells no time either (object_store says 1970) leaves the size.
fn is_same(listed: &Facts, found: &ObjectMeta) -> bool {
    let sec = found.last_modified.timestamp();
    let same_version = match (&listed.etag, &found.e_tag) {
        (Some(listed), Some(found)) => same_etag(listed, found),
        _ => sec == 0 || sec == listed.mtime.sec,
    };
    same_version && found.size == listed.size
}

/// A weak tag never matches If-Match (RFC 9110, 13.1.1).
fn is_strong(etag: &str) -> bool {
    !etag.starts_with("W/")
}

/// Servers differ in the quotes of a listing and of a header.
fn same_etag(a: &str, b: &str) -> bool {
    let bare = |etag: &str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
    bare(a) == bare(b)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use overlay_core::attr::Time;

    use super::*;

    fn facts(size: u64, sec: i64, etag: Option<&str>) -> Facts {
        Facts { size, mtime: Time { sec, nsec: 5 }, etag: etag.map(Into::into) }
    }

    fn meta(size: u64, sec: u64, etag: Option<&str>) -> ObjectMeta {
        let last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs(sec);
        let (location, e_tag) = (Path::from("f"), etag.map(Into::into));
        ObjectMeta { location, last_modified: last_modified.into(), size, e_tag, version: None }
    }

    #[test]
    fn an_answer_is_of_the_listed_version_or_not() {
        let tag = Some("\"a\"");
        assert!(is_same(&facts(1, 7, tag), &meta(1, 8, tag)), "the tag counts more than the time");
        assert!(!is_same(&facts(1, 7, tag), &meta(1, 7, Some("\"b\""))));
        assert!(!is_same(&facts(1, 7, tag), &meta(2, 7, tag)));
        assert!(is_same(&facts(1, 7, None), &meta(1, 7, tag)));
        assert!(!is_same(&facts(1, 7, tag), &meta(1, 8, None)));
        assert!(is_same(&facts(1, 7, None), &meta(1, 0, None)), "no time is told");
    }

    #[test]
    fn etags_are_compared_without_their_dress() {
        assert!(same_etag("\"a\"", "a") && same_etag("W/\"a\"", "\"a\""));
        assert!(!same_etag("\"a\"", "\"b\""));
        assert!(is_strong("\"a\"") && !is_strong("W/\"a\""));
    }
}
