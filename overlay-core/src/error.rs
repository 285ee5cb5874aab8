//! What went wrong, where, and the only errno table.
//!
//! Absence is not an error: layers answer it with `Ok(None)`. Every other failure of a layer travels to the
//! caller as it is, since taking it for absence would expose what a layer above has hidden.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustix::io::Errno;

use crate::name::Name;

/// The result of every operation of the crate.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $errno:ident),* $(,)?) => {
        /// What a program can tell of an error: one kind an errno that the file system answers on purpose,
        /// and `Os` for whatever else a kernel below said.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* /// Any other errno, passed on unchanged.
            Os(i32) }

        impl Kind {
            /// The errno that stands for this kind.
            pub fn errno(self) -> i32 {
                match self { $(Kind::$kind => Errno::$errno.raw_os_error(),)* Kind::Os(raw) => raw }
            }

            /// The kind of an errno.
            pub fn from_errno(raw: i32) -> Self {
                $(if raw == Errno::$errno.raw_os_error() { return Kind::$kind; })*
                Kind::Os(raw)
            }
        }
    };
}

kinds! {
    /// The name does not exist.
    NotFound = NOENT,
    /// The name exists already.
    Exists = EXIST,
    /// Not a directory.
    NotDir = NOTDIR,
    /// Is a directory.
    IsDir = ISDIR,
    /// The directory is not empty.
    NotEmpty = NOTEMPTY,
    /// The argument makes no sense here.
    Invalid = INVAL,
    /// The operation needs a privilege that the caller lacks.
    NotPermitted = PERM,
    /// The permissions of the object forbid it; an object store's 401 and 403 too.
    Access = ACCESS,
    /// The layer or the mount is read-only.
    ReadOnly = ROFS,
    /// It would cross layers: the caller should copy.
    CrossDevice = XDEV,
    /// The name or the value is too long.
    NameTooLong = NAMETOOLONG,
    /// A loop of links or of layers.
    Loop = LOOP,
    /// The input or output failed; an object store's exhausted deadline too.
    Io = IO,
    /// The object behind the handle is not what it was (an object store's changed ETag).
    Stale = STALE,
    /// No space left.
    NoSpace = NOSPC,
    /// The quota is used up.
    Quota = DQUOT,
    /// The file would be too large.
    TooBig = FBIG,
    /// The operation is not supported by the layer.
    Unsupported = OPNOTSUPP,
    /// The ioctl is not known.
    NotTty = NOTTY,
    /// The xattr does not exist.
    NoData = NODATA,
    /// The buffer is too small.
    Range = RANGE,
    /// The value is too large.
    TooLarge = TOOBIG,
    /// The handle is not open, or not for this.
    BadHandle = BADF,
    /// In use.
    Busy = BUSY,
    /// No such offset (SEEK_DATA past the last data), no such device.
    NoSuchDevice = NXIO,
    /// The operation is not implemented at all.
    NotImplemented = NOSYS,
    /// Too many links.
    TooManyLinks = MLINK,
    /// The executable is in use.
    TextBusy = TXTBSY,
    /// Too many open files.
    TooManyFiles = MFILE,
    /// A value does not fit its type.
    Overflow = OVERFLOW,
    /// Interrupted.
    Interrupted = INTR,
    /// Out of memory.
    NoMemory = NOMEM,
    /// Try again.
    Again = AGAIN,
}

/// An error: kind for programs; operation, layer, name and cause for people.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    op: &'static str,
    layer: Option<Arc<str>>,
    name: Option<Name>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in operation `op` (a POSIX or system-call name such as `lookup` or `fsync`).
    pub fn new(kind: Kind, op: &'static str) -> Self {
        Self(Box::new(Inner { kind, op, layer: None, name: None, source: None }))
    }

    /// The error of a system call `op`.
    pub fn os(errno: Errno, op: &'static str) -> Self {
        Self::new(Kind::from_errno(errno.raw_os_error()), op).because(errno)
    }

    /// Names the layer, unless a room nearer to the cause named it already.
    #[must_use]
    pub fn in_layer(mut self, layer: &Arc<str>) -> Self {
        self.0.layer.get_or_insert_with(|| layer.clone());
        self
    }

    /// Names the object, unless a room nearer to the cause named it already.
    #[must_use]
    pub fn at(mut self, name: &Name) -> Self {
        self.0.name.get_or_insert_with(|| name.clone());
        self
    }

    /// Adds the cause: an error, or a sentence.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What a program can tell of it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The errno that answers it.
    pub fn errno(&self) -> i32 {
        self.0.kind.errno()
    }

    /// The operation that failed.
    pub fn op(&self) -> &'static str {
        self.0.op
    }

    /// The layer it failed in, where known.
    pub fn layer(&self) -> Option<&str> {
        self.0.layer.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.op)?;
        if let Some(name) = &self.0.name {
            write!(f, " {name:?}")?;
        }
        if let Some(layer) = &self.0.layer {
            write!(f, " in layer {layer}")?;
        }
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => write!(f, ": {}", std::io::Error::from_raw_os_error(self.errno())),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_survives_the_way_in_and_out() {
        for raw in 1..=133 {
            assert_eq!(Kind::from_errno(raw).errno(), raw, "errno {raw}");
        }
    }

    #[test]
    fn the_message_says_operation_name_layer_and_cause() {
        let layer: Arc<str> = "s3://b/p".into();
        let name = Name::new("x").unwrap();
        let error = Error::new(Kind::Access, "lookup").at(&name).in_layer(&layer).because("403 Forbidden");
        assert_eq!(error.to_string(), "lookup \"x\" in layer s3://b/p: 403 Forbidden");
        let other: Arc<str> = "outer".into();
        assert_eq!(error.in_layer(&other).layer(), Some("s3://b/p"), "the innermost room wins");
    }
}
