//! The server in the background and in the foreground: when it is there, whom it keeps waiting, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::*;
use rustix::process::{Pid, Signal, kill_process};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The words of [`FUSE`] with the whole path of the mount point, by which the server is found.
fn words(temp: &Temp) -> Vec<std::ffi::OsString> {
    let options = FUSE[..5].iter().map(std::ffi::OsString::from);
    options.chain([temp.at("merged").into_os_string()]).collect()
}

fn foreground(temp: &Temp) -> (Child, Mount) {
    let child = overlay_in(temp.path(), FUSE).arg("-f").stderr(Stdio::piped()).spawn().unwrap();
    let guard = Mount::guard(&temp.at("merged"));
    eventually("it is mounted", || is_mounted(&temp.at("merged")));
    (child, guard)
}

#[test]
fn the_command_returns_when_the_mount_serves_and_holds_nobody() {
    if !can_fuse("the_command_returns_when_the_mount_serves_and_holds_nobody") {
        return;
    }
    let temp = Temp::layers();
    let mut command = overlay_in(temp.path(), FUSE);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _guard = Mount::guard(&temp.at("merged"));
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    assert!(child.wait().unwrap().success());
    assert_eq!(temp.read("merged/both"), "a", "it serves at once");
    assert_eq!((read_to_end(stdout), read_to_end(stderr)), (String::new(), String::new()));
}

#[test]
fn the_server_leaves_its_callers_session_and_directory() {
    if !can_fuse("the_server_leaves_its_callers_session_and_directory") {
        return;
    }
    let temp = Temp::layers();
    let mount = Mount::new(&temp, words(&temp), "merged");
    let pid = server_of(temp.at("merged").as_os_str()).unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().as_os_str(), "/");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "overlay\n", "ps knows it");
    for stream in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(target.as_os_str(), "/dev/null", "descriptor {stream}");
    }
    let session = rustix::process::getsid(Pid::from_raw(pid as i32)).unwrap();
    assert_eq!(session.as_raw_nonzero().get(), pid as i32);
    mount.umount();
    assert_eq!(server_of(temp.at("merged").as_os_str()), None, "umount has waited for it");
}

#[test]
fn the_server_keeps_nothing_that_its_caller_had_open() {
    if !can_fuse("the_server_keeps_nothing_that_its_caller_had_open") {
        return;
    }
    let temp = Temp::layers();
    let mut command = overlay_in(temp.path(), FUSE);
    let program = command.get_program().to_owned();
    let args: Vec<_> = words(&temp);
    command = std::process::Command::new("sh");
    command.args(["-c", "exec 7>held; exec \"$@\"", "sh"]).arg(program).args(args);
    assert!(command.current_dir(temp.path()).status().unwrap().success());
    let _guard = Mount::guard(&temp.at("merged"));
    let pid = server_of(temp.at("merged").as_os_str()).unwrap();
    let held = temp.at("held").canonicalize().unwrap();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        assert_ne!(fs::read_link(entry.unwrap().path()).ok(), Some(held.clone()));
    }
}

#[test]
fn an_upper_can_be_mounted_again_at_once() {
    if !can_fuse("an_upper_can_be_mounted_again_at_once") {
        return;
    }
    let temp = Temp::layers();
    for round in 0..20 {
        let mount = Mount::new(&temp, FUSE, "merged");
        assert_eq!(temp.names("merged").len(), 2 + round);
        temp.write(&format!("merged/{round}"), "");
        mount.umount();
    }
    // By other means than overlay umount, as container engines do it.
    for _ in 0..5 {
        let _mount = Mount::new(&temp, FUSE, "merged");
        rustix::mount::unmount(temp.at("merged"), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn signals_end_a_foreground_mount_cleanly() {
    if !can_fuse("signals_end_a_foreground_mount_cleanly") {
        return;
    }
    for sign in [Signal::TERM, Signal::INT, Signal::HUP] {
        let temp = Temp::layers();
        let (mut child, _guard) = foreground(&temp);
        temp.write("merged/new", "new");
        assert!(child.try_wait().unwrap().is_none(), "it stays");
        signal(&child, sign);
        assert!(child.wait().unwrap().success(), "{sign:?}");
        assert_eq!(read_to_end(child.stderr.take().unwrap()), "");
        assert!(!is_mounted(&temp.at("merged")));
        assert_eq!(temp.read("upper/new"), "new");
    }
}

#[test]
fn a_second_signal_ends_a_mount_that_is_in_use() {
    if !can_fuse("a_second_signal_ends_a_mount_that_is_in_use") {
        return;
    }
    let temp = Temp::layers();
    let (mut child, _guard) = foreground(&temp);
    let _user = fs::File::open(temp.at("merged/both")).unwrap();
    signal(&child, Signal::TERM);
    eventually("it is out of sight", || !is_mounted(&temp.at("merged")));
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "its user is still served");
    signal(&child, Signal::TERM);
    let mut status = None;
    eventually("the second signal ends it", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));
}

#[test]
fn a_foreground_mount_ends_when_it_is_unmounted_from_outside() {
    if !can_fuse("a_foreground_mount_ends_when_it_is_unmounted_from_outside") {
        return;
    }
    let temp = Temp::layers();
    let (mut child, guard) = foreground(&temp);
    // The mount is seen a moment before the server can be waited for.
    eventually("it serves", || fs::read(temp.at("merged/both")).is_ok());
    guard.umount();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_foreground_mount_of_the_kernel_ends_by_a_signal_too() {
    if !can_overlayfs("a_foreground_mount_of_the_kernel_ends_by_a_signal_too") {
        return;
    }
    for by_signal in [true, false] {
        let temp = Temp::layers();
        let words = ["mount", "-f", "--engine", "kernel", "--lower", "a", "--lower", "b", "merged"];
        let mut child = overlay_in(temp.path(), words).spawn().unwrap();
        let guard = Mount::guard(&temp.at("merged"));
        eventually("it is mounted", || is_mounted(&temp.at("merged")));
        // Until it takes signals.
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "it stays");
        if by_signal {
            signal(&child, Signal::TERM);
        } else {
            guard.umount();
        }
        assert!(child.wait().unwrap().success());
        assert!(!is_mounted(&temp.at("merged")));
    }
}

#[test]
fn a_mount_whose_server_died_can_be_unmounted() {
    if !can_fuse("a_mount_whose_server_died_can_be_unmounted") {
        return;
    }
    let temp = Temp::layers();
    let mount = Mount::new(&temp, words(&temp), "merged");
    let pid = server_of(temp.at("merged").as_os_str()).unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    eventually("the server is gone", || fs::metadata(temp.at("merged")).is_err());
    let said = sentence(&mut overlay_in(temp.path(), FUSE));
    assert!(
        said.contains("mount point merged cannot be reached: the server of a mount there has died"),
        "{said}"
    );
    mount.umount();
}

#[test]
fn the_server_is_heard_in_a_log_file() {
    if !can_fuse("the_server_is_heard_in_a_log_file") {
        return;
    }
    let temp = Temp::layers();
    let words = FUSE.into_iter().chain(["--log-file", "log", "--log", "overlay=debug"]);
    let mount = Mount::new(&temp, words, "merged");
    assert_eq!(temp.read("merged/both"), "a");
    mount.umount();
    let log = temp.read("log");
    assert!(log.contains(" mounted ") && log.contains(" unmounted"), "{log}");
}
