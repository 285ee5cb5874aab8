//! The inode-flag ioctls and one of our own; every other one is unknown and answered ENOTTY, as the kernel's copy-up wants it.
//!
//! Numbers and structures: `linux/fs.h`. The kernel translates its callers' `long` to 32 bits before it asks.

use overlay_core::error::{Error, Kind, Result};
use overlay_core::overlay::Overlay;

const GETFLAGS: u32 = 0x8008_6601;
const SETFLAGS: u32 = 0x4008_6602;
const FSGETXATTR: u32 = 0x801c_581f;

/// `_IOR('o', 1, __u32)`, our own: the union looks at its layers anew and says whether it has an upper. For its owner
/// and root alone.
pub(crate) const REFRESH: u32 = 0x8004_6f01;

/// Bytes of `struct fsxattr`.
const FSXATTR_LEN: usize = 28;

/// (`FS_*_FL` of GETFLAGS, `FS_XFLAG_*` of FSGETXATTR) for what both know.
const FLAGS: [(u32, u32); 6] = [
    (0x0000_0008, 0x0000_0020), // sync
    (0x0000_0010, 0x0000_0008), // immutable
    (0x0000_0020, 0x0000_0010), // append
    (0x0000_0040, 0x0000_0080), // no dump
    (0x0000_0080, 0x0000_0040), // no atime
    (0x2000_0000, 0x0000_0200), // inherit the project
];

/// The bytes that answer an ioctl.
pub(crate) async fn ioctl(overlay: &Overlay, ino: u64, command: u32, input: &[u8]) -> Result<Vec<u8>> {
    match command {
        GETFLAGS | FSGETXATTR => Ok(shown(command, overlay.flags(ino).await?)),
        SETFLAGS => {
            let bytes = input.first_chunk::<4>().ok_or_else(|| Error::new(Kind::Invalid, "setflags"))?;
            overlay.set_flags(ino, u32::from_ne_bytes(*bytes)).await?;
            Ok(Vec::new())
        }
        _ => Err(Error::new(Kind::NotTty, "ioctl")),
    }
}

/// The answer to [`REFRESH`] by a caller.
pub(crate) async fn refresh(overlay: &Overlay, uid: u32) -> Result<Vec<u8>> {
    let owner = rustix::process::geteuid().as_raw();
    if uid != 0 && uid != owner {
        return Err(Error::new(Kind::NotPermitted, "refresh"));
    }
    overlay.refresh().await?;
    Ok(u32::from(overlay.is_writable()).to_ne_bytes().to_vec())
}

/// Whether an ioctl asks for the inode flags.
pub(crate) fn asks_flags(command: u32) -> bool {
    matches!(command, GETFLAGS | FSGETXATTR)
}

/// The flags in the form that the ioctl asks for.
pub(crate) fn shown(command: u32, flags: u32) -> Vec<u8> {
    if command == FSGETXATTR { fsxattr(flags) } else { flags.to_ne_bytes().to_vec() }
}

/// `struct fsxattr` with the flags alone: extent sizes and projects are the upper file system's affair.
fn fsxattr(flags: u32) -> Vec<u8> {
    let known = FLAGS.into_iter().filter(|(flag, _)| flags & flag != 0);
    let xflags = known.fold(0, |xflags, (_, xflag)| xflags | xflag);
    let mut out = vec![0; FSXATTR_LEN];
    out[..4].copy_from_slice(&u32::to_ne_bytes(xflags));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_translated_and_unknown_ones_left_out() {
        let out = fsxattr(0x10 | 0x80 | 0x8_0000);
        assert_eq!(out.len(), FSXATTR_LEN);
        assert_eq!(out[..4], u32::to_ne_bytes(0x48));
    }
}
