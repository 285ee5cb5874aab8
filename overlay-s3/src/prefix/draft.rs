//! What pages of keys say of a directory: pure data, fed with keys, without a store.

use std::collections::{BTreeMap, BTreeSet};

use overlay_core::attr::Time;

use crate::stats::Reason;

/// The longest name that a file system shows, bytes.
const NAME_MAX: usize = 255;

/// What a listing says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) etag: Option<Box<str>>,
}

/// A directory as far as pages have told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) files: BTreeMap<Box<str>, Facts>,
    pub(crate) dirs: BTreeMap<Box<str>, Draft>,
    /// Names that exist and cannot be shown.
    pub(crate) hidden: BTreeSet<(Reason, Box<[u8]>)>,
    /// The newest object seen in it, its own marker included.
    pub(crate) newest: Option<Time>,
    /// Whether everything in it has been told.
    pub(crate) complete: bool,
}

impl Draft {
    /// Takes in a key, given without the directory's own prefix.
    pub(crate) fn add(&mut self, rest: &[u8], facts: &Facts) {
        match split(rest) {
            // The directory's marker, `dir/`.
            (b"", None) => self.newest = self.newest.max(Some(facts.mtime)),
            (name, None) => self.add_file(name, facts),
            (name, Some(below)) => {
                if let Some(dir) = self.child(name) {
                    dir.add(below, facts);
                }
            }
        }
    }

    /// Takes in a common prefix: a directory of which only the name is known.
    pub(crate) fn add_dir(&mut self, rest: &[u8]) {
        let (name, _) = split(rest);
        self.child(name);
    }

    /// Everything below has been told.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
        self.dirs.values_mut().for_each(Draft::complete);
    }

    /// Keys came in order up to `last` and there are more: what lies before is complete. The child that `last`
    /// lies in is not, and is forgotten but for its name; neither is the directory itself.
    pub(crate) fn complete_before(&mut self, last: &[u8]) {
        self.dirs.values_mut().for_each(Draft::complete);
        let (name, below) = split(last);
        let unfinished = below.and_then(|_| std::str::from_utf8(name).ok());
        if let Some(dir) = unfinished.and_then(|name| self.dirs.get_mut(name)) {
            *dir = Self::default();
        }
    }

    fn add_file(&mut self, name: &[u8], facts: &Facts) {
        match legal(name) {
            Err(reason) => self.hide(reason, name),
            Ok(text) if self.dirs.contains_key(text) => self.hide(Reason::Shadowed, name),
            Ok(text) => {
                self.newest = self.newest.max(Some(facts.mtime));
                self.files.insert(text.into(), facts.clone());
            }
        }
    }

    /// The child directory of that name, made if need be; `None` if it cannot be shown. An object of the same
    /// name gives way: it is one file, the directory may be many.
    fn child(&mut self, name: &[u8]) -> Option<&mut Draft> {
        match legal(name) {
            Err(reason) => {
                self.hide(reason, name);
                None
            }
            Ok(text) => {
                if self.files.remove(text).is_some() {
                    self.hide(Reason::Shadowed, name);
                }
                Some(self.dirs.entry(text.into()).or_default())
            }
        }
    }

    fn hide(&mut self, reason: Reason, name: &[u8]) {
        self.hidden.insert((reason, name.into()));
    }
}

/// The first segment, and what follows its slash.
fn split(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().position(|byte| *byte == b'/') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    }
}

/// The segment as a name, or why it is none. Control characters are legal in a file system; object_store cannot
/// ask for such keys.
fn legal(segment: &[u8]) -> Result<&str, Reason> {
    match segment {
        b"" => return Err(Reason::Empty),
        b"." | b".." => return Err(Reason::Dots),
        _ if segment.len() > NAME_MAX => return Err(Reason::TooLong),
        _ => {}
    }
    let text = std::str::from_utf8(segment).map_err(|_| Reason::NotUtf8)?;
    if text.bytes().any(|byte| byte.is_ascii_control()) { Err(Reason::Control) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(sec: i64) -> Facts {
        Facts { size: 1, mtime: Time { sec, nsec: 0 }, etag: None }
    }

    fn draft(keys: &[&str]) -> Draft {
        let mut draft = Draft::default();
        keys.iter().enumerate().for_each(|(at, key)| draft.add(key.as_bytes(), &facts(at as i64)));
        draft
    }

    /// The tree as text: `name` a file, `name/` a complete directory with its content, `name?` an unknown one.
    fn show(draft: &Draft) -> String {
        let files = draft.files.keys().map(|name| name.to_string());
        let dirs = draft.dirs.iter().map(|(name, dir)| match dir.complete {
            true => format!("{name}/({})", show(dir)),
            false => format!("{name}?({})", show(dir)),
        });
        files.chain(dirs).collect::<Vec<_>>().join(" ")
    }

    fn hidden(draft: &Draft) -> Vec<(Reason, String)> {
        let text = |(reason, name): &(Reason, Box<[u8]>)| (*reason, String::from_utf8_lossy(name).into());
        draft.hidden.iter().map(text).collect()
    }

    #[test]
    fn keys_make_a_tree() {
        let mut draft = draft(&["a", "b/c", "b/d/e", "z"]);
        draft.complete();
        assert_eq!(show(&draft), "a z b/(c d/(e))");
        assert!(draft.complete && draft.hidden.is_empty());
    }

    #[test]
    fn markers_make_directories_and_hide_nothing() {
        let mut draft = draft(&["", "d/", "e/f/"]);
        draft.complete();
        assert_eq!(show(&draft), "d/() e/(f/())");
        assert!(draft.hidden.is_empty());
        assert_eq!(draft.newest, Some(Time { sec: 0, nsec: 0 }), "the directory's own marker");
        assert_eq!(draft.dirs["d"].newest, Some(Time { sec: 1, nsec: 0 }));
    }

    #[test]
    fn the_directory_wins_whatever_comes_first() {
        for keys in [&["a", "a-b", "a/x"][..], &["a/x", "a"], &["a", "a/"]] {
            let draft = draft(keys);
            assert!(draft.dirs.contains_key("a") && !draft.files.contains_key("a"), "{keys:?}");
            assert_eq!(hidden(&draft), [(Reason::Shadowed, "a".into())], "{keys:?}");
        }
    }

    #[test]
    fn illegal_segments_are_hidden_where_they_are() {
        let long = "x".repeat(256);
        let mut draft =
            draft(&["/a", "./b", "a//b", "a//c", "a/../d", "n\0", "t\t/x", &long, &"y".repeat(255)]);
        draft.add(b"\xff", &facts(0));
        assert_eq!(
            hidden(&draft),
            [
                (Reason::Empty, String::new()),
                (Reason::Dots, ".".into()),
                (Reason::Control, "n\0".into()),
                (Reason::Control, "t\t".into()),
                (Reason::TooLong, long),
                (Reason::NotUtf8, "\u{fffd}".into()),
            ]
        );
        assert_eq!(hidden(&draft.dirs["a"]), [(Reason::Empty, String::new()), (Reason::Dots, "..".into())]);
        assert_eq!(draft.files.len(), 1);
    }

    #[test]
    fn prefixes_are_known_by_name_alone_and_keep_what_is_known() {
        let mut draft = draft(&["d/x"]);
        draft.add_dir(b"d/");
        draft.add_dir(b"e/");
        draft.add_dir(b"/");
        draft.complete = true;
        assert_eq!(show(&draft), "d?(x) e?()");
        assert_eq!(hidden(&draft), [(Reason::Empty, String::new())]);
    }

    #[test]
    fn a_truncated_page_completes_what_lies_before_its_last_key() {
        let mut cut_in_a_dir = draft(&["a/1", "b/c/1", "b/c/2", "d/e/1", "d/f/1"]);
        cut_in_a_dir.complete_before(b"d/f/1");
        assert_eq!(show(&cut_in_a_dir), "a/(1) b/(c/(1 2)) d?()");
        assert!(!cut_in_a_dir.complete);
        let mut cut_at_a_file = draft(&["a/1", "b"]);
        cut_at_a_file.complete_before(b"b");
        assert_eq!(show(&cut_at_a_file), "b a/(1)");
        let mut cut_at_a_marker = draft(&["a/1", "b/"]);
        cut_at_a_marker.complete_before(b"b/");
        assert_eq!(show(&cut_at_a_marker), "a/(1) b?()");
        let mut cut_at_an_illegal_key = draft(&["a/1", "b//x"]);
        cut_at_an_illegal_key.complete_before(b"b//x");
        assert_eq!(show(&cut_at_an_illegal_key), "a/(1) b?()");
    }

    #[test]
    fn the_newest_object_is_the_directorys_time() {
        let mut draft = Draft::default();
        draft.add(b"a", &facts(5));
        draft.add(b"b", &facts(3));
        draft.add(b"c/d", &facts(9));
        assert_eq!(draft.newest, Some(Time { sec: 5, nsec: 0 }));
    }
}
