//! A directory to work in and a shell that finds the `overlay` command: the tests type what a user types.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses a part")]

#[cfg(feature = "demo-server")]
pub mod bucket;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Whether this machine can mount as root; says by name which test is skipped where it cannot.
pub fn can_mount(test: &str) -> bool {
    let fuse = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    let root = rustix::process::geteuid().is_root();
    if !fuse || !root {
        eprintln!("SKIPPED {test}: it needs {}", if fuse { "root" } else { "/dev/fuse" });
    }
    fuse && root
}

/// Leaves a test that cannot run here, naming it.
#[macro_export]
macro_rules! needs_fuse {
    () => {{
        fn here() {}
        if !shell::can_mount(std::any::type_name_of_val(&here).trim_end_matches("::here")) {
            return;
        }
    }};
}

/// Whether the programs are there; says by name which test, or which part of it, is skipped where one is missing.
pub fn has(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let missing: Vec<_> = programs.iter().filter(|program| !found(program)).collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED {test}: it needs {missing:?}; .ci/packages installs what the tests use");
    }
    missing.is_empty()
}

/// An empty directory; what is mounted in it is unmounted at the end.
pub struct Shell {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl Shell {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { dir, environment: Vec::new() }
    }

    /// Sets a variable for the commands that follow.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A shell command that is about to run in the directory.
    pub fn command(&self, script: &str) -> Command {
        let bin = Path::new(env!("CARGO_BIN_EXE_overlay")).parent().unwrap().to_owned();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.dir()).env("PATH", path).env("LC_ALL", "C");
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    pub fn output(&self, script: &str) -> Output {
        self.command(script).output().unwrap()
    }

    /// Runs a script that must succeed; what it prints.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.output(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{}\n{text}{complaint}", output.status);
        text
    }

    /// Runs a script that must fail; what it complains.
    #[track_caller]
    pub fn fails(&self, script: &str) -> String {
        let output = self.output(script);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{script}\nsucceeded: {text}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs a script and compares what it prints, line by line.
    #[track_caller]
    pub fn prints(&self, script: &str, expected: &str) {
        assert_eq!(self.run(script).trim_end(), expected.trim_end(), "{script}");
    }

    fn unmount_all(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let inside =
            |line: &&str| line.split(' ').nth(1).is_some_and(|at| Path::new(at).starts_with(self.dir()));
        let mut places: Vec<_> =
            mounts.lines().filter(inside).filter_map(|line| line.split(' ').nth(1)).collect();
        places.reverse();
        for place in places {
            let done = Command::new("umount").args(["-l", place]).status();
            assert!(done.unwrap().success(), "umount {place}");
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.unmount_all();
    }
}
