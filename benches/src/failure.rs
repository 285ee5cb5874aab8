//! What went wrong, as one sentence; a benchmark can do nothing else about it.

use std::fmt::{self, Display};

/// The sentence.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts before an error what was being done.
pub(crate) trait Say<T> {
    fn say(self, doing: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Say<T> for Result<T, E> {
    fn say(self, doing: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{doing}: {error}")))
    }
}
