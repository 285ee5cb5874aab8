//! One request for bytes of an object, pinned to the version that was listed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult};

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

    /// Some servers ignore If-Match, and some stores have no ETag: then size and time must do.
    fn check(&self, result: &GetResult) -> Result<(), Failure> {
        let meta = &result.meta;
        let is_same = match (&self.facts.etag, &meta.e_tag) {
            (Some(listed), Some(found)) => same_etag(listed, found),
            _ => meta.last_modified.timestamp() == self.facts.mtime.sec,
        };
        if is_same && meta.size == self.facts.size {
            return Ok(());
        }
        Err(Failure::stale("the object was changed in the store"))
    }
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
    use super::*;

    #[test]
    fn etags_are_compared_without_their_dress() {
        assert!(same_etag("\"a\"", "a") && same_etag("W/\"a\"", "\"a\""));
        assert!(!same_etag("\"a\"", "\"b\""));
        assert!(is_strong("\"a\"") && !is_strong("W/\"a\""));
    }
}
