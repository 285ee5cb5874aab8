//! Who holds the lock of an upper or a work directory (proc_locks(5)).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A sentence that says who uses a directory, as far as that can be seen.
pub(crate) fn sentence(path: &Path) -> String {
    let shown = path.display();
    match holder(path) {
        Some(pid) => match mountpoint(pid) {
            Some(place) => format!("{shown} is in use by the mount on {place} (process {pid})"),
            None => format!("{shown} is in use by process {pid}"),
        },
        None => format!("{shown} is in use by another mount"),
    }
}

/// The first of some directories that somebody holds.
pub(crate) fn held(paths: [&Path; 2]) -> Option<&Path> {
    paths.into_iter().find(|path| holder(path).is_some())
}

fn holder(path: &Path) -> Option<u32> {
    let data = fs::metadata(path).ok()?;
    let id = (rustix::fs::major(data.dev()), rustix::fs::minor(data.dev()), data.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().filter_map(lock).find(|(_, of)| *of == id).map(|(pid, _)| pid)
}

/// The process and the file (major, minor, inode) of a line. Of a process elsewhere there is no number.
fn lock(line: &str) -> Option<(u32, (u32, u32, u64))> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0)?;
    let mut file = words.next()?.split(':');
    let mut hex = || u32::from_str_radix(file.next()?, 16).ok();
    let (major, minor) = (hex()?, hex()?);
    Some((pid, (major, minor, file.next()?.parse().ok()?)))
}

/// Where a server of ours has mounted: the last word it was started with.
fn mountpoint(pid: u32) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = words.split(|b| *b == 0).filter(|word| !word.is_empty()).collect();
    let is_ours = words.iter().any(|word| *word == b"mount");
    let last = words.last().filter(|_| is_ours)?;
    Some(Path::new(OsStr::from_bytes(last)).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_lock_is_read() {
        let line = "3: FLOCK  ADVISORY  WRITE 708 fe:1f:123456 0 EOF";
        assert_eq!(lock(line), Some((708, (0xfe, 0x1f, 123_456))));
        assert_eq!(lock("3: -> FLOCK  ADVISORY  WRITE 708 fe:00:7 0 EOF"), Some((708, (0xfe, 0, 7))));
        for other in
            ["1: POSIX  ADVISORY  READ 5 08:02:1 0 EOF", "1: FLOCK ADVISORY WRITE 0 00:01:1 0 EOF", ""]
        {
            assert_eq!(lock(other), None, "{other}");
        }
    }
}
