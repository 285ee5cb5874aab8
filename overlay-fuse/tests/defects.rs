//! One test for each way in which another union file system loses data or lets people in (docs/SEMANTICS.md).
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod common;

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::process::Command;

use common::{Union, names};
use overlay_core::overlay::RedirectDir;
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, XattrFlags, renameat_with};
use rustix::io::Errno;

fn errno(error: &std::io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_write_never_reaches_a_lower_that_is_open_for_reading() {
    needs_fuse!();
    let mut u = Union::new(1);
    let content = "lower ".repeat(5000);
    u.put("l0/f", &content);
    u.mount();
    let mut reader = fs::File::open(u.mnt("f")).unwrap();
    let mut start = [0; 5];
    reader.read_exact(&mut start).unwrap();
    let writer = OpenOptions::new().read(true).write(true).open(u.mnt("f")).unwrap();
    writer.write_all_at(b"UPPER", 0).unwrap();
    writer.sync_all().unwrap();
    assert_eq!(fs::read_to_string(u.at("l0/f")).unwrap(), content, "the lower is untouched");
    assert!(fs::read_to_string(u.upper("f")).unwrap().starts_with("UPPER "), "the upper has the write");
    reader.seek(SeekFrom::Start(0)).unwrap();
    reader.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"UPPER", "a reader from before the copy-up sees the write");
}

#[test]
fn a_copy_from_an_old_handle_copies_what_was_written_since() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "old old old");
    u.mount();
    let reader = fs::File::open(u.mnt("f")).unwrap();
    fs::write(u.mnt("f"), "new new new").unwrap();
    let target = fs::File::create(u.mnt("copy")).unwrap();
    rustix::fs::copy_file_range(&reader, Some(&mut 0), &target, Some(&mut 0), 11).unwrap();
    assert_eq!(fs::read_to_string(u.mnt("copy")).unwrap(), "new new new");
}

#[test]
fn a_file_deleted_made_and_deleted_again_stays_deleted() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "lower");
    u.mount();
    for _ in 0..2 {
        for round in 0..2 {
            if round > 0 {
                fs::write(u.mnt("f"), "again").unwrap();
            }
            if u.mnt("f").exists() {
                fs::remove_file(u.mnt("f")).unwrap();
            }
            assert_eq!(fs::metadata(u.mnt("f")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
            assert_eq!(names(&u.mnt("")), [""; 0]);
        }
        u.remount();
    }
}

#[test]
fn a_directory_made_where_one_was_deleted_is_empty_for_good() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/d/a/b", "lower");
    u.put("l0/e/c", "lower");
    u.mount();
    fs::remove_dir_all(u.mnt("d")).unwrap();
    fs::create_dir_all(u.mnt("d/a")).unwrap();
    fs::create_dir(u.mnt("fresh")).unwrap();
    fs::remove_dir_all(u.mnt("e")).unwrap();
    fs::rename(u.mnt("fresh"), u.mnt("e")).unwrap();
    for _ in 0..2 {
        assert_eq!(names(&u.mnt("d/a")), [""; 0]);
        assert_eq!(names(&u.mnt("e")), [""; 0]);
        u.remount();
    }
    fs::remove_dir(u.mnt("d/a")).unwrap();
    fs::remove_dir(u.mnt("d")).unwrap();
    fs::remove_dir(u.mnt("e")).unwrap();
    assert_eq!(names(&u.remount().mnt("")), [""; 0]);
}

#[test]
fn a_directory_made_in_a_merged_one_is_not_marked_opaque() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/d/x", "");
    u.mount();
    fs::create_dir(u.mnt("d/new")).unwrap();
    let opaque = |path| rustix::fs::getxattr(path, "trusted.overlay.opaque", &mut [0_u8; 4]).is_ok();
    assert!(!opaque(u.upper("d/new")));
    fs::remove_file(u.mnt("d/x")).unwrap();
    fs::create_dir(u.mnt("d/x")).unwrap();
    assert!(opaque(u.upper("d/x")), "it hides a lower name");
}

#[test]
fn names_that_begin_with_wh_are_ordinary() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "keep me");
    u.put("l0/.wh.g", "ordinary");
    u.mount();
    fs::write(u.mnt(".wh.f"), "ordinary, too").unwrap();
    fs::create_dir(u.mnt(".wh..wh..opq")).unwrap();
    for _ in 0..2 {
        assert_eq!(names(&u.mnt("")), [".wh..wh..opq", ".wh.f", ".wh.g", "f"]);
        assert_eq!(fs::read_to_string(u.mnt("f")).unwrap(), "keep me");
        u.remount();
    }
    assert_eq!(names(&u.upper("")), [".wh..wh..opq", ".wh.f"], "nothing else is put beside a mark");
}

#[test]
fn what_a_crashed_mount_left_in_work_is_removed_and_never_used() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "short");
    u.put("work/work/#1", "STALE STALE STALE STALE");
    u.put("work/work/1", "STALE STALE STALE STALE");
    let mut deep = String::from("work/work/#2");
    for _ in 0..100 {
        deep.push_str("/d");
    }
    u.put(&format!("{deep}/f"), "deep");
    u.mount();
    assert_eq!(names(&u.at("work/work")), [""; 0], "cleaned at mount");
    let mut file = OpenOptions::new().append(true).open(u.mnt("f")).unwrap();
    file.write_all(b"!").unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(u.mnt("f")).unwrap(), "short!");
    assert_eq!(fs::read_to_string(u.upper("f")).unwrap(), "short!");
    assert_eq!(names(&u.at("work/work")), [""; 0], "and nothing is left behind");
}

#[test]
fn the_umask_applies() {
    needs_fuse!();
    let mut u = Union::new(1);
    fs::set_permissions(u.at("upper"), Permissions::from_mode(0o777)).unwrap();
    u.mount();
    let done = u.as_user("umask 077; echo x > f; mkdir d; mkfifo p; umask 022; echo x > g");
    assert!(done.status.success(), "{done:?}");
    assert_eq!([mode(u.mnt("f")), mode(u.mnt("d")), mode(u.mnt("p"))], [0o600, 0o700, 0o600]);
    assert_eq!(mode(u.mnt("g")), 0o644);
    let made = fs::metadata(u.upper("f")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1000), "what a user makes is the user's");
}

#[test]
fn mknod_gives_the_mode_that_was_asked_for() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.mount();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(CWD, u.mnt("p"), fifo, 0o600.into(), 0).unwrap();
    assert_eq!(mode(u.mnt("p")), 0o600);
    let device = rustix::fs::FileType::CharacterDevice;
    let whiteout = rustix::fs::mknodat(CWD, u.mnt("w"), device, 0o600.into(), 0);
    assert_eq!(whiteout, Err(Errno::PERM), "a user cannot make a whiteout");
    rustix::fs::mknodat(CWD, u.mnt("null"), device, 0o666.into(), rustix::fs::makedev(1, 3)).unwrap();
    fs::write(u.mnt("null"), "to nowhere").unwrap();
    assert_eq!(fs::metadata(u.mnt("null")).unwrap().rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn a_write_without_privilege_takes_set_user_id_off() {
    needs_fuse!();
    for change in
        ["echo x >> f", ": > f", "truncate -s 1 f", "dd if=/dev/zero of=f bs=1 count=1 conv=notrunc"]
    {
        let mut u = Union::new(1);
        let path = u.put("l0/f", "content");
        fs::set_permissions(&path, Permissions::from_mode(0o6777)).unwrap();
        u.mount();
        let done = u.as_user(change);
        assert!(done.status.success(), "{change}: {done:?}");
        assert_eq!(mode(u.mnt("f")), 0o777, "{change}");
        assert_eq!(mode(u.upper("f")), 0o777, "{change}, in the upper");
        assert_eq!(mode(u.at("l0/f")), 0o6777, "{change}, in the lower");
    }
}

#[test]
fn set_user_id_goes_with_every_kind_of_open_upper_file() {
    needs_fuse!();
    let mut u = Union::new(1);
    fs::write(u.upper("f"), "content").unwrap();
    u.mount();
    for _ in 0..2 {
        fs::set_permissions(u.mnt("f"), Permissions::from_mode(0o6777)).unwrap();
        assert_eq!(mode(u.mnt("f")), 0o6777);
        assert!(u.as_user("printf y | dd of=f conv=notrunc").status.success());
        assert_eq!((mode(u.mnt("f")), mode(u.upper("f"))), (0o777, 0o777));
    }
    fs::set_permissions(u.mnt("f"), Permissions::from_mode(0o4755)).unwrap();
    fs::OpenOptions::new().append(true).open(u.mnt("f")).unwrap().write_all(b"root").unwrap();
    assert_eq!(mode(u.mnt("f")), 0o4755, "root keeps it, as on any file system");
}

#[test]
fn a_set_group_id_directory_passes_its_group_on() {
    needs_fuse!();
    let mut u = Union::new(1);
    fs::create_dir(u.at("l0/d")).unwrap();
    u.put("l0/d/gone", "");
    std::os::unix::fs::chown(u.at("l0/d"), Some(0), Some(7)).unwrap();
    fs::set_permissions(u.at("l0/d"), Permissions::from_mode(0o2777)).unwrap();
    u.mount();
    fs::remove_file(u.mnt("d/gone")).unwrap();
    let done = u.as_user("umask 022; cd d && echo > f && mkdir s && mkdir gone && echo > s/g && ln -s f l");
    assert!(done.status.success(), "{done:?}");
    for name in ["d/f", "d/s", "d/gone", "d/s/g", "d/l"] {
        assert_eq!(fs::symlink_metadata(u.mnt(name)).unwrap().gid(), 7, "{name}");
    }
    assert_eq!([mode(u.mnt("d/s")), mode(u.mnt("d/gone")), mode(u.mnt("d/f"))], [0o2755, 0o2755, 0o644]);
}

/// user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::---
fn acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [(1, 7, !0), (2, 7, 1000), (4, 5, !0), (16, 7, !0), (32, 0, !0)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

fn xattr(path: impl AsRef<std::path::Path>, key: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let len = rustix::fs::getxattr(path.as_ref(), key, &mut value).ok()?;
    value.truncate(len);
    Some(value)
}

#[test]
fn default_acls_are_inherited_and_enforced() {
    needs_fuse!();
    let mut u = Union::new(1);
    fs::create_dir(u.at("l0/d")).unwrap();
    fs::create_dir(u.at("plain")).unwrap();
    for dir in [u.at("l0/d"), u.at("plain")] {
        for key in ["system.posix_acl_default", "system.posix_acl_access"] {
            rustix::fs::setxattr(&dir, key, &acl(), XattrFlags::empty()).unwrap();
        }
    }
    u.mount();
    for dir in [u.mnt("d"), u.at("plain")] {
        fs::create_dir(dir.join("sub")).unwrap();
        OpenOptions::new().write(true).create_new(true).mode(0o640).open(dir.join("file")).unwrap();
    }
    for (name, key) in [
        ("sub", "system.posix_acl_default"),
        ("sub", "system.posix_acl_access"),
        ("file", "system.posix_acl_access"),
        ("file", "system.posix_acl_default"),
    ] {
        let ours = xattr(u.mnt("d").join(name), key);
        assert_eq!(ours, xattr(u.at("plain").join(name), key), "{name} {key}");
    }
    for name in ["sub", "file"] {
        assert_eq!(mode(u.mnt("d").join(name)), mode(u.at("plain").join(name)), "{name}");
    }
    assert!(u.as_user("echo allowed > d/by-acl").status.success(), "user 1000 may by the ACL alone");
    let stranger = Command::new("setpriv");
    let mut stranger = stranger;
    stranger.args(["--reuid=1001", "--regid=1001", "--clear-groups", "ls"]).arg(u.mnt("d"));
    assert!(!stranger.output().unwrap().status.success(), "others may not");
}

#[test]
fn copied_up_directories_keep_their_mode_owner_and_times() {
    needs_fuse!();
    let mut u = Union::new(1);
    for (index, bits) in [0o700, 0o1777, 0o2700, 0o555, 0o000].into_iter().enumerate() {
        let dir = u.at(&format!("l0/d{index}"));
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(3), Some(4)).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(bits)).unwrap();
    }
    u.mount();
    for (index, bits) in [0o700, 0o1777, 0o2700, 0o555, 0o000].into_iter().enumerate() {
        let name = format!("d{index}");
        let before = fs::metadata(u.mnt(&name)).unwrap();
        fs::write(u.mnt(&name).join("f"), "").unwrap();
        let upper = fs::metadata(u.upper(&name)).unwrap();
        assert_eq!((mode(u.upper(&name)), mode(u.mnt(&name))), (bits, bits), "{name}");
        assert_eq!((upper.uid(), upper.gid()), (3, 4));
        assert_eq!(upper.ino() != 0, before.ino() == fs::metadata(u.mnt(&name)).unwrap().ino());
    }
}

#[test]
fn times_before_1970_and_after_2038_are_kept_to_the_nanosecond() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "");
    u.put("l0/g", "");
    let set = |path: &std::path::Path, sec, nsec| {
        let time = Timespec { tv_sec: sec, tv_nsec: nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
    };
    set(&u.at("l0/f"), -1_000_000, 5);
    u.mount();
    let get = |path: &std::path::Path| {
        let m = fs::metadata(path).unwrap();
        (m.mtime(), m.mtime_nsec())
    };
    for _ in 0..20 {
        assert_eq!(get(&u.mnt("f")), (-1_000_000, 5), "looking at it harms nobody");
    }
    for (sec, nsec) in [(-1, 999_999_999), (-2, 0), (0, 1), (4_000_000_000, 123_456_789)] {
        set(&u.mnt("g"), sec, nsec);
        assert_eq!(get(&u.mnt("g")), (sec, nsec));
        assert_eq!(get(&u.upper("g")), (sec, nsec));
    }
}

#[test]
fn the_most_extreme_times_harm_nobody() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "content");
    u.mount();
    for sec in [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1] {
        for nsec in [0, 1, 999_999_999] {
            let time = Timespec { tv_sec: sec, tv_nsec: nsec };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, u.mnt("f"), &times, AtFlags::empty()).unwrap();
            assert_eq!(fs::read(u.mnt("f")).unwrap(), b"content");
            let (ours, stored) = (fs::metadata(u.mnt("f")).unwrap(), fs::metadata(u.upper("f")).unwrap());
            assert_eq!(ours.mtime(), stored.mtime(), "{sec}.{nsec}");
        }
    }
}

#[test]
fn unlinked_open_files_stay_usable() {
    needs_fuse!();
    for layer in ["l0", "upper"] {
        for replaced in [false, true] {
            let mut u = Union::new(1);
            u.put(&format!("{layer}/f"), "0123456789");
            u.put("l0/other", "other");
            u.mount();
            let file = OpenOptions::new().read(true).write(true).open(u.mnt("f")).unwrap();
            if replaced {
                fs::rename(u.mnt("other"), u.mnt("f")).unwrap();
            } else {
                fs::remove_file(u.mnt("f")).unwrap();
            }
            let context = format!("{layer}, replaced: {replaced}");
            assert_eq!(file.metadata().unwrap().nlink(), 0, "{context}");
            file.set_len(5).unwrap();
            file.write_all_at(b"ab", 0).unwrap();
            file.set_permissions(Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::fchown(&file, Some(5), Some(6)).unwrap();
            rustix::fs::fsetxattr(&file, "user.k", b"v", XattrFlags::empty()).unwrap();
            file.sync_all().unwrap();
            let now = file.metadata().unwrap();
            assert_eq!((now.len(), now.mode() & 0o7777, now.uid(), now.gid()), (5, 0o600, 5, 6), "{context}");
            let mut content = [0; 5];
            file.read_exact_at(&mut content, 0).unwrap();
            assert_eq!(&content, b"ab234", "{context}");
            assert_eq!(u.mnt("f").exists(), replaced);
        }
    }
}

#[test]
fn an_unlinked_lower_file_can_be_read_and_changed_by_those_who_hold_it() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "lower");
    u.mount();
    let file = fs::File::open(u.mnt("f")).unwrap();
    fs::remove_file(u.mnt("f")).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
    let mut content = [0; 5];
    file.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"lower");
    assert!(!u.upper("f").is_file(), "it has no name");
    assert_eq!(names(&u.at("work/work")), [""; 0]);
}

#[test]
fn unlinked_files_can_be_opened_again_through_their_handles() {
    needs_fuse!();
    for layer in ["l0", "upper"] {
        let mut u = Union::new(1);
        u.put(&format!("{layer}/f"), "content");
        u.mount();
        let file = fs::File::open(u.mnt("f")).unwrap();
        fs::remove_file(u.mnt("f")).unwrap();
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(fs::read_to_string(&again).unwrap(), "content", "{layer}");
        let writer = OpenOptions::new().write(true).open(&again).unwrap();
        writer.write_all_at(b"CON", 0).unwrap();
        assert_eq!(fs::read_to_string(&again).unwrap(), "CONtent", "{layer}");
        assert_eq!(names(&u.at("mnt")), [""; 0]);
    }
}

#[test]
fn removing_a_large_lower_file_copies_nothing() {
    needs_fuse!();
    let mut u = Union::new(1);
    fs::File::create(u.at("l0/big")).unwrap().write_all(&vec![7; 8 << 20]).unwrap();
    fs::File::create(u.at("l0/cut")).unwrap().write_all(&vec![7; 8 << 20]).unwrap();
    u.mount();
    fs::remove_file(u.mnt("big")).unwrap();
    let whiteout = fs::symlink_metadata(u.upper("big")).unwrap();
    assert_eq!((whiteout.rdev(), whiteout.size()), (0, 0));
    drop(fs::File::create(u.mnt("cut")).unwrap());
    assert_eq!(fs::metadata(u.upper("cut")).unwrap().blocks(), 0, "cut to nothing without its data");
}

#[test]
fn exchange_works_with_a_target_that_is_only_in_a_lower() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/a", "a");
    u.put("l0/b", "b");
    u.mount();
    renameat_with(CWD, u.mnt("a"), CWD, u.mnt("b"), RenameFlags::EXCHANGE).unwrap();
    for _ in 0..2 {
        assert_eq!(fs::read_to_string(u.mnt("a")).unwrap(), "b");
        assert_eq!(fs::read_to_string(u.mnt("b")).unwrap(), "a");
        u.remount();
    }
    let refused = |flags| renameat_with(CWD, u.mnt("a"), CWD, u.mnt("b"), flags);
    assert_eq!(refused(RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(refused(RenameFlags::WHITEOUT), Err(Errno::INVAL));
}

#[test]
fn a_rename_that_finds_no_space_changes_nothing() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/a", "a");
    let space = u.at("space");
    fs::create_dir(&space).unwrap();
    // Inodes: root, upper, work, work/work, the copy of a; none for the whiteout.
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "nr_inodes=5", "none"]).arg(&space).status();
    assert!(mounted.unwrap().success());
    for name in ["upper", "work"] {
        fs::remove_dir(u.at(name)).unwrap();
        fs::create_dir(space.join(name)).unwrap();
        std::os::unix::fs::symlink(space.join(name), u.at(name)).unwrap();
    }
    u.mount();
    let error = fs::rename(u.mnt("a"), u.mnt("b")).unwrap_err();
    let seen = (names(&u.mnt("")), fs::read_to_string(u.mnt("a")).unwrap());
    u.unmount();
    assert!(Command::new("umount").arg(&space).status().unwrap().success());
    assert_eq!(errno(&error), Some(Errno::NOSPC));
    assert_eq!(seen, (vec!["a".to_string()], "a".to_string()));
}

#[test]
fn a_mount_made_on_the_same_place_afterwards_is_left_alone() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.mount();
    let target = u.at("mnt");
    overlay_fuse::unmount(&target, true).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "mine"]).arg(&target).status().unwrap().success());
    u.unmount();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let there =
        mounts.lines().any(|line| line.starts_with("mine ") && line.contains(target.to_str().unwrap()));
    assert!(Command::new("umount").arg(&target).status().unwrap().success());
    assert!(there, "the end of the union took another mount away");
}

#[test]
fn lsattr_and_unknown_ioctls_are_answered() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "");
    u.mount();
    let file = fs::File::open(u.mnt("f")).unwrap();
    rustix::fs::ioctl_getflags(&file).unwrap();
    assert_eq!(rustix::fs::ioctl_blkpbszget(&file), Err(Errno::NOTTY));
}

#[test]
fn a_stranger_cannot_take_set_user_id_off_without_writing() {
    needs_fuse!();
    for target in ["f", "g"] {
        let mut u = Union::new(1);
        for file in ["l0/f", "upper/g"] {
            let path = u.put(file, "content");
            fs::set_permissions(&path, Permissions::from_mode(0o4755)).unwrap();
        }
        u.mount();
        let done = u.as_user(&format!("chown : {target}; chown -h : {target}; truncate -s 0 {target}"));
        assert_eq!(mode(u.mnt(target)), 0o4755, "{target}: {done:?}");
        assert_eq!(mode(u.remount().mnt(target)), 0o4755, "{target}: {done:?}");
    }
}

#[test]
fn an_operation_that_is_refused_copies_nothing_up() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/d/f", "lower");
    u.put("l0/e/full/x", "lower");
    u.options.redirect_dir = RedirectDir::Off;
    u.mount();
    let rename = |from: &str, to: &str, how| renameat_with(CWD, u.mnt(from), CWD, u.mnt(to), how);
    assert_eq!(rename("d/f", "e/full", RenameFlags::EXCHANGE), Err(Errno::XDEV));
    assert_eq!(rename("e/full", "d/full", RenameFlags::empty()), Err(Errno::XDEV));
    assert_eq!(rename("d", "e/full", RenameFlags::empty()), Err(Errno::XDEV), "before it is found full");
    assert_eq!(rustix::fs::rmdir(u.mnt("e/full")), Err(Errno::NOTEMPTY));
    assert_eq!(names(&u.upper("")), [""; 0]);
    fs::write(u.mnt("d/new"), "").unwrap();
    fs::write(u.mnt("e/new"), "").unwrap();
    assert_eq!(rename("d/new", "e/full", RenameFlags::EXCHANGE), Err(Errno::XDEV));
    assert_eq!(rename("e/full", "d/f", RenameFlags::EXCHANGE), Err(Errno::XDEV));
    assert_eq!(names(&u.upper("d")), ["new"], "not even the other end of an exchange");
}

#[test]
fn an_acl_that_an_upper_object_has_not_is_removed_without_complaint() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/lower", "");
    u.put("upper/upper", "");
    u.mount();
    let remove = |path| rustix::fs::removexattr(u.mnt(path), "system.posix_acl_access");
    assert_eq!(remove("upper"), Ok(()), "as the file system of the upper says");
    assert_eq!(remove("lower"), Err(Errno::NODATA));
    assert_eq!(names(&u.upper("")), ["upper"], "and nothing is copied up for it");
}

#[test]
fn a_removed_directory_keeps_its_mode_for_those_who_have_it_open() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/d/x", "");
    u.mount();
    fs::set_permissions(u.mnt("d"), Permissions::from_mode(0o2775)).unwrap();
    let open = fs::File::open(u.mnt("d")).unwrap();
    fs::remove_dir_all(u.mnt("d")).unwrap();
    assert_eq!(open.metadata().unwrap().mode() & 0o7777, 0o2775);
}

#[test]
fn what_the_work_directory_inherited_lets_nobody_in() {
    needs_fuse!();
    let mut u = Union::new(1);
    let secret = u.put("l0/secret", "x");
    fs::set_permissions(secret, Permissions::from_mode(0o660)).unwrap();
    rustix::fs::setxattr(u.at("work"), "system.posix_acl_default", &acl(), XattrFlags::empty()).unwrap();
    u.mount();
    fs::set_permissions(u.mnt("secret"), Permissions::from_mode(0o660)).unwrap();
    fs::set_permissions(u.at("mnt"), Permissions::from_mode(0o777)).unwrap();
    assert!(u.as_user("umask 0; echo x > new; mkdir dir").status.success());
    for object in ["secret", "new", "dir"] {
        assert_eq!(xattr(u.upper(object), "system.posix_acl_access"), None, "{object}");
    }
    assert_eq!((mode(u.upper("secret")), mode(u.upper("new")), mode(u.upper("dir"))), (0o660, 0o666, 0o777));
}

#[test]
fn an_object_that_cannot_be_shown_does_not_hide_the_others() {
    needs_fuse!();
    let mut u = Union::new(1);
    for name in 0..20 {
        u.put(&format!("l0/{name}"), "");
    }
    rustix::fs::setxattr(u.at("l0/7"), "trusted.overlay.metacopy", b"", XattrFlags::empty()).unwrap();
    u.mount();
    assert_eq!(names(&u.at("mnt")).len(), 20);
    assert_eq!(errno(&fs::metadata(u.mnt("7")).unwrap_err()), Some(Errno::IO));
    assert_eq!(names(&u.at("mnt")).len(), 20);
}
