//! The operations, with everything that they need, so that a sequence can be printed and played again.

use super::rng::Rng;

/// One step of a sequence.
#[derive(Clone, Debug)]
pub struct Step {
    /// Done as user and group 1000, not as root.
    pub user: bool,
    pub op: Op,
}

pub type Slot = usize;

/// How many files can be held open.
pub const SLOTS: usize = 4;

#[derive(Clone, Debug)]
pub enum Op {
    Create { path: String, exclusive: bool, mode: u32 },
    Write { path: String, how: WriteHow, offset: u64, data: Data },
    Read { path: String, offset: u64, len: usize },
    Truncate { path: String, size: u64 },
    Mkdir { path: String, mode: u32 },
    Rmdir { path: String },
    Unlink { path: String },
    RemoveAll { path: String, remake: bool },
    Symlink { target: String, path: String },
    Readlink { path: String },
    Mkfifo { path: String, mode: u32 },
    Mkdev { path: String, minor: u32 },
    MakeWhiteout { path: String },
    Link { from: String, to: String },
    Rename { from: String, to: String, how: RenameHow },
    Chmod { path: String, mode: u32 },
    Chown { path: String, uid: Option<u32>, gid: Option<u32>, follow: bool },
    Utimens { path: String, atime: Option<i64>, mtime: Option<i64>, follow: bool },
    SetXattr { path: String, key: &'static str, value: u8, how: XattrHow },
    GetXattr { path: String, key: &'static str },
    ListXattr { path: String },
    RemoveXattr { path: String, key: &'static str },
    Access { path: String, mask: u32 },
    Readdir { path: String },
    Stat { path: String, follow: bool },
    Fallocate { path: String, how: FallocateHow, offset: u64, len: u64 },
    Seek { path: String, offset: u64, data: bool },
    CopyRange { from: String, from_offset: u64, to: String, to_offset: u64, len: usize },
    Fsync { path: String },
    Open { slot: Slot, path: String, how: OpenHow },
    Close { slot: Slot },
    HandleRead { slot: Slot, offset: u64, len: usize },
    HandleWrite { slot: Slot, offset: u64, data: Data },
    HandleTruncate { slot: Slot, size: u64 },
    HandleChmod { slot: Slot, mode: u32 },
    HandleChown { slot: Slot, uid: u32 },
    HandleUtimens { slot: Slot, mtime: i64 },
    HandleStat { slot: Slot },
    HandleIs { slot: Slot, path: String },
    HandleSync { slot: Slot },
    HandleSetXattr { slot: Slot, key: &'static str, value: u8 },
    HandleGetXattr { slot: Slot, key: &'static str },
    HandleListXattr { slot: Slot },
    HandleReaddir { slot: Slot },
    HandleReadlink { slot: Slot },
    HandleSeek { slot: Slot, offset: u64, data: bool },
    HandleFallocate { slot: Slot, how: FallocateHow, offset: u64, len: u64 },
    CopyHandles { from: Slot, to: Slot, len: usize },
    MkdirIn { slot: Slot, name: String },
    CreateIn { slot: Slot, name: String },
    UnlinkIn { slot: Slot, name: String },
    LinkHandle { slot: Slot, path: String },
    Remount,
}

impl Op {
    /// The handle whose file gets other attributes.
    pub fn changes_attributes_of(&self) -> Option<Slot> {
        match self {
            Self::HandleChmod { slot, .. }
            | Self::HandleChown { slot, .. }
            | Self::HandleUtimens { slot, .. }
            | Self::HandleSetXattr { slot, .. } => Some(*slot),
            _ => None,
        }
    }
}

/// Bytes to write: `len` times the letter `fill`.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub fill: u8,
    pub len: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum WriteHow {
    Plain,
    Append,
    Truncate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenHow {
    Read,
    ReadWrite,
    WriteAppend,
    ReadTruncate,
    CreateReadWrite,
    Path,
}

#[derive(Clone, Copy, Debug)]
pub enum RenameHow {
    Plain,
    NoReplace,
    Exchange,
    Whiteout,
}

#[derive(Clone, Copy, Debug)]
pub enum XattrHow {
    Any,
    Create,
    Replace,
}

#[derive(Clone, Copy, Debug)]
pub enum FallocateHow {
    Extend,
    KeepSize,
    PunchHole,
    Zero,
    ZeroKeepSize,
}

/// Few names, so that operations meet.
pub const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Keys of all sorts; the last two take ACLs.
pub const KEYS: [&str; 9] = [
    "user.a",
    "user.b",
    "trusted.t",
    "trusted.overlay.x",
    "trusted.overlay.opaque",
    "trusted.overlayfoo",
    "security.s",
    "system.posix_acl_access",
    "system.posix_acl_default",
];

const MODES: [u32; 12] =
    [0o755, 0o644, 0o777, 0o666, 0o700, 0o600, 0o4755, 0o2755, 0o6777, 0o1777, 0o2777, 0o000];
const SIZES: [u64; 7] = [0, 1, 5, 100, 4096, 5000, 9000];

/// Makes up a step; `known` are paths that exist, roughly, directories ending in `/`.
pub fn step(rng: &mut Rng, known: &[String]) -> Step {
    let mut make = Maker { rng, known };
    let user = make.rng.chance(25);
    let op = make.op();
    // Where a removal of many stops for want of permission is up to the order of the listing.
    Step { user: user && !matches!(op, Op::RemoveAll { .. }), op }
}

struct Maker<'a> {
    rng: &'a mut Rng,
    known: &'a [String],
}

impl Maker<'_> {
    fn op(&mut self) -> Op {
        match self.rng.below(100) {
            0..60 => self.on_path(),
            60..98 => self.on_handle(),
            _ => Op::Remount,
        }
    }

    fn on_path(&mut self) -> Op {
        match self.rng.below(100) {
            0..30 => self.changing_names(),
            30..45 => self.making(),
            45..70 => self.on_content(),
            70..88 => self.on_attributes(),
            _ => self.asking(),
        }
    }

    fn making(&mut self) -> Op {
        let path = self.path();
        match self.rng.below(7) {
            0 | 1 => Op::Create { path, exclusive: self.rng.chance(50), mode: self.mode() },
            2 | 3 => Op::Mkdir { path, mode: self.mode() },
            4 => Op::Symlink { target: self.target(), path },
            5 => Op::Mkfifo { path, mode: self.mode() },
            _ if self.rng.chance(50) => Op::Mkdev { path, minor: self.rng.pick(&[3, 5]) },
            _ => Op::MakeWhiteout { path },
        }
    }

    fn changing_names(&mut self) -> Op {
        match self.rng.below(11) {
            0..3 => Op::Unlink { path: self.path() },
            10 => Op::RemoveAll { path: self.path(), remake: self.rng.chance(60) },
            3..5 => Op::Rmdir { path: self.path() },
            5 => Op::Link { from: self.path(), to: self.path() },
            _ => {
                let how = match self.rng.below(9) {
                    0..4 => RenameHow::Plain,
                    4..6 => RenameHow::NoReplace,
                    6..8 => RenameHow::Exchange,
                    _ => RenameHow::Whiteout,
                };
                Op::Rename { from: self.path(), to: self.path(), how }
            }
        }
    }

    fn on_content(&mut self) -> Op {
        let path = self.path();
        match self.rng.below(10) {
            0..3 => {
                let how = self.rng.pick(&[WriteHow::Plain, WriteHow::Append, WriteHow::Truncate]);
                Op::Write { path, how, offset: self.size(), data: self.data() }
            }
            3 | 4 => Op::Read { path, offset: self.size(), len: self.size() as usize },
            5 => Op::Truncate { path, size: self.size() },
            6 => Op::Fallocate { path, how: self.fallocate(), offset: self.size(), len: self.size() + 1 },
            7 => Op::Seek { path, offset: self.size(), data: self.rng.chance(50) },
            8 => Op::CopyRange {
                from: path,
                from_offset: self.size(),
                to: self.path(),
                to_offset: self.size(),
                len: self.size() as usize,
            },
            _ => Op::Fsync { path },
        }
    }

    fn on_attributes(&mut self) -> Op {
        let path = self.path();
        let id = |rng: &mut Rng| rng.pick(&[None, Some(0), Some(1000), Some(7)]);
        match self.rng.below(9) {
            0 | 1 => Op::Chmod { path, mode: self.mode() },
            2 => {
                let follow = self.rng.chance(30);
                Op::Chown { path, uid: id(self.rng), gid: id(self.rng), follow }
            }
            3 => {
                let (atime, mtime) = (self.time(), self.time());
                Op::Utimens { path, atime, mtime, follow: self.rng.chance(30) }
            }
            4 => {
                let how = self.rng.pick(&[XattrHow::Any, XattrHow::Any, XattrHow::Create, XattrHow::Replace]);
                Op::SetXattr { path, key: self.key(), value: self.rng.below(6) as u8, how }
            }
            5 => Op::SetXattr { path, key: self.key(), value: self.rng.below(6) as u8, how: XattrHow::Any },
            6 => Op::GetXattr { path, key: self.key() },
            7 => Op::ListXattr { path },
            _ => Op::RemoveXattr { path, key: self.key() },
        }
    }

    fn asking(&mut self) -> Op {
        let path = self.path();
        match self.rng.below(5) {
            0 => Op::Access { path, mask: self.rng.below(8) as u32 },
            1 | 2 => Op::Readdir { path },
            3 => Op::Stat { path, follow: self.rng.chance(50) },
            _ => Op::Readlink { path },
        }
    }

    fn on_handle(&mut self) -> Op {
        let slot = self.rng.below(SLOTS);
        match self.rng.below(26) {
            0..6 => {
                use OpenHow::{CreateReadWrite, Path, Read, ReadTruncate, ReadWrite, WriteAppend};
                let how = self.rng.pick(&[
                    Read,
                    Read,
                    Read,
                    ReadWrite,
                    ReadWrite,
                    WriteAppend,
                    ReadTruncate,
                    CreateReadWrite,
                    Path,
                ]);
                Op::Open { slot, path: self.path(), how }
            }
            6 => Op::Close { slot },
            7 | 8 => Op::HandleRead { slot, offset: self.size(), len: self.size() as usize },
            9 | 10 => Op::HandleWrite { slot, offset: self.size(), data: self.data() },
            11 => Op::HandleTruncate { slot, size: self.size() },
            12 => Op::HandleChmod { slot, mode: self.mode() },
            13 => Op::HandleChown { slot, uid: self.rng.pick(&[0, 7, 1000]) },
            14 => Op::HandleStat { slot },
            15 => Op::HandleIs { slot, path: self.path() },
            16 => Op::HandleSync { slot },
            17 => Op::HandleSetXattr { slot, key: self.key(), value: self.rng.below(6) as u8 },
            18 => Op::HandleGetXattr { slot, key: self.key() },
            19 => Op::HandleReaddir { slot },
            20 => self.rare_on_handle(slot),
            21 => Op::HandleSeek { slot, offset: self.size(), data: self.rng.chance(50) },
            22 => Op::CopyHandles { from: slot, to: self.rng.below(SLOTS), len: self.size() as usize },
            23 => Op::MkdirIn { slot, name: self.name() },
            24 => Op::CreateIn { slot, name: self.name() },
            _ => Op::UnlinkIn { slot, name: self.name() },
        }
    }

    fn rare_on_handle(&mut self, slot: Slot) -> Op {
        match self.rng.below(5) {
            0 => Op::HandleListXattr { slot },
            1 => Op::HandleReadlink { slot },
            2 => Op::HandleUtimens { slot, mtime: 1000 + self.rng.below(1000) as i64 },
            3 => Op::LinkHandle { slot, path: self.path() },
            _ => {
                Op::HandleFallocate { slot, how: self.fallocate(), offset: self.size(), len: self.size() + 1 }
            }
        }
    }

    /// Mostly a path that exists, else one that easily could.
    fn path(&mut self) -> String {
        match self.rng.below(100) {
            0..60 if !self.known.is_empty() => self.rng.pick(self.known).trim_end_matches('/').to_owned(),
            0..88 => {
                let dirs: Vec<_> = self.known.iter().filter(|path| path.ends_with('/')).cloned().collect();
                let dir = if dirs.is_empty() { String::new() } else { self.rng.pick(&dirs) };
                format!("{dir}{}", self.name())
            }
            _ => {
                let depth = 1 + self.rng.below(3);
                (0..depth).map(|_| self.name()).collect::<Vec<_>>().join("/")
            }
        }
    }

    fn name(&mut self) -> String {
        self.rng.pick(&NAMES).to_owned()
    }

    /// Never upwards: a link must not lead out of the mount.
    fn target(&mut self) -> String {
        let name = self.name();
        if self.rng.chance(30) { format!("{name}/{}", self.name()) } else { name }
    }

    fn mode(&mut self) -> u32 {
        self.rng.pick(&MODES)
    }

    fn size(&mut self) -> u64 {
        self.rng.pick(&SIZES)
    }

    fn data(&mut self) -> Data {
        Data { fill: b'a' + self.rng.below(26) as u8, len: self.size() as usize }
    }

    fn key(&mut self) -> &'static str {
        self.rng.pick(&KEYS)
    }

    fn time(&mut self) -> Option<i64> {
        if self.rng.chance(30) { None } else { Some(self.rng.below(100_000) as i64 - 1000) }
    }

    fn fallocate(&mut self) -> FallocateHow {
        use FallocateHow::{Extend, KeepSize, PunchHole, Zero, ZeroKeepSize};
        self.rng.pick(&[Extend, KeepSize, PunchHole, Zero, ZeroKeepSize])
    }
}
