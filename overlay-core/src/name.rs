//! One validated file name: bytes, never a path.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

/// The longest name, in bytes (`NAME_MAX` of Linux).
pub const NAME_MAX: usize = 255;

/// One component of a path: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`. Any other bytes are legal:
/// names need not be UTF-8. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Checks `bytes` and makes a name of them. `NameTooLong` past [`NAME_MAX`], `Invalid` otherwise.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = bytes.as_ref();
        if bytes.len() > NAME_MAX {
            return Err(Error::new(Kind::NameTooLong, "name"));
        }
        let illegal = bytes.is_empty() || bytes == b"." || bytes == b"..";
        if illegal || bytes.iter().any(|b| *b == b'/' || *b == 0) {
            return Err(Error::new(Kind::Invalid, "name"));
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as the standard library wants it.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&OsStr> for Name {
    type Error = Error;
    fn try_from(value: &OsStr) -> Result<Self> {
        Self::new(value.as_bytes())
    }
}

impl TryFrom<&str> for Name {
    type Error = Error;
    fn try_from(value: &str) -> Result<Self> {
        Self::new(value)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_kept_byte_for_byte() {
        for bytes in [&b"a"[..], b"...", b" ", b"\xff\xfe", b"a\nb", b".wh.x", &[b'x'; 255]] {
            assert_eq!(Name::new(bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn illegal_names_are_refused_with_their_kind() {
        for bytes in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            assert_eq!(Name::new(bytes).unwrap_err().kind(), Kind::Invalid);
        }
        assert_eq!(Name::new([b'x'; 256]).unwrap_err().kind(), Kind::NameTooLong);
    }
}
