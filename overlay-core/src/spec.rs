//! What a user writes to name a layer, and the registry that opens it.
//!
//! A [`LayerSpec`] is a path or `scheme://…?key=value&…`. A [`Registry`] maps schemes to constructors; it is a
//! value that a program builds and passes on, never a static.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::layer::Layer;

/// The scheme of a plain path.
pub const DIR_SCHEME: &str = "dir";

/// The name of a layer, as typed.
#[derive(Clone, PartialEq, Eq)]
pub struct LayerSpec {
    scheme: String,
    address: Vec<u8>,
    options: BTreeMap<String, String>,
}

impl LayerSpec {
    /// Reads a spec. Anything without `://` is a path. `dir:///path?key=value` is a path with options; the path of
    /// a `dir` URL and the options of any URL are percent-decoded, the rest is left as it is.
    ///
    /// # Errors
    /// `Invalid` for an empty spec, an illegal scheme, or an option without a name or given twice.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(invalid("a layer's name is empty"));
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return Ok(Self { scheme: DIR_SCHEME.into(), address: text.into(), options: BTreeMap::new() });
        };
        let (address, query) = match rest.iter().position(|b| *b == b'?') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        let address = if scheme == DIR_SCHEME { percent_decode(address)? } else { address.to_vec() };
        Ok(Self { scheme, address, options: parse_options(query)? })
    }

    /// The scheme in lower case; `dir` for a path.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What follows `://` up to the options: `bucket/prefix`, or the path of a directory.
    pub fn address(&self) -> &[u8] {
        &self.address
    }

    /// The path, if it is a directory of this machine.
    pub fn path(&self) -> Option<PathBuf> {
        (self.scheme == DIR_SCHEME).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(&self.address)))
    }

    /// The value of an option, removed from the spec: what is left after the constructor took its own is unknown.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.options.remove(key)
    }

    /// The spec with a value for an option that it does not give itself.
    #[must_use]
    pub fn with_default(mut self, key: &str, value: &str) -> Self {
        self.options.entry(key.into()).or_insert_with(|| value.into());
        self
    }

    /// The options that have not been taken.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Fails on the first option that nobody took; `known` are the ones that the scheme has.
    pub fn finish(&self, known: &[&str]) -> Result<()> {
        match self.options.keys().next() {
            None => Ok(()),
            Some(key) => Err(invalid(format!(
                "{self} has no option \"{key}\"; it knows {}",
                if known.is_empty() { "none".into() } else { known.join(", ") }
            ))),
        }
    }
}

impl fmt::Display for LayerSpec {
    /// The spec without its options: fit for messages and logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = String::from_utf8_lossy(&self.address);
        if self.scheme == DIR_SCHEME {
            write!(f, "{address}")
        } else {
            write!(f, "{}://{address}", self.scheme)
        }
    }
}

impl fmt::Debug for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerSpec({self})")
    }
}

fn invalid(sentence: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, "layer").because(sentence.into())
}

/// The scheme (RFC 3986 section 3.1) before `://`, in lower case, and what follows.
fn split_scheme(text: &[u8]) -> Option<(String, &[u8])> {
    let at = text.windows(3).position(|window| window == b"://")?;
    let scheme = &text[..at];
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(legal);
    is_scheme.then(|| (String::from_utf8_lossy(scheme).to_ascii_lowercase(), &text[at + 3..]))
}

fn parse_options(query: &[u8]) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for pair in query.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|b| *b == b'=');
        let (key, value) = equals.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
        let text =
            |bytes| String::from_utf8(percent_decode(bytes)?).map_err(|_| invalid("an option is not UTF-8"));
        let (key, value) = (text(key)?, text(value)?);
        if key.is_empty() || options.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("the option \"{key}\" is given twice or has no name")));
        }
    }
    Ok(options)
}

fn percent_decode(text: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.ok_or_else(|| invalid("a % is not followed by two hexadecimal digits"))?);
        rest = &tail[2..];
    }
    Ok(out)
}

/// Opens the layers of one or more schemes.
#[async_trait]
pub trait Opener: Send + Sync + 'static {
    /// Opens the layer that `spec` names and checks that it is there, so that a wrong name fails at the prompt.
    async fn open(&self, spec: &LayerSpec) -> Result<Arc<dyn Layer>>;
}

/// The schemes of a program.
#[derive(Clone, Default)]
pub struct Registry {
    openers: BTreeMap<String, Arc<dyn Opener>>,
}

impl Registry {
    /// A registry that knows no scheme.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a scheme.
    #[must_use]
    pub fn with(mut self, scheme: &str, opener: Arc<dyn Opener>) -> Self {
        self.openers.insert(scheme.to_ascii_lowercase(), opener);
        self
    }

    /// The schemes, sorted.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.openers.keys().map(String::as_str)
    }

    /// Whether the scheme is known; the error lists those that are.
    pub fn check(&self, spec: &LayerSpec) -> Result<()> {
        self.opener(spec).map(|_| ())
    }

    /// Opens a layer.
    pub async fn open(&self, spec: &LayerSpec) -> Result<Arc<dyn Layer>> {
        self.opener(spec)?.open(spec).await
    }

    fn opener(&self, spec: &LayerSpec) -> Result<&Arc<dyn Opener>> {
        self.openers.get(spec.scheme()).ok_or_else(|| {
            let known: Vec<_> = self.schemes().map(|scheme| format!("{scheme}://")).collect();
            let sentence =
                format!("\"{}://\" is no known kind of layer; known are {}", spec.scheme(), known.join(", "));
            invalid(sentence)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_they_are() {
        for path in ["a", "/x y/%41?b=c", "a:b", "./s3:/x", "/a://b"] {
            let spec = LayerSpec::parse(path).unwrap();
            assert_eq!(spec.path().unwrap(), PathBuf::from(path));
            assert_eq!(spec.options().count(), 0);
        }
    }

    #[test]
    fn urls_have_a_scheme_an_address_and_options() {
        let mut spec = LayerSpec::parse("S3://bucket/a%20b?region=eu&endpoint=http%3A%2F%2Fx").unwrap();
        assert_eq!((spec.scheme(), spec.address()), ("s3", &b"bucket/a%20b"[..]));
        assert_eq!(spec.take("endpoint").as_deref(), Some("http://x"));
        assert!(spec.finish(&["endpoint"]).unwrap_err().to_string().contains("region"));
        let mut spec = spec.with_default("region", "us").with_default("uid", "7");
        assert_eq!(spec.take("region").as_deref(), Some("eu"), "what is given stands");
        assert_eq!(spec.take("uid").as_deref(), Some("7"));
        spec.finish(&[]).unwrap();
        let spec = LayerSpec::parse("dir:///x%20y?markers=oci").unwrap();
        assert_eq!(spec.path().unwrap(), PathBuf::from("/x y"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s3://b?=x", "s3://b?a=1&a=2", "s3://b?a=%4", "dir:///%zz"] {
            assert_eq!(LayerSpec::parse(text).unwrap_err().kind(), Kind::Invalid, "{text}");
        }
    }

    #[test]
    fn an_unknown_scheme_lists_the_known_ones() {
        struct Never;
        #[async_trait]
        impl Opener for Never {
            async fn open(&self, _spec: &LayerSpec) -> Result<Arc<dyn Layer>> {
                Err(invalid("never"))
            }
        }
        let registry = Registry::new().with("s3", Arc::new(Never)).with("dir", Arc::new(Never));
        let error = registry.check(&LayerSpec::parse("ftp://x").unwrap()).unwrap_err().to_string();
        assert!(error.contains("\"ftp://\"") && error.contains("dir://, s3://"), "{error}");
    }
}
