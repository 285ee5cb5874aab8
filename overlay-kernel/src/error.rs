//! Why the kernel did not do it, in one sentence, with its own words.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why the kernel did not mount, change or unmount, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A layer cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Layer {
        /// The directory.
        path: PathBuf,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// A layer is a mount that was not given.
    #[error("layer {name} is mount {index} of {count} that were given; give it too")]
    NoMount {
        /// What the layer is called.
        name: String,
        /// Its place in the list.
        index: usize,
        /// The length of the list.
        count: usize,
    },
    /// A layer without a path got none where the kernel needs one.
    #[error("cannot give layer {name} a path under {}: {step}: {cause}", runtime.display())]
    Shelter {
        /// What the layer is called.
        name: String,
        /// Where it was to get one.
        runtime: PathBuf,
        /// What failed.
        step: &'static str,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// A call was refused.
    #[error("the kernel refuses {step}: {cause}{said}")]
    Refused {
        /// What it was told.
        step: String,
        /// The errno.
        #[source]
        cause: std::io::Error,
        /// What it says of it.
        said: Log,
    },
    /// A call was refused, and the layers show why.
    #[error("{reason}: {cause}{}", said.words())]
    Explained {
        /// What is wrong and what to do.
        reason: String,
        /// The errno.
        #[source]
        cause: std::io::Error,
        /// What the kernel says of it.
        said: Log,
    },
    /// The options do not fit into the page that `mount(2)` takes.
    #[error(
        "the options of this mount are {0} bytes long and this kernel takes {max}; use fewer layers or shorter options",
        max = crate::legacy::OPTIONS_MAX
    )]
    TooLong(usize),
    /// A mount without a place was wanted of `mount(2)`.
    #[error("this kernel cannot mount without a mount point (it lacks fsopen)")]
    NeedsTarget,
    /// The mount point cannot be mounted on.
    #[error("cannot mount on {}: {cause}", path.display())]
    Target {
        /// The mount point.
        path: PathBuf,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// A mount cannot be taken away.
    #[error("cannot unmount {}: {cause}", path.display())]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// A mount cannot be changed.
    #[error("cannot remount {}{hint}: {cause}{}", path.display(), said.words())]
    Remount {
        /// The mount point.
        path: PathBuf,
        /// What to do, after a comma or in brackets; may be empty.
        hint: &'static str,
        /// The errno.
        #[source]
        cause: std::io::Error,
        /// What the kernel says of it.
        said: Log,
    },
    /// An upper could not be tried out.
    #[error("cannot try out {}: {step}: {cause}", path.display())]
    Trial {
        /// The work directory.
        path: PathBuf,
        /// What failed.
        step: &'static str,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
}

impl KernelError {
    pub(crate) fn refused(step: impl Into<String>, errno: Errno, said: Log) -> Self {
        Self::Refused { step: step.into(), cause: errno.into(), said }
    }

    /// Whether the kernel found what it was told invalid, which is how it refuses a layer without a path.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused { cause, .. } if cause.raw_os_error() == Some(Errno::INVAL.raw_os_error()))
    }
}

/// The kernel's own words about a mount that is being set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(Vec<String>);

impl Log {
    /// Reads the messages that wait in a context: one a read, each after a letter for its severity.
    pub(crate) fn read(context: BorrowedFd<'_>) -> Self {
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        // ENODATA ends the log; whatever else goes wrong leaves it as long as it is, since it is an extra.
        while let Ok(len @ 1..) = rustix::io::read(context, &mut buffer) {
            lines.push(without_severity(&String::from_utf8_lossy(&buffer[..len])));
        }
        Self(lines)
    }

    /// The words in brackets; nothing if the kernel said nothing.
    fn words(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!(" ({})", self.0.join("; ")) }
    }
}

fn without_severity(line: &str) -> String {
    let line = line.trim_end();
    let bare = ["e ", "w ", "i "].iter().find_map(|severity| line.strip_prefix(severity));
    bare.unwrap_or(line).to_owned()
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Overlayfs itself writes most of its reasons to the log of the machine only.
        if self.0.is_empty() { f.write_str(" (dmesg may say why)") } else { f.write_str(&self.words()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_follow_in_brackets() {
        let said = Log(vec![without_severity("e overlay: too many\n"), without_severity("bare")]);
        let error = KernelError::refused("this stack", Errno::INVAL, said).to_string();
        assert!(error.starts_with("the kernel refuses this stack: Invalid argument"), "{error}");
        assert!(error.ends_with(" (overlay: too many; bare)"), "{error}");
    }

    #[test]
    fn only_an_invalid_argument_is_one() {
        assert!(KernelError::refused("x", Errno::INVAL, Log::default()).is_invalid());
        assert!(!KernelError::refused("x", Errno::PERM, Log::default()).is_invalid());
        assert!(!KernelError::NeedsTarget.is_invalid());
    }

    #[test]
    fn every_sentence_says_what_was_tried_and_the_cause() {
        let cause = || std::io::Error::from(Errno::BUSY);
        let path = || PathBuf::from("/p");
        for (error, words) in [
            (KernelError::Layer { path: path(), cause: cause() }, "cannot open /p: Device"),
            (KernelError::NoMount { name: "s3://b".into(), index: 2, count: 1 }, "s3://b is mount 2 of 1"),
            (
                KernelError::Shelter { name: "n".into(), runtime: path(), step: "mkdir", cause: cause() },
                "give layer n a path under /p: mkdir: Device",
            ),
            (
                KernelError::Explained { reason: "so".into(), cause: cause(), said: Log(vec!["k".into()]) },
                "so: Device or resource busy (os error 16) (k)",
            ),
            (KernelError::TooLong(5000), "5000 bytes long and this kernel takes 4095"),
            (KernelError::Target { path: path(), cause: cause() }, "cannot mount on /p: Device"),
            (KernelError::Unmount { path: path(), cause: cause() }, "cannot unmount /p: Device"),
            (
                KernelError::Remount { path: path(), hint: " (h)", cause: cause(), said: Log::default() },
                "cannot remount /p (h): Device or resource busy (os error 16)",
            ),
            (KernelError::Trial { path: path(), step: "mkdir", cause: cause() }, "try out /p: mkdir: Device"),
        ] {
            let sentence = error.to_string();
            assert!(sentence.contains(words), "{sentence}");
        }
    }
}
