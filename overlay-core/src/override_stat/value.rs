//! The value of the xattr, and what a change of attributes becomes. Pure.
//!
//! Format: `UID:GID:0MODE[:TYPE]`, the mode in octal, the type one of `dir`, `file`, `symlink`, `pipe`, `socket`,
//! `block-MAJOR-MINOR` and `char-MAJOR-MINOR` (containers/storage, `pkg/idtools`: `Stat.String`; fuse-overlayfs writes it
//! without the type).

use crate::attr::{Attr, Kind, SetAttr};
use crate::merge::inherit::without_privilege;

/// Under which key the xattrs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `security.fuseoverlayfs.override_stat`, which needs CAP_SYS_ADMIN (`xattr_permissions=1`).
    Security,
    /// `user.containers.override_stat`, which the owner of a file may set (`xattr_permissions=2`).
    Containers,
}

const SECURITY: &[u8] = b"security.fuseoverlayfs.override_stat";
const CONTAINERS: &[u8] = b"user.containers.override_stat";
/// What fuse-overlayfs wrote before it had the others.
const OLD: &[u8] = b"user.fuseoverlayfs.override_stat";

impl Form {
    /// The key that is written.
    pub(super) fn key(self) -> &'static [u8] {
        match self {
            Self::Security => SECURITY,
            Self::Containers => CONTAINERS,
        }
    }

    /// The keys that are read, the first that is there counts.
    pub(super) fn keys(self) -> [&'static [u8]; 2] {
        [self.key(), OLD]
    }

    /// Whether an object that is really of this kind can carry the xattr: those of `user.` only files and directories.
    pub(super) fn fits(self, real: Kind) -> bool {
        self == Self::Security || matches!(real, Kind::File | Kind::Dir)
    }
}

/// Whether the key is one of ours, in whatever form.
pub(super) fn is_private(key: &[u8]) -> bool {
    [SECURITY, CONTAINERS, OLD].contains(&key)
}

/// What an xattr says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Override {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Permission bits (`0o7777`).
    pub(super) mode: u32,
    /// The type and, for a device, which; `None`: the object's own.
    pub(super) kind: Option<(Kind, u64)>,
}

impl Override {
    /// Reads a value; `None` if it is malformed.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(value).ok()?.splitn(4, ':');
        let (uid, gid) = (number(fields.next()?, 10)?, number(fields.next()?, 10)?);
        // Some writers leave the type in the mode.
        let mode = number(fields.next()?, 8)? & 0o7777;
        let kind = fields.next().map(|text| parse_kind(text).ok_or(())).transpose().ok()?;
        Some(Self { uid, gid, mode, kind })
    }

    /// What says that an object has these attributes.
    pub(super) fn of(shown: &Attr) -> Self {
        let Attr { uid, gid, mode, kind, rdev, .. } = *shown;
        Self { uid, gid, mode, kind: Some((kind, rdev)) }
    }

    /// The value.
    pub(super) fn print(&self) -> Vec<u8> {
        let Self { uid, gid, mode, kind } = self;
        let kind = kind.map(|(kind, rdev)| format!(":{}", print_kind(kind, rdev))).unwrap_or_default();
        format!("{uid}:{gid}:0{mode:o}{kind}").into_bytes()
    }

    /// The attributes that are shown. A regular file may stand for anything that has no content of its own; all else is
    /// what it is.
    pub(super) fn apply(&self, real: Attr) -> Attr {
        let (kind, rdev) = match (real.kind, self.kind) {
            (Kind::File, Some((Kind::Fifo | Kind::Socket | Kind::Block | Kind::Char, _))) => {
                self.kind.unwrap_or((real.kind, 0))
            }
            _ => (real.kind, real.rdev),
        };
        // Links have no permissions of their own.
        let mode = if kind == Kind::Symlink { real.mode } else { self.mode };
        Attr { uid: self.uid, gid: self.gid, mode, kind, rdev, ..real }
    }
}

/// A number without a sign.
fn number(text: &str, radix: u32) -> Option<u32> {
    if text.starts_with('+') { None } else { u32::from_str_radix(text, radix).ok() }
}

fn parse_kind(text: &str) -> Option<(Kind, u64)> {
    let device = |kind, numbers: &str| {
        let (major, minor) = numbers.split_once('-')?;
        Some((kind, device_of(number(major, 10)?, number(minor, 10)?)))
    };
    match text {
        "dir" => Some((Kind::Dir, 0)),
        "file" => Some((Kind::File, 0)),
        "symlink" => Some((Kind::Symlink, 0)),
        "pipe" => Some((Kind::Fifo, 0)),
        "socket" => Some((Kind::Socket, 0)),
        _ => match text.split_once('-')? {
            ("block", numbers) => device(Kind::Block, numbers),
            ("char", numbers) => device(Kind::Char, numbers),
            _ => None,
        },
    }
}

fn print_kind(kind: Kind, rdev: u64) -> String {
    let device = |word| {
        let (major, minor) = numbers_of(rdev);
        format!("{word}-{major}-{minor}")
    };
    match kind {
        Kind::File => "file".into(),
        Kind::Dir => "dir".into(),
        Kind::Symlink => "symlink".into(),
        Kind::Fifo => "pipe".into(),
        Kind::Socket => "socket".into(),
        Kind::Block => device("block"),
        Kind::Char => device("char"),
    }
}

/// The device of a major and a minor number, as `makedev(3)` encodes it.
pub(super) fn device_of(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (major & !0xfff) << 32 | (major & 0xfff) << 8 | (minor & !0xff) << 12 | minor & 0xff
}

/// The major and the minor number of a device.
pub(super) fn numbers_of(rdev: u64) -> (u32, u32) {
    let major = (rdev >> 32) as u32 & !0xfff | (rdev >> 8) as u32 & 0xfff;
    let minor = (rdev >> 12) as u32 & !0xff | rdev as u32 & 0xff;
    (major, minor)
}

/// The mode that the real object has where `mode` is shown: the process can read and write it whatever is shown, nobody
/// can run it with anybody's privilege, and otherwise it follows, as the mask of an ACL follows the mode.
pub(super) fn real_mode(is_dir: bool, mode: u32) -> u32 {
    (mode & 0o777) | if is_dir { 0o700 } else { 0o600 }
}

/// A change of attributes, divided by where each value goes. In this order:
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Division {
    /// The owner of an object that cannot carry the xattr: set if the process may.
    pub(super) owner: SetAttr,
    /// The new value of the xattr.
    pub(super) value: Option<Vec<u8>>,
    /// What the object itself gets.
    pub(super) real: SetAttr,
}

/// The mode after a change that leaves the mode out: a new owner takes set-user-ID off whatever is no directory, as it does
/// where the owner is the inode's, or a program would run as whom it is given to.
fn mode_after_chown(shown: &Attr, change: &SetAttr) -> u32 {
    let given_away = (change.uid.is_some() || change.gid.is_some()) && !shown.is_dir();
    without_privilege(shown.mode).filter(|_| given_away).unwrap_or(shown.mode)
}

/// Divides a change of an object that is shown with `shown` and is really of the kind `real`.
pub(super) fn divide(form: Form, real: Kind, shown: &Attr, change: &SetAttr) -> Division {
    let rest = SetAttr { uid: None, gid: None, ..change.clone() };
    if !form.fits(real) {
        let owner = SetAttr { uid: change.uid, gid: change.gid, ..SetAttr::default() };
        return Division { owner, value: None, real: rest };
    }
    let mode = change.mode.filter(|_| real != Kind::Symlink);
    if change.uid.is_none() && change.gid.is_none() && mode.is_none() {
        return Division { real: rest, ..Division::default() };
    }
    let now = Attr {
        uid: change.uid.unwrap_or(shown.uid),
        gid: change.gid.unwrap_or(shown.gid),
        mode: mode.unwrap_or_else(|| mode_after_chown(shown, change)),
        ..shown.clone()
    };
    let mode = mode.map(|mode| real_mode(real == Kind::Dir, mode));
    Division {
        owner: SetAttr::default(),
        value: Some(Override::of(&now).print()),
        real: SetAttr { mode, ..rest },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Time;

    const KINDS: [Kind; 7] =
        [Kind::File, Kind::Dir, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::Block, Kind::Char];

    fn attr(kind: Kind) -> Attr {
        Attr { uid: 1, gid: 2, ..Attr::new(kind, 9, 0o600, 0, Time::default()) }
    }

    #[test]
    fn what_others_write_is_read() {
        let dev = device_of;
        for (text, uid, gid, mode, kind) in [
            ("0:0:0755:dir", 0, 0, 0o755, Some((Kind::Dir, 0))),
            ("1000:1001:04755:file", 1000, 1001, 0o4755, Some((Kind::File, 0))),
            ("0:5:0620", 0, 5, 0o620, None),
            ("0:5:100644", 0, 5, 0o644, None),
            ("0:0:0666:char-1-3", 0, 0, 0o666, Some((Kind::Char, dev(1, 3)))),
            ("0:6:0660:block-259-300", 0, 6, 0o660, Some((Kind::Block, dev(259, 300)))),
            ("0:0:0:pipe", 0, 0, 0, Some((Kind::Fifo, 0))),
            ("0:0:0600:socket", 0, 0, 0o600, Some((Kind::Socket, 0))),
            ("0:0:0777:symlink", 0, 0, 0o777, Some((Kind::Symlink, 0))),
        ] {
            let expected = Override { uid, gid, mode, kind };
            assert_eq!(Override::parse(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(Override::parse(&expected.print()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        for text in [
            "",
            "0",
            "0:0",
            "a:0:0644",
            "0:-1:0644",
            "0:+1:0644",
            "0:0:0888",
            "0:0:",
            "0:0:0644:",
            "0:0:0644:char",
            "0:0:0644:char-1",
            "0:0:0644:char-1-x",
            "0:0:0644:door",
            "0:0:0644:char-1-3:x",
            "4294967296:0:0644",
        ] {
            assert_eq!(Override::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Override::parse(b"0:0:0644:\xff"), None);
    }

    #[test]
    fn only_a_regular_file_stands_for_something_else() {
        for real in KINDS {
            for told in KINDS {
                let says = Override { uid: 5, gid: 6, mode: 0o4711, kind: Some((told, 7)) };
                let shown = says.apply(attr(real));
                assert_eq!((shown.uid, shown.gid, shown.ino), (5, 6, 9));
                let special = matches!(told, Kind::Fifo | Kind::Socket | Kind::Block | Kind::Char);
                let expected = if real == Kind::File && special { (told, 7) } else { (real, 0) };
                assert_eq!((shown.kind, shown.rdev), expected, "{real:?} {told:?}");
                assert_eq!(shown.mode, if real == Kind::Symlink { 0o600 } else { 0o4711 });
            }
        }
    }

    #[test]
    fn a_change_goes_where_it_can_be_kept() {
        let change = |uid, gid, mode| SetAttr { uid, gid, mode, size: Some(4), ..SetAttr::default() };
        for form in [Form::Security, Form::Containers] {
            for real in KINDS {
                for (uid, gid, mode) in [
                    (None, None, None),
                    (Some(5), None, None),
                    (None, Some(6), Some(0o4411)),
                    (None, None, Some(0)),
                ] {
                    let change = change(uid, gid, mode);
                    let Division { owner, value, real: rest } = divide(form, real, &attr(real), &change);
                    let fits = form == Form::Security || matches!(real, Kind::File | Kind::Dir);
                    assert_eq!((owner.uid, owner.gid), if fits { (None, None) } else { (uid, gid) });
                    assert_eq!((rest.uid, rest.gid, rest.size), (None, None, Some(4)));
                    let mode = mode.filter(|_| !fits || real != Kind::Symlink);
                    assert_eq!(value.is_some(), fits && (uid, gid, mode) != (None, None, None));
                    let Some(value) = value else { continue };
                    let told = Override::parse(&value).unwrap();
                    let expected = (uid.unwrap_or(1), gid.unwrap_or(2), mode.unwrap_or(0o600));
                    assert_eq!((told.uid, told.gid, told.mode), expected);
                    let least = if real == Kind::Dir { 0o700 } else { 0o600 };
                    assert_eq!(rest.mode, mode.map(|mode| mode & 0o777 | least));
                }
            }
        }
    }

    #[test]
    fn a_new_owner_takes_set_user_id_off() {
        for (kind, change, mode) in [
            (Kind::File, SetAttr { uid: Some(5), ..SetAttr::default() }, 0o755),
            (Kind::File, SetAttr { gid: Some(5), ..SetAttr::default() }, 0o755),
            (Kind::File, SetAttr { uid: Some(5), mode: Some(0o6711), ..SetAttr::default() }, 0o6711),
            (Kind::Dir, SetAttr { uid: Some(5), ..SetAttr::default() }, 0o6755),
        ] {
            let shown = Attr { mode: 0o6755, ..attr(kind) };
            let value = divide(Form::Containers, kind, &shown, &change).value.unwrap();
            assert_eq!(Override::parse(&value).unwrap().mode, mode, "{kind:?} {change:?}");
        }
    }

    #[test]
    fn keys_are_known_in_every_form() {
        assert_eq!(Form::Containers.keys(), [CONTAINERS, OLD]);
        assert_eq!(Form::Security.keys(), [SECURITY, OLD]);
        assert!(is_private(SECURITY) && is_private(CONTAINERS) && is_private(OLD) && !is_private(b"user.x"));
    }
}
