//! Redirects: where an object's lower content lies when it is not under the object's own name.
//!
//! A mark holds a name in the same directory, or a path from the root of the layers. It means a place in the layers
//! *below* the object that bears it, so a path is made of what the ancestors are called there: by their own marks.

use crate::error::Kind as ErrorKind;
use crate::name::Name;

/// The longest mark, in bytes: the `redirect_max` of the kernel, which refuses to follow none but writes no longer ones.
pub const REDIRECT_MAX: usize = 256;

/// One part of a mark: a name, or `None` for `.` and `..`, which no directory is asked for.
pub type Part = Option<Name>;

/// A mark's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Another name in the same directory.
    Relative(Part),
    /// A path from the root of the layers.
    Absolute(Vec<Part>),
}

impl Redirect {
    /// Reads a mark. `Invalid` for what is neither a name nor a path.
    pub fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        let component = |part: &[u8]| match part {
            b"." | b".." => Ok(None),
            _ => Name::new(part).map(Some).map_err(|_| ErrorKind::Invalid),
        };
        match value.strip_prefix(b"/") {
            None => component(value).map(Self::Relative),
            Some(path) => {
                path.split(|b| *b == b'/').map(component).collect::<Result<_, _>>().map(Self::Absolute)
            }
        }
    }
}

/// Whether a mark must be written: there is none, or it is a name where a path is wanted.
pub fn needed(current: Option<&[u8]>, absolute: bool) -> bool {
    current.is_none_or(|value| absolute && !value.starts_with(b"/"))
}

/// The mark that is a path: of the object and its ancestors up to below the root, nearest first, each with the mark that it
/// has, or its name. `CrossDevice` if it would be too long.
pub fn absolute<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, ErrorKind> {
    let mut path: Vec<u8> = Vec::new();
    for part in parts {
        let slash: &[u8] = if part.starts_with(b"/") { b"" } else { b"/" };
        path = [slash, part, &path].concat();
        if path.len() > REDIRECT_MAX {
            return Err(ErrorKind::CrossDevice);
        }
        if slash.is_empty() {
            break;
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_the_kernel_reads_them() {
        let name = |text: &str| Some(Name::new(text).unwrap());
        assert_eq!(Redirect::parse(b"a"), Ok(Redirect::Relative(name("a"))));
        assert_eq!(Redirect::parse(b"/a/b"), Ok(Redirect::Absolute(vec![name("a"), name("b")])));
        for bad in ["", "a/b", "a/", "/", "/a/", "/a//b", "//a", "a\0b"] {
            assert_eq!(Redirect::parse(bad.as_bytes()), Err(ErrorKind::Invalid), "{bad:?}");
        }
        assert_eq!(Redirect::parse(b".."), Ok(Redirect::Relative(None)));
        assert_eq!(Redirect::parse(b"/./a"), Ok(Redirect::Absolute(vec![None, name("a")])));
    }

    #[test]
    fn a_path_is_made_of_marks_and_names_up_to_the_first_absolute_mark() {
        assert_eq!(absolute([&b"c"[..], b"b", b"a"]).unwrap(), b"/a/b/c");
        assert_eq!(absolute([&b"c"[..], b"/x/y", b"a"]).unwrap(), b"/x/y/c");
        assert_eq!(absolute([&b"/x"[..], b"a"]).unwrap(), b"/x");
        let long = [b'x'; 255];
        assert_eq!(absolute([&long[..]]).unwrap().len(), REDIRECT_MAX);
        assert_eq!(absolute([&long[..], b"a"]), Err(ErrorKind::CrossDevice));
    }

    #[test]
    fn a_mark_is_kept_unless_it_is_a_name_and_the_object_leaves_its_directory() {
        for (current, absolute, write) in [
            (None, false, true),
            (None, true, true),
            (Some(&b"a"[..]), false, false),
            (Some(&b"a"[..]), true, true),
            (Some(&b"/a"[..]), false, false),
            (Some(&b"/a"[..]), true, false),
        ] {
            assert_eq!(needed(current, absolute), write, "{current:?} {absolute}");
        }
    }
}
