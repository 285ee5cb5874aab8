//! Older kernels, played by this one: a filter of system calls answers as they would.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{Scene, means};
use overlay_kernel::{Means, Offer, remount};
use rustix::io::Errno;

/// Says, in the process behind the filter, what must be found there.
const EXPECTED: &str = "OVERLAY_KERNEL_TEST_EXPECTED";

/// A system call, perhaps with one value of its second argument only, and what it is answered.
struct Answer {
    call: libc::c_long,
    second: Option<u32>,
    errno: Errno,
}

fn every(call: libc::c_long, errno: Errno) -> Answer {
    Answer { call, second: None, errno }
}

/// Linux before 5.2 (ENOSYS), or a container whose filter knows nothing newer (EPERM).
fn without_fsopen(errno: Errno) -> Vec<Answer> {
    let calls = [
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_mount_setattr,
    ];
    calls.map(|call| every(call, errno)).into()
}

/// Linux before 6.13: `FSCONFIG_SET_FD` is no way to name a layer.
fn without_descriptors() -> Vec<Answer> {
    vec![fsconfig(SET_FD)]
}

/// Commands of `fsconfig`.
const SET_STRING: u32 = 1;
const SET_FD: u32 = 5;

fn fsconfig(command: u32) -> Answer {
    Answer { call: libc::SYS_fsconfig, second: Some(command), errno: Errno::INVAL }
}

/// The program of the filter: let pass what is not answered. An errno goes with `SECCOMP_RET_ERRNO`.
fn program(answers: &[Answer]) -> Vec<libc::sock_filter> {
    let statement = |code: u32, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let mut program = Vec::new();
    for Answer { call, second, errno } in answers {
        let behind = if second.is_some() { 3 } else { 1 };
        // The number stands at 0 of `seccomp_data`, the second argument at 24.
        program.push(statement(load, 0, 0));
        program.push(statement(equal, behind, u32::try_from(*call).unwrap()));
        if let Some(second) = second {
            program.push(statement(load, 0, 24));
            program.push(statement(equal, 1, *second));
        }
        let errno = u32::try_from(errno.raw_os_error()).unwrap();
        program.push(statement(give, 0, libc::SECCOMP_RET_ERRNO | errno));
    }
    program.push(statement(give, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// The command, with the filter in force from its start.
fn behind(answers: &[Answer], mut command: Command) -> Command {
    let program = program(answers);
    let install = move || {
        let filter = libc::sock_fprog {
            len: u16::try_from(program.len()).unwrap_or_default(),
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: rustix has no call; the filter outlives the call, which copies it.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec there are two calls of prctl and nothing that takes a lock.
    unsafe { command.pre_exec(install) };
    command
}

/// Runs `a_union_lives` behind the filter, where the offer must be this one.
fn finds(answers: &[Answer], offer: &Offer) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_union_lives"]).env(EXPECTED, format!("{offer:?}"));
    let output = behind(answers, command).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{offer:?}: {text}");
}

/// Behind a filter and without one: what is offered carries a union from its beginning to its end.
#[test]
fn a_union_lives() {
    let offer = Offer::probe();
    if let Ok(expected) = std::env::var(EXPECTED) {
        assert_eq!(format!("{offer:?}"), expected);
    }
    let Offer::Overlayfs(means) = offer else { return };
    let scene = Scene::new();
    let mounted = scene.mount(&scene.writable(&["a", "b"]), means).unwrap();
    let write = |name: &str| fs::write(scene.path("merged").join(name), "");
    write("1").unwrap();
    remount(&scene.path("merged"), Some(true)).unwrap();
    remount(&scene.path("merged"), None).unwrap();
    assert_eq!(write("2").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    remount(&scene.path("merged"), Some(false)).unwrap();
    write("2").unwrap();
    mounted.unmount().unwrap();
    assert!(scene.mounts().is_empty());
    let mounted = scene.mount(&scene.over(&["a", "b"]), means).unwrap();
    remount(&scene.path("merged"), None).unwrap();
    remount(&scene.path("merged"), Some(false)).unwrap_err();
    mounted.unmount().unwrap();
}

#[test]
fn the_means_of_older_kernels_are_found_by_trying() {
    if means("the_means_of_older_kernels_are_found_by_trying").first() != Some(&Means::Descriptors) {
        return;
    }
    finds(&[], &Offer::Overlayfs(Means::Descriptors));
    finds(&without_descriptors(), &Offer::Overlayfs(Means::Paths));
    for errno in [Errno::NOSYS, Errno::PERM] {
        finds(&without_fsopen(errno), &Offer::Overlayfs(Means::Legacy));
    }
    let without_layers = [SET_FD, SET_STRING].map(fsconfig);
    finds(&without_layers, &Offer::Overlayfs(Means::Legacy));
    finds(&[every(libc::SYS_mount_setattr, Errno::NOSYS)], &Offer::Overlayfs(Means::Descriptors));
}

#[test]
fn why_there_is_nothing_is_told() {
    if means("why_there_is_nothing_is_told").is_empty() {
        return;
    }
    let nothing = |why: &str| Offer::Nothing(why.into());
    let missing = nothing("this kernel has no overlayfs");
    let forbidden = nothing("this process may not mount overlayfs (it needs CAP_SYS_ADMIN)");
    finds(&[every(libc::SYS_fsopen, Errno::NODEV)], &missing);
    for (errno, offer) in [(Errno::NODEV, missing), (Errno::PERM, forbidden)] {
        let mut old = without_fsopen(Errno::NOSYS);
        old.push(every(libc::SYS_mount, errno));
        finds(&old, &offer);
    }
}
