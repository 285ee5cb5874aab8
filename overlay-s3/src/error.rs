//! What an object store's failure means to the file system: the one place that maps them.

use std::error::Error as StdError;
use std::fmt;
use std::io;
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
    pub(crate) fn stale(sentence: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Stale, sentence)
    }

    /// With what may be the reason of a first request's failure, where the server did not say.
    pub(crate) fn hinted(self, hint: &str) -> Self {
        if self.kind != Kind::Io { self } else { Self::new(self.kind, format!("{}{hint}", self.sentence)) }
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

/// Words of a store for the sentences of its failures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// What holds the objects: a bucket, a directory.
    pub(crate) container: &'static str,
    /// What to check when access is denied.
    pub(crate) credentials: &'static str,
    /// What may be the reason when the first request gets no answer.
    pub(crate) hint: &'static str,
}

/// The failure that `error` stands for. `status` is the last answer of the server, where it gave one.
///
/// The sentence is made here from status, code and innermost cause. The store's own text is not passed on: it
/// holds URLs, and with some stores these are signed.
pub(crate) fn failure(
    asked: Asked,
    error: &object_store::Error,
    status: Option<&Status>,
    words: &Words,
) -> Failure {
    use object_store::Error as E;
    match error {
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            return Failure::new(Kind::Unsupported, "the store does not support this");
        }
        E::Precondition { .. } | E::NotModified { .. } => return changed(),
        E::Generic { store: LOCAL, .. } => return local(asked, error),
        _ => {}
    }
    let status = status.or_else(|| status_within(error));
    let code = status.map(|status| status.code).or_else(|| implied_status(error));
    match code {
        Some(code @ (401 | 403)) => denied(code, status, words),
        Some(404) => gone(asked, status, words),
        Some(412 | 416) => changed(),
        Some(code @ (405 | 501)) => {
            Failure::new(Kind::Unsupported, format!("the server does not support this ({code})"))
        }
        Some(code @ 300..=399) => Failure::new(
            Kind::Io,
            format!("the server redirects ({code}): check the region and the endpoint"),
        ),
        Some(code) => Failure::new(Kind::Io, format!("the server answered {code}{}", reason(status))),
        None => Failure::new(Kind::Io, format!("no answer: {}", root_cause(error))),
    }
}

/// The name that object_store's file system gives its errors.
pub(crate) const LOCAL: &str = "LocalFileSystem";

/// A failure of this machine's file system: no server was asked.
fn local(asked: Asked, error: &object_store::Error) -> Failure {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    let kind = match io.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => Kind::Access,
        Some(io::ErrorKind::NotFound) if asked == Asked::Open => Kind::NotFound,
        Some(io::ErrorKind::NotFound) => Kind::Stale,
        _ => Kind::Io,
    };
    Failure::new(kind, root_cause(error))
}

/// The refusal that the error was made from.
fn status_within(error: &object_store::Error) -> Option<&Status> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The error and what caused it, the innermost last.
fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| (*cause).source())
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

fn denied(code: u16, status: Option<&Status>, words: &Words) -> Failure {
    let sentence = format!("access denied ({code}{}): check {}", reason(status), words.credentials);
    Failure::new(Kind::Access, sentence)
}

fn gone(asked: Asked, status: Option<&Status>, words: &Words) -> Failure {
    let container = words.container;
    let code = status.and_then(|status| status.reason.as_deref());
    match (asked, code) {
        (Asked::Open, _) => Failure::new(Kind::NotFound, format!("the {container} does not exist")),
        (Asked::Read, None | Some("NoSuchKey" | "BlobNotFound")) => {
            Failure::stale("the object was removed from the store")
        }
        (Asked::Read | Asked::List, _) => {
            Failure::stale(format!("the {container} was removed from the store"))
        }
    }
}

fn reason(status: Option<&Status>) -> String {
    status.and_then(|status| status.reason.as_deref()).map(|reason| format!(" {reason}")).unwrap_or_default()
}

/// The innermost cause: what happened, without the URLs of the outer ones.
fn root_cause(error: &object_store::Error) -> String {
    let text = causes(error).last().map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().chars().take(CAUSE_MAX).collect()
}

/// The longest cause that is repeated, characters: some servers answer with a whole page.
const CAUSE_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::Error as E;

    const WORDS: Words = Words { container: "bucket", credentials: "THE_KEY", hint: " (why)" };

    fn generic(text: &str) -> E {
        E::Generic { store: "S3", source: text.into() }
    }

    fn status(code: u16, reason: &str) -> Status {
        Status { code, reason: (!reason.is_empty()).then(|| reason.into()) }
    }

    fn kind_of(asked: Asked, error: &E, status: Option<Status>) -> Kind {
        failure(asked, error, status.as_ref(), &WORDS).kind
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
            (405, Asked::Open, Kind::Unsupported),
            (500, Asked::List, Kind::Io),
            (503, Asked::Read, Kind::Io),
        ] {
            assert_eq!(kind_of(asked, &error, Some(status(code, ""))), kind, "{code} {asked:?}");
        }
    }

    #[test]
    fn variants_have_their_kinds_where_no_answer_was_seen() {
        let error = E::NotFound { path: "k".into(), source: "s".into() };
        assert_eq!(kind_of(Asked::Read, &error, None), Kind::Stale);
        let error = E::PermissionDenied { path: "k".into(), source: "s".into() };
        assert_eq!(kind_of(Asked::Read, &error, None), Kind::Access);
        let error = E::Precondition { path: "k".into(), source: "s".into() };
        assert_eq!(kind_of(Asked::Read, &error, None), Kind::Stale);
        assert_eq!(kind_of(Asked::List, &E::NotSupported { source: "s".into() }, None), Kind::Unsupported);
        assert_eq!(kind_of(Asked::List, &generic("x"), None), Kind::Io);
    }

    #[test]
    fn failures_of_this_machine_have_their_kinds() {
        for (cause, asked, kind) in [
            (io::ErrorKind::PermissionDenied, Asked::List, Kind::Access),
            (io::ErrorKind::NotFound, Asked::List, Kind::Stale),
            (io::ErrorKind::NotFound, Asked::Open, Kind::NotFound),
            (io::ErrorKind::InvalidData, Asked::Read, Kind::Io),
        ] {
            let error = E::Generic { store: LOCAL, source: Box::new(io::Error::new(cause, "the cause")) };
            let failure = failure(asked, &error, None, &WORDS);
            assert_eq!((failure.kind, failure.to_string().as_str()), (kind, "the cause"));
        }
    }

    #[test]
    fn causes_are_short_and_hints_are_for_the_prompt() {
        let page = format!("{}\n<html>", "x".repeat(500));
        let failure = failure(Asked::Open, &generic(&page), None, &WORDS);
        assert_eq!(failure.to_string(), format!("no answer: {}", "x".repeat(200)));
        assert!(failure.hinted(WORDS.hint).to_string().ends_with("x (why)"));
        assert_eq!(Failure::stale("gone").hinted(WORDS.hint).to_string(), "gone");
    }

    #[test]
    fn the_sentence_names_the_variables_and_the_reason() {
        let denied = failure(
            Asked::Open,
            &generic("http://host/?sig=SECRET"),
            Some(&status(403, "SignatureDoesNotMatch")),
            &WORDS,
        );
        assert_eq!(denied.to_string(), "access denied (403 SignatureDoesNotMatch): check THE_KEY");
    }
}
