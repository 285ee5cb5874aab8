//! This process: what it was called with, what it may do, and how it prepares to serve files.

use std::ffi::OsString;
use std::fs;
use std::os::fd::RawFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// What the process was called with.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// All arguments, the program's name first.
    pub(crate) args: Vec<OsString>,
    /// The variables that are text.
    pub(crate) variables: Vec<(String, String)>,
}

impl Invocation {
    /// What to log: what was asked for, else what the environment says, else by the number of `-v`.
    pub(crate) fn log_filter(&self, asked: Option<&str>, verbose: u8) -> String {
        let variable =
            || self.variables.iter().find(|(key, _)| key == "OVERLAY_LOG").map(|(_, value)| &**value);
        let by_count = match verbose {
            0 => "warn",
            1 => "info",
            _ => "debug",
        };
        asked.or_else(variable).filter(|filter| !filter.is_empty()).unwrap_or(by_count).to_owned()
    }

    /// A directory for what lives no longer than a mount takes: the user's own if there is one.
    pub(crate) fn runtime_directory(&self) -> PathBuf {
        let own = self.variables.iter().find(|(key, _)| key == "XDG_RUNTIME_DIR").map(|(_, value)| value);
        let places =
            own.map(PathBuf::from).into_iter().chain(["/run".into()].into_iter().filter(|_| is_root()));
        places.into_iter().find(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir)
    }
}

/// Whether the process runs as root, of the machine or of a user namespace.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user and group of new files.
pub(crate) fn user_and_group() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether the process reads `trusted.` xattrs: root of the machine does, root of a user namespace does not.
pub(crate) fn reads_trusted_xattrs() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    is_root() && is_whole(&map)
}

fn is_whole(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The descriptors past the standard ones that the process got from its caller. Its own are closed by `execve`, these
/// were not.
pub(crate) fn inherited() -> std::io::Result<Vec<RawFd>> {
    let mut inherited = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name();
        let Some(fd) = number.to_str().and_then(|digits| digits.parse().ok()) else { continue };
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
        if fd > 2 && survives_exec(&info) {
            inherited.push(fd);
        }
    }
    Ok(inherited)
}

/// The flags are octal (proc_pid_fdinfo(5)).
fn survives_exec(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    flags.is_some_and(|flags| flags & OFlags::CLOEXEC.bits() == 0)
}

/// Makes the process fit to serve files: modes are taken as clients give them, and descriptors are plenty. `ps` and
/// `pgrep` know it by the command's name, though it was started as `/proc/self/exe`.
pub(crate) fn prepare() {
    umask(Mode::empty());
    if let Err(errno) = rustix::thread::set_name(c"overlay") {
        tracing::debug!(%errno, "the process keeps the name it was started by");
    }
    raise_descriptors();
}

/// Lets the process have as many descriptors as it may: one for each layer at least.
pub(crate) fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(errno) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%errno, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_decides_what_is_logged() {
        let with = |value: &str| Invocation {
            args: Vec::new(),
            variables: vec![("OVERLAY_LOG".into(), value.into())],
        };
        assert_eq!(with("debug").log_filter(Some("trace"), 1), "trace");
        assert_eq!(with("debug").log_filter(None, 1), "debug");
        assert_eq!(with("").log_filter(None, 1), "info");
        let bare = Invocation { args: Vec::new(), variables: Vec::new() };
        assert_eq!(
            [0, 1, 2, 3].map(|count| bare.log_filter(None, count)),
            ["warn", "info", "debug", "debug"]
        );
    }

    #[test]
    fn what_an_exec_closes_is_our_own() {
        assert!(survives_exec("pos:\t0\nflags:\t0100002\nmnt_id:\t28\n"));
        assert!(!survives_exec("pos:\t0\nflags:\t02100002\nmnt_id:\t28\n"));
        assert!(!survives_exec(""));
    }

    #[test]
    fn only_the_machines_own_user_namespace_maps_everyone() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0     100000      65536\n"));
        assert!(!is_whole(""));
    }
}
