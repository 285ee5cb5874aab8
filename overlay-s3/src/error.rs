//! What an object store's failure means to the file system: the one place that maps them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use overlay_core::error::{Error, Kind};

use crate::wire::Status;

/// What was asked of the store when it failed. The same answer means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The first listing: a wrong name is the user's.
    Open,
    /// A listing of a layer that was there when it was opened.
    List,
    /// Bytes of an object that was listed.
    Read,
}

/// Why a request failed; cheap to clone, since everyone who waited for it gets it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: Kind,
    sentence: Arc<str>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, sentence: impl Into<Arc<str>>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    /// The deadline passed.
    pub(crate) fn late(deadline: Duration) -> Self {
        Self::new(Kind::Io, format!("no answer within {} s", deadline.as_secs_f32()))
    }

    /// The object is not what the listing said.
    pub(crate) fn stale(sentence: &str) -> Self {
        Self::new(Kind::Stale, sentence)
    }

    /// The failure as an error of operation `op` in the layer.
    pub(crate) fn of(self, op: &'static str, label: &Arc<str>) -> Error {
        Error::new(self.kind, op).in_layer(label).because(self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl StdError for Failure {}

/// The failure that `error` stands for. `status` is the last answer of the server, where it gave one;
/// `credentials` names the variables that hold them.
///
/// The sentence is made here from status, code and innermost cause. The store's own text is not passed on: it
/// holds URLs, and with some stores these are signed.
pub(crate) fn failure(
    asked: Asked,
    error: &object_store::Error,
    status: Option<&Status>,
    credentials: &str,
) -> Failure {
    use object_store::Error as E;
    match error {
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            return Failure::new(Kind::Unsupported, "the store does not support this");
        }
        E::Precondition { .. } | E::NotModified { .. } => return changed(),
        _ => {}
    }
    let code = status.map(|status| status.code).or_else(|| implied_status(error));
    match code {
        Some(code @ (401 | 403)) => denied(code, status, credentials),
        Some(404) => gone(asked, status),
        Some(412 | 416) => changed(),
        Some(code @ 300..=399) => Failure::new(
            Kind::Io,
            format!("the server redirects ({code}): check the region and the endpoint"),
        ),
        Some(code) => Failure::new(Kind::Io, format!("the server answered {code}{}", reason(status))),
        None => Failure::new(Kind::Io, format!("no answer: {}", root_cause(error))),
    }
}

/// The status that the variant of an error stands for, for stores whose answers we do not see.
fn implied_status(error: &object_store::Error) -> Option<u16> {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Some(404),
        E::PermissionDenied { .. } => Some(403),
        E::Unauthenticated { .. } => Some(401),
        _ => None,
    }
}

fn changed() -> Failure {
    Failure::stale("the object was changed in the store")
}

fn denied(code: u16, status: Option<&Status>, credentials: &str) -> Failure {
    let sentence = format!("access denied ({code}{}): check {credentials}", reason(status));
    Failure::new(Kind::Access, sentence)
}

fn gone(asked: Asked, status: Option<&Status>) -> Failure {
    let no_object = status.and_then(|status| status.reason.as_deref()) == Some("NoSuchKey");
    match asked {
        Asked::Open => Failure::new(Kind::NotFound, "the bucket does not exist"),
        Asked::Read if no_object || status.is_none_or(|status| status.reason.is_none()) => {
            Failure::stale("the object was removed from the store")
        }
        Asked::Read => Failure::stale("the object or its bucket was removed from the store"),
        Asked::List => Failure::stale("the bucket or directory was removed from the store"),
    }
}

fn reason(status: Option<&Status>) -> String {
    status.and_then(|status| status.reason.as_deref()).map(|reason| format!(" {reason}")).unwrap_or_default()
}

/// The innermost cause: what happened, without the URLs of the outer ones.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::Error as E;

    fn generic(text: &str) -> E {
        E::Generic { store: "S3", source: text.into() }
    }

    fn status(code: u16, reason: &str) -> Status {
        Status { code, reason: (!reason.is_empty()).then(|| reason.into()) }
    }

    fn kind_of(asked: Asked, error: &E, status: Option<Status>) -> Kind {
        failure(asked, error, status.as_ref(), "X").kind
    }

    #[test]
    fn statuses_have_their_kinds() {
        let error = generic("x");
        for (code, asked, kind) in [
            (401, Asked::List, Kind::Access),
            (403, Asked::Read, Kind::Access),
            (404, Asked::Open, Kind::NotFound),
            (404, Asked::List, Kind::Stale),
            (404, Asked::Read, Kind::Stale),
            (412, Asked::Read, Kind::Stale),
            (416, Asked::Read, Kind::Stale),
            (301, Asked::Open, Kind::Io),
            (500, Asked::List, Kind::Io),
            (503, Asked::Read, Kind::Io),
        ] {
            assert_eq!(kind_of(asked, &error, Some(status(code, ""))), kind, "{code} {asked:?}");
        }
    }

    #[test]
    fn variants_have_their_kinds_where_no_answer_was_seen() {
        let (path, source) = || -> (String, Box<dyn StdError + Send + Sync>) { ("k".into(), "s".into()) }();
        assert_eq!(kind_of(Asked::Read, &E::NotFound { path, source }, None), Kind::Stale);
        let error = E::PermissionDenied { path: "k".into(), source: "s".into() };
        assert_eq!(kind_of(Asked::Read, &error, None), Kind::Access);
        let error = E::Precondition { path: "k".into(), source: "s".into() };
        assert_eq!(kind_of(Asked::Read, &error, None), Kind::Stale);
        assert_eq!(kind_of(Asked::List, &E::NotSupported { source: "s".into() }, None), Kind::Unsupported);
        assert_eq!(kind_of(Asked::List, &generic("x"), None), Kind::Io);
    }

    #[test]
    fn the_sentence_names_the_variables_and_the_reason() {
        let denied = failure(
            Asked::Open,
            &generic("http://host/?sig=SECRET"),
            Some(&status(403, "SignatureDoesNotMatch")),
            "AWS_ACCESS_KEY_ID",
        );
        assert_eq!(denied.to_string(), "access denied (403 SignatureDoesNotMatch): check AWS_ACCESS_KEY_ID");
    }
}
