//! The sample content that the promises of a layer are checked on.

use bytes::Bytes;

use super::tree::{Capabilities, Tree, What};
use crate::attr::Kind;

/// A little over 3 MiB: more than a read of any layer, and no multiple of a block.
const BIG: usize = (3 << 20) + 17;

/// Where the sparse file's only data lies. Any file system's hole is smaller than what surrounds it.
pub(super) const SPARSE_DATA: std::ops::Range<u64> = (2 << 20)..(2 << 20) + 65536;

/// The size of the sparse file: a hole before the data and one after it.
pub(super) const SPARSE_SIZE: u64 = 6 << 20;

/// Levels of the deepest directory.
const DEPTH: usize = 24;

/// Names that a careless layer splits, decodes or escapes.
const ODD_NAMES: [&[u8]; 15] = [
    b" ",
    b"two words",
    b"new\nline",
    b"tab\t",
    b"quote'\"",
    b"back\\slash",
    b"%41%2f",
    b"a?b#c&d=e",
    b"...",
    b"-rf",
    b"*",
    b"\x01\x7f",
    "\u{e4}\u{1f980}".as_bytes(),
    "a\u{308}".as_bytes(),
    b"~",
];

impl Tree {
    /// The sample content, as far as a layer can hold it.
    pub fn sample(can: Capabilities) -> Self {
        let tree = plain(can);
        let tree = named(tree, can);
        marked(described(tree, can), can)
    }
}

/// `len` bytes that repeat nowhere a reader would expect it.
pub(super) fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// What every layer can hold: files in directories.
fn plain(can: Capabilities) -> Tree {
    let tree = Tree::new()
        .file("hello", "hello, world\n")
        .file("empty", "")
        .file("big", noise(BIG))
        .file("dir/one", "1")
        .file("dir/two", "22")
        .file("dir/sub/three", "333")
        .file("dir.txt", "sorts between dir and dir/")
        .file(deep("leaf"), "at the bottom");
    if can.empty_dirs { tree.dir("void") } else { tree }
}

fn named(mut tree: Tree, can: Capabilities) -> Tree {
    let mut odd: Vec<Vec<u8>> = ODD_NAMES.iter().map(|name| name.to_vec()).collect();
    odd.retain(|name| can.control_names || !name.iter().any(u8::is_ascii_control));
    odd.push(vec![b'n'; 255]);
    if can.non_utf8_names {
        odd.extend([b"\xff\xfe".to_vec(), b"\xc3\x28".to_vec(), (0x80..=0xff).collect()]);
    }
    for name in odd {
        tree = tree.file([b"names/", &name[..]].concat(), &name);
    }
    tree
}

/// Objects and attributes that only some layers have.
fn described(mut tree: Tree, can: Capabilities) -> Tree {
    if can.symlinks {
        tree = tree
            .symlink("link", "hello")
            .symlink("dirlink", "dir")
            .symlink("dangling", "../no//such/./\u{e4} ");
    }
    if can.special_files {
        tree = tree.add("fifo", What::Special(Kind::Fifo, 0)).add("socket", What::Special(Kind::Socket, 0));
    }
    if can.devices {
        tree =
            tree.add("null", What::Special(Kind::Char, 0x103)).add("disk", What::Special(Kind::Block, 0x801));
    }
    if can.hard_links {
        tree = tree.add("twin", What::HardLink(b"dir/one".to_vec()));
    }
    if can.holes {
        let data = noise((SPARSE_DATA.end - SPARSE_DATA.start) as usize);
        tree = tree.add("sparse", What::Sparse(SPARSE_SIZE, vec![(SPARSE_DATA.start, data)]));
    }
    if can.modes {
        tree = tree.file("private", "p").mode(0o600).file("tool", "t").mode(0o755).dir("shut").mode(0o710);
        tree = tree.file("shut/in", "i");
    }
    if can.owners {
        tree = tree.file("owned", "o").owner(1234, 4321);
    }
    if can.times {
        tree =
            tree.file("then", "t").time(1_600_000_000, 123_456_789).file("before", "b").time(-1, 999_999_999);
        tree = tree.file("after", "a").time(4_000_000_000, 1).file("times/in", "i").time(7, 0);
    }
    if can.xattrs {
        tree = tree.file("tagged", "t").xattr("user.suite.a", "1").xattr("user.suite.empty", "");
        tree = tree.xattr("user.suite.bytes", b"\x00\xff\n").dir("tags").xattr("user.suite.dir", "d");
        tree = tree.file("tags/in", "i");
    }
    tree
}

fn marked(mut tree: Tree, can: Capabilities) -> Tree {
    if can.whiteouts {
        tree = tree.whiteout("gone").whiteout("marks/gone").file("marks/kept", "k");
    }
    if can.opaque {
        tree = tree.dir("opaque").opaque().file("opaque/in", "i").file("opaque/clear/in", "i");
    }
    tree
}

/// The path of `name` at the bottom of the deepest directory.
pub(super) fn deep(name: &str) -> String {
    format!("{}{name}", "deep/".repeat(DEPTH))
}
