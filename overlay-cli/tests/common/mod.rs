//! What the tests of the command share: the command itself, mounts that end with the test, temporary directories, and
//! a way to say that a test cannot run here.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The command under test, without what the environment would tell it.
pub(crate) fn overlay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_overlay"));
    for (key, _) in std::env::vars_os() {
        let key_text = key.to_string_lossy();
        if ["AWS_", "GOOGLE_", "AZURE_", "OVERLAY_"].iter().any(|prefix| key_text.starts_with(prefix)) {
            command.env_remove(&key);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The command under test with these words, in this directory.
pub(crate) fn overlay_in<T: AsRef<OsStr>>(dir: &Path, words: impl IntoIterator<Item = T>) -> Command {
    let mut command = overlay();
    command.current_dir(dir).args(words);
    command
}

/// The one sentence of a command that must fail.
pub(crate) fn sentence(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{command:?} succeeded: {error}");
    let sentence = error.strip_prefix("overlay: ").unwrap_or_else(|| panic!("{command:?}: {error}"));
    assert_eq!(error.lines().count(), 1, "{command:?} says more than a sentence: {error}");
    sentence.trim_end().to_owned()
}

/// The output of a command that must succeed.
pub(crate) fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {error}", output.status);
    output
}

/// A temporary directory that is removed with the test.
pub(crate) struct Temp(tempfile::TempDir);

impl Temp {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("overlay-cli-").tempdir().unwrap())
    }

    /// One with these directories.
    pub(crate) fn with(names: &[&str]) -> Self {
        let temp = Self::new();
        names.iter().for_each(|name| fs::create_dir_all(temp.at(name)).unwrap());
        temp
    }

    /// The lowers `a` and `b`, an upper, a work and a mount point. `both` is in both lowers, `low` in `b`.
    pub(crate) fn layers() -> Self {
        let temp = Self::with(&["a", "b", "upper", "work", "merged"]);
        temp.write("a/both", "a");
        temp.write("b/both", "b");
        temp.write("b/low", "low");
        temp
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        fs::write(self.at(name), data).unwrap();
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(name)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The words that mount [`Temp::layers`] with the fuse engine.
pub(crate) const FUSE: [&str; 6] =
    ["mount", "--engine", "fuse", "-o", "lowerdir=a:b,upperdir=upper,workdir=work", "merged"];

/// A mount that ends with the test. Declare it after the directory that it lies in.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Runs a command that mounts on `at` in `temp`.
    pub(crate) fn new<T: AsRef<OsStr>>(temp: &Temp, words: impl IntoIterator<Item = T>, at: &str) -> Self {
        Self::by(&mut overlay_in(temp.path(), words), &temp.at(at))
    }

    /// Runs a command that mounts on `path`.
    pub(crate) fn by(command: &mut Command, path: &Path) -> Self {
        success(command);
        assert!(is_mounted(path), "{} is not mounted by {command:?}", path.display());
        Self(path.into())
    }

    /// Guards what is mounted on `path` by other means.
    pub(crate) fn guard(path: &Path) -> Self {
        Self(path.into())
    }

    /// Unmounts by `overlay umount`, which must succeed; but not at once if it is in use: a process that another
    /// test is just starting has our open files for a moment.
    pub(crate) fn umount(self) {
        eventually("it is no longer in use", || {
            let output = overlay().arg("umount").arg(&self.0).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || error.contains("is in use"), "{error}");
            output.status.success()
        });
        assert!(!is_mounted(&self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if is_mounted(&self.0) {
            let lazily = overlay().args(["umount", "--lazy"]).arg(&self.0).status();
            assert!(lazily.unwrap().success() || std::thread::panicking());
        }
    }
}

/// Whether something is mounted on `path`.
pub(crate) fn is_mounted(path: &Path) -> bool {
    mount_line(path).is_some()
}

/// The line of `/proc/mounts` about `path`.
pub(crate) fn mount_line(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let is_at = |line: &&str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == path);
    mounts.lines().find(is_at).map(str::to_owned)
}

/// The process that serves the mount that was asked for by exactly this word and from this directory's tree: the
/// server keeps its caller's words.
pub(crate) fn server_of(word: &OsStr) -> Option<u32> {
    let is_server =
        |words: &[&[u8]]| words.contains(&&b"--serving"[..]) && words.contains(&word.as_encoded_bytes());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_server(&line.split(|b| *b == 0).collect::<Vec<_>>())
    })
}

/// Whether the fuse engine can mount here as root; says why not and for which test.
pub(crate) fn can_fuse(test: &str) -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let reason = match device {
        Err(error) => Some(format!("/dev/fuse: {error}")),
        Ok(_) if !rustix::process::geteuid().is_root() => Some("it needs root".into()),
        Ok(_) => None,
    };
    runs(test, reason)
}

/// Whether this process can mount the kernel's overlayfs; says why not and for which test.
pub(crate) fn can_overlayfs(test: &str) -> bool {
    let reason = match overlay_kernel::Offer::probe() {
        overlay_kernel::Offer::Nothing(why) => Some(why),
        overlay_kernel::Offer::Overlayfs { .. } => None,
    };
    runs(test, reason)
}

/// Says that a test is skipped, if there is a reason; whether it runs.
pub(crate) fn runs(test: &str, reason: Option<String>) -> bool {
    if let Some(reason) = &reason {
        eprintln!("skipped: {test}: {reason}");
    }
    reason.is_none()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All of a stream, on a thread, so that one that never ends fails the test instead of hanging it.
pub(crate) fn read_to_end(mut stream: impl Read + Send + 'static) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        sender.send(text).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(10)).expect("the stream does not end: somebody holds it")
}
