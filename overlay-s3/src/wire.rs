//! Between object_store and its HTTP client: listings are sanitized, and refusals are noted where our errors can
//! see them.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, Result};

use crate::sanitize;

/// How the server refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    /// The store's own word for it: `NoSuchBucket`, `SignatureDoesNotMatch`.
    pub(crate) reason: Option<String>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.code)
    }
}

impl Error for Status {}

/// Travels with a request in its extensions and brings back the last refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(Arc<Mutex<Option<Status>>>);

impl Answer {
    pub(crate) fn status(&self) -> Option<Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, status: Option<Status>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

/// Makes clients that go through this room.
#[derive(Debug)]
pub(crate) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = request.extensions().get::<Answer>().cloned().unwrap_or_default();
        // What an earlier try was told says nothing about one that gets no answer.
        answer.note(None);
        let is_listing = request.uri().query().is_some_and(is_listing);
        let is_webdav = request.method().as_str() == "PROPFIND";
        let response = self.inner.execute(request).await?;
        if is_webdav && response.status().is_client_error() {
            return Err(not_listed(&response));
        }
        if !response.status().is_success() {
            refused(response, &answer).await
        } else if is_listing {
            rewrite(response, sanitize::escape_keys).await
        } else {
            Ok(response)
        }
    }
}

/// Whether a query asks for a page of keys: of S3 and GCS, or of Azure.
fn is_listing(query: &str) -> bool {
    query.split('&').any(|pair| pair == "list-type=2" || pair == "comp=list")
}

/// object_store takes a WebDAV directory that is missing for an empty one, and its listings carry no [`Answer`]:
/// the refusal is made an error that [`crate::error`] finds in the chain.
fn not_listed(response: &HttpResponse) -> HttpError {
    let code = response.status().as_u16();
    HttpError::new(HttpErrorKind::Unknown, Status { code, reason: None })
}

async fn refused(response: HttpResponse, answer: &Answer) -> Result<HttpResponse, HttpError> {
    let code = response.status().as_u16();
    answer.note(Some(Status { code, reason: None }));
    let note = |body: &[u8]| {
        answer.note(Some(Status { code, reason: error_code(body) }));
        body.to_vec()
    };
    rewrite(response, note).await
}

async fn rewrite(
    response: HttpResponse,
    change: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<HttpResponse, HttpError> {
    let (mut parts, body) = response.into_parts();
    let body = body.bytes().await?;
    parts.headers.remove("content-length");
    Ok(HttpResponse::from_parts(parts, change(&body).into()))
}

/// The `<Code>` of an XML error, if it is a plain word.
fn error_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_told_from_other_requests() {
        assert!(is_listing("delimiter=%2F&list-type=2&prefix=a"));
        assert!(is_listing("restype=container&comp=list"));
        assert!(!is_listing("versionId=list-type") && !is_listing("comp=block"));
    }

    #[test]
    fn the_code_of_an_error_is_a_word() {
        assert_eq!(error_code(b"<Error><Code>NoSuchKey</Code></Error>").as_deref(), Some("NoSuchKey"));
        assert_eq!(error_code(b"<Code>a b</Code>"), None);
        assert_eq!(error_code(b"<Code></Code>"), None);
        assert_eq!(error_code(b"\xff"), None);
    }
}
