//! Why a command failed, in the one sentence that its user reads.

use overlay_core::error::{Error, Kind};
use overlay_fuse::MountError;
use overlay_kernel::{KernelError, Refusal};

/// A command's failure: one sentence, on one line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Failure {
    sentence: String,
    /// The kernel's overlayfs refuses what our own merge may well do.
    is_the_kernels: bool,
}

/// What a step of a command answers.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure of this sentence; a text of many lines becomes one.
    pub(crate) fn new(sentence: impl AsRef<str>) -> Self {
        let lines = sentence.as_ref().lines().map(str::trim).filter(|line| !line.is_empty());
        Self { sentence: lines.collect::<Vec<_>>().join("; "), is_the_kernels: false }
    }

    /// The same, as a refusal of the kernel's overlayfs.
    pub(crate) fn of_the_kernel(self) -> Self {
        Self { is_the_kernels: true, ..self }
    }

    /// Whether it is a refusal of the kernel's overlayfs, so that the fuse engine is worth a try.
    pub(crate) fn is_the_kernels(&self) -> bool {
        self.is_the_kernels
    }

    /// The failure of an effect on `what`: "cannot WHAT: CAUSE".
    pub(crate) fn cannot(what: impl std::fmt::Display, cause: impl std::fmt::Display) -> Self {
        Self::new(format!("cannot {what}: {cause}"))
    }
}

impl From<Error> for Failure {
    /// The layer and the cause; the operation only where there is no cause that speaks for itself.
    fn from(error: Error) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        match (error.layer(), cause) {
            (Some(layer), Some(cause)) => Self::cannot(format_args!("open layer {layer}"), cause),
            (None, Some(cause)) if matches!(error.kind(), Kind::Invalid | Kind::Busy | Kind::Unsupported) => {
                Self::new(cause)
            }
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self::new(error.to_string()).of_the_kernel()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string()).of_the_kernel()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::new("a\n\n  b\n").to_string(), "a; b");
    }

    #[test]
    fn a_layers_error_names_the_layer_and_the_cause() {
        let label: Arc<str> = "s3://b".into();
        let error = Error::new(Kind::Access, "list").in_layer(&label).because("denied");
        assert_eq!(Failure::from(error).to_string(), "cannot open layer s3://b: denied");
        let error = Error::new(Kind::Invalid, "layer").because("an option is given twice");
        assert_eq!(Failure::from(error).to_string(), "an option is given twice");
    }
}
