//! The key space: a sorted map for each bucket, in which `a` beside `a/b`, `dir/` and `x//y` exist as in S3.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

/// A stored object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its content.
    pub data: Bytes,
    /// A tag of the content, without quotes.
    pub etag: String,
    /// When it was put.
    pub modified: SystemTime,
    /// The media type that it was put with.
    pub content_type: Option<String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Object {
    /// An object of these bytes, put now.
    pub fn new(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        let etag = etag(&data);
        Self { data, etag, modified: SystemTime::now(), content_type: None, metadata: BTreeMap::new() }
    }
}

/// All buckets of a server. A key is any string; it is not looked at.
#[derive(Debug, Default)]
pub struct Keys {
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

type Bucket = BTreeMap<String, Arc<Object>>;

impl Keys {
    /// Makes a bucket; `false` if it exists.
    pub fn create_bucket(&self, bucket: &str) -> bool {
        let mut buckets = self.buckets();
        let is_new = !buckets.contains_key(bucket);
        buckets.entry(bucket.to_owned()).or_default();
        is_new
    }

    /// Removes a bucket with all that is in it; `false` if there is none.
    pub fn remove_bucket(&self, bucket: &str) -> bool {
        self.buckets().remove(bucket).is_some()
    }

    /// Whether the bucket exists.
    pub fn has_bucket(&self, bucket: &str) -> bool {
        self.buckets().contains_key(bucket)
    }

    /// The buckets, sorted.
    pub fn bucket_names(&self) -> Vec<String> {
        self.buckets().keys().cloned().collect()
    }

    /// Puts bytes under a key and makes the bucket if need be.
    pub fn put(&self, bucket: &str, key: &str, data: impl Into<Bytes>) {
        self.put_object(bucket, key, Object::new(data));
    }

    /// Puts an object under a key and makes the bucket if need be.
    pub fn put_object(&self, bucket: &str, key: &str, object: Object) {
        self.buckets().entry(bucket.to_owned()).or_default().insert(key.to_owned(), Arc::new(object));
    }

    /// The object of a key.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Arc<Object>> {
        self.buckets().get(bucket)?.get(key).cloned()
    }

    /// Removes a key; `false` if there is none.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.buckets().get_mut(bucket).is_some_and(|bucket| bucket.remove(key).is_some())
    }

    /// All keys of a bucket, sorted by bytes.
    pub fn list(&self, bucket: &str) -> Vec<String> {
        self.buckets().get(bucket).map(|bucket| bucket.keys().cloned().collect()).unwrap_or_default()
    }

    /// A page of a bucket's keys; `None` if there is no such bucket.
    pub(super) fn page(&self, bucket: &str, question: &Question) -> Option<Answer> {
        Some(page(self.buckets().get(bucket)?, question))
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a listing asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    pub(super) prefix: String,
    /// Empty for none.
    pub(super) delimiter: String,
    pub(super) after: After,
    pub(super) max: usize,
}

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum After {
    #[default]
    Nothing,
    /// After a key.
    Key(String),
    /// After all keys of a common prefix.
    Prefix(String),
}

/// What a listing answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) objects: Vec<(String, Arc<Object>)>,
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<After>,
}

fn page(bucket: &Bucket, question: &Question) -> Answer {
    let mut answer = Answer::default();
    let mut last = question.after.clone();
    while let Some((key, object)) = next(bucket, question, &last) {
        if answer.objects.len() + answer.prefixes.len() == question.max {
            answer.next = Some(last).filter(|_| question.max > 0);
            break;
        }
        last = match rolled_up(key, question) {
            Some(prefix) => {
                answer.prefixes.push(prefix.to_owned());
                After::Prefix(prefix.to_owned())
            }
            None => {
                answer.objects.push((key.clone(), object.clone()));
                After::Key(key.clone())
            }
        };
    }
    answer
}

/// The first key of the prefix after `last`.
fn next<'a>(bucket: &'a Bucket, question: &Question, last: &After) -> Option<(&'a String, &'a Arc<Object>)> {
    let begin = Bound::Included(question.prefix.as_str());
    let from = match last {
        After::Nothing => begin,
        After::Key(key) if *key < question.prefix => begin,
        After::Key(key) => Bound::Excluded(key.as_str()),
        After::Prefix(prefix) => Bound::Included(prefix.as_str()),
    };
    let done = |key: &String| matches!(last, After::Prefix(prefix) if key.starts_with(prefix.as_str()));
    let mut keys = bucket.range::<str, _>((from, Bound::Unbounded)).skip_while(|(key, _)| done(key));
    keys.next().filter(|(key, _)| key.starts_with(&question.prefix))
}

/// The common prefix that a key is rolled up into.
fn rolled_up<'a>(key: &'a str, question: &Question) -> Option<&'a str> {
    let at = question.prefix.len();
    let found = key.get(at..)?.find(&question.delimiter).filter(|_| !question.delimiter.is_empty())?;
    key.get(..at + found + question.delimiter.len())
}

/// A tag that changes with the content: two hashes of 64 bits.
fn etag(data: &[u8]) -> String {
    let hash = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(data);
        hasher.finish()
    };
    format!("{:016x}{:016x}", hash(0), hash(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Keys {
        let keys = Keys::default();
        names.iter().for_each(|name| keys.put("b", name, "x"));
        keys
    }

    /// All pages of a listing, as text.
    fn pages(keys: &Keys, prefix: &str, delimiter: &str, after: &str, max: usize) -> Vec<String> {
        let after = if after.is_empty() { After::Nothing } else { After::Key(after.into()) };
        let mut question = Question { prefix: prefix.into(), delimiter: delimiter.into(), after, max };
        let mut pages = Vec::new();
        loop {
            let answer = keys.page("b", &question).unwrap();
            let objects = answer.objects.into_iter().map(|(key, _)| key);
            pages.push(objects.chain(answer.prefixes).collect::<Vec<_>>().join(" "));
            match answer.next {
                Some(next) => question.after = next,
                None => return pages,
            }
        }
    }

    #[test]
    fn listings_roll_up_and_continue() {
        let keys = keys(&["a", "a/b", "a/c", "d//e", "d/f", "g"]);
        assert_eq!(pages(&keys, "", "", "", 10), ["a a/b a/c d//e d/f g"]);
        assert_eq!(pages(&keys, "", "", "", 4), ["a a/b a/c d//e", "d/f g"]);
        assert_eq!(pages(&keys, "", "/", "", 10), ["a g a/ d/"]);
        assert_eq!(pages(&keys, "", "/", "", 1), ["a", "a/", "d/", "g"]);
        assert_eq!(pages(&keys, "d/", "/", "", 10), ["d/f d//"]);
        assert_eq!(pages(&keys, "", "", "", 6), ["a a/b a/c d//e d/f g"], "a full last page is the last");
    }

    #[test]
    fn start_after_within_a_common_prefix_shows_it_again() {
        let keys = keys(&["a/b", "a/c", "d"]);
        assert_eq!(pages(&keys, "", "/", "a/b", 10), ["d a/"]);
        assert_eq!(pages(&keys, "", "/", "a/c", 10), ["d"]);
    }

    #[test]
    fn missing_buckets_have_no_page() {
        assert!(Keys::default().page("b", &Question::default()).is_none());
    }
}
