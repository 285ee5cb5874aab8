//! Ordinary use of a mounted union.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use common::{Union, names};
use overlay_core::layer::Target;
use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::{Layer, Name};

#[test]
fn layers_merge_and_changes_stay_in_the_upper() {
    needs_fuse!();
    let mut u = Union::new(2);
    u.put("l0/a", "top");
    u.put("l1/a", "bottom");
    u.put("l1/d/b", "below");
    u.put("l0/d/c", "above");
    u.mount();
    assert_eq!(names(&u.mnt("")), ["a", "d"]);
    assert_eq!(names(&u.mnt("d")), ["b", "c"]);
    assert_eq!(fs::read_to_string(u.mnt("a")).unwrap(), "top");
    fs::write(u.mnt("d/b"), "changed").unwrap();
    fs::write(u.mnt("new"), "new").unwrap();
    fs::remove_file(u.mnt("a")).unwrap();
    for _ in 0..2 {
        assert_eq!(names(&u.mnt("")), ["d", "new"]);
        assert_eq!(fs::read_to_string(u.mnt("d/b")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(u.at("l1/d/b")).unwrap(), "below");
        assert_eq!(fs::read_to_string(u.at("l0/a")).unwrap(), "top");
        u.remount();
    }
}

#[test]
fn a_tree_is_made_moved_and_removed() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/x/y/z", "z");
    u.mount();
    fs::create_dir_all(u.mnt("n/m/o")).unwrap();
    fs::write(u.mnt("n/m/o/f"), "f").unwrap();
    fs::rename(u.mnt("n/m"), u.mnt("x/m")).unwrap();
    assert_eq!(fs::read_to_string(u.mnt("x/m/o/f")).unwrap(), "f");
    fs::rename(u.mnt("x/y/z"), u.mnt("x/m/z")).unwrap();
    assert_eq!(names(&u.mnt("x/y")), [""; 0]);
    fs::rename(u.mnt("x"), u.mnt("elsewhere")).unwrap();
    assert_eq!(fs::read_to_string(u.mnt("elsewhere/m/o/f")).unwrap(), "f");
    fs::remove_dir_all(u.mnt("elsewhere")).unwrap();
    fs::remove_dir_all(u.mnt("n")).unwrap();
    assert_eq!(names(&u.mnt("")), [""; 0]);
    u.remount();
    assert_eq!(names(&u.mnt("")), [""; 0]);
}

#[test]
fn a_number_stays_over_copy_up_rename_and_every_mount() {
    needs_fuse!();
    let mut u = Union::new(2);
    u.options.metacopy = true;
    u.put("l0/d/f", "content");
    u.put("l1/d/g", "content");
    u.put("l1/e/h", "");
    std::os::unix::fs::symlink("f", u.at("l0/d/link")).unwrap();
    u.mount();
    let number = |path: PathBuf| fs::symlink_metadata(path).unwrap().ino();
    let paths = ["d", "d/f", "d/g", "e", "d/link"];
    let before = paths.map(|path| number(u.mnt(path)));
    fs::write(u.mnt("d/f"), "changed").unwrap();
    fs::set_permissions(u.mnt("d/g"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::lchown(u.mnt("d/link"), Some(7), None).unwrap();
    fs::rename(u.mnt("e"), u.mnt("d/e")).unwrap();
    fs::rename(u.mnt("d/g"), u.mnt("g")).unwrap();
    fs::write(u.mnt("d/g"), "another").unwrap();
    fs::rename(u.mnt("d"), u.mnt("moved")).unwrap();
    let after = ["moved", "moved/f", "g", "moved/e", "moved/link"];
    for mount in ["the same", "the next", "the one after"] {
        assert_eq!(after.map(|path| number(u.mnt(path))), before, "{mount}");
        u.remount();
        for dir in ["", "moved"] {
            for entry in fs::read_dir(u.mnt(dir)).unwrap() {
                let entry = entry.unwrap();
                assert_eq!(entry.ino(), number(entry.path()), "{:?}", entry.path());
            }
        }
    }
}

#[test]
fn what_the_kernel_wrote_with_an_index_is_read_and_written_on() {
    needs_fuse!();
    let mut u = Union::new(2);
    u.put("l0/a", "lower");
    u.put("l1/other", "");
    fs::create_dir(u.at("l0/d")).unwrap();
    for name in ["b", "d/c"] {
        fs::hard_link(u.at("l0/a"), u.at("l0").join(name)).unwrap();
    }
    let script = "mount -t overlay overlay -o lowerdir=l0:l1,upperdir=upper,workdir=work,index=on,redirect_dir=on,metacopy=on mnt \
                  && chmod 600 mnt/a && echo more >> mnt/b; umount mnt";
    let done = std::process::Command::new("sh").args(["-c", script]).current_dir(u.dir.path()).status();
    assert!(done.unwrap().success());
    u.options.index = true;
    u.mount();
    for name in ["a", "b", "d/c"] {
        assert_eq!(fs::read_to_string(u.mnt(name)).unwrap(), "lowermore\n", "{name}");
        assert_eq!(fs::metadata(u.mnt(name)).unwrap().nlink(), 3, "{name}");
    }
    fs::OpenOptions::new().append(true).open(u.mnt("d/c")).unwrap().write_all(b"ours\n").unwrap();
    fs::rename(u.mnt("b"), u.mnt("d/b")).unwrap();
    fs::remove_file(u.mnt("a")).unwrap();
    u.remount();
    for name in ["d/b", "d/c"] {
        assert_eq!(fs::read_to_string(u.mnt(name)).unwrap(), "lowermore\nours\n", "{name}");
        assert_eq!(fs::metadata(u.mnt(name)).unwrap().nlink(), 2, "{name}");
    }
}

#[test]
fn reads_and_writes_at_any_offset_agree_with_a_plain_file() {
    needs_fuse!();
    let mut u = Union::new(1);
    let content: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(u.at("l0/f"), &content).unwrap();
    fs::write(u.at("plain"), &content).unwrap();
    u.mount();
    let open = |path| fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (ours, plain) = (open(u.mnt("f")), open(u.at("plain")));
    for (offset, len) in [(0, 10), (4095, 2), (299_990, 100), (500_000, 7), (131_072, 8192)] {
        for file in [&ours, &plain] {
            file.write_all_at(&vec![0xee; len], offset).unwrap();
        }
    }
    for file in [&ours, &plain] {
        file.set_len(450_001).unwrap();
    }
    assert!(fs::read(u.mnt("f")).unwrap() == fs::read(u.at("plain")).unwrap());
    assert_eq!(fs::read(u.at("l0/f")).unwrap(), content);
}

#[test]
fn attributes_xattrs_and_links_are_kept_over_a_copy_up() {
    needs_fuse!();
    let mut u = Union::new(1);
    let path = u.put("l0/f", "content");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
    std::os::unix::fs::chown(&path, Some(1), Some(2)).unwrap();
    rustix::fs::setxattr(&path, "user.k", b"v", rustix::fs::XattrFlags::empty()).unwrap();
    std::os::unix::fs::symlink("f", u.at("l0/s")).unwrap();
    u.mount();
    let before = fs::metadata(u.mnt("f")).unwrap();
    fs::hard_link(u.mnt("f"), u.mnt("g")).unwrap();
    let after = fs::metadata(u.mnt("g")).unwrap();
    let same = |m: &fs::Metadata| (m.ino(), m.mode(), m.uid(), m.gid(), m.size(), m.mtime(), m.mtime_nsec());
    assert_eq!(same(&before), same(&after));
    assert_eq!(after.nlink(), 2);
    let mut value = [0; 8];
    assert_eq!(rustix::fs::getxattr(u.mnt("g"), "user.k", &mut value).unwrap(), 1);
    assert_eq!(fs::read_link(u.mnt("s")).unwrap().to_str(), Some("f"));
    fs::write(u.mnt("g"), "through g").unwrap();
    assert_eq!(fs::read_to_string(u.mnt("f")).unwrap(), "through g");
    u.remount();
    assert_eq!(fs::metadata(u.mnt("f")).unwrap().ino(), fs::metadata(u.mnt("g")).unwrap().ino());
    assert_eq!(fs::read_to_string(u.mnt("f")).unwrap(), "through g");
}

#[test]
fn holes_ranges_and_copies_work_through_the_mount() {
    needs_fuse!();
    let mut u = Union::new(1);
    let file = fs::File::create(u.at("l0/sparse")).unwrap();
    file.write_all_at(b"data", 8 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    u.mount();
    let mut f = fs::OpenOptions::new().read(true).write(true).open(u.mnt("sparse")).unwrap();
    assert_eq!(fs::metadata(u.upper("sparse")).unwrap().size(), 64 << 20);
    assert!(fs::metadata(u.upper("sparse")).unwrap().blocks() < 1024, "the holes were kept");
    assert_eq!(rustix::fs::seek(&f, rustix::fs::SeekFrom::Data(0)).unwrap() & !4095, 8 << 20);
    f.seek(SeekFrom::Start(8 << 20)).unwrap();
    let mut four = [0; 4];
    f.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"data");
    use rustix::fs::FallocateFlags;
    rustix::fs::fallocate(&f, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 8 << 20, 4096).unwrap();
    f.read_at(&mut four, 8 << 20).unwrap();
    assert_eq!(&four, &[0; 4]);
    let mut target = fs::File::create(u.mnt("copy")).unwrap();
    target.write_all(b"0123456789").unwrap();
    let source = fs::File::open(u.mnt("copy")).unwrap();
    let copied = rustix::fs::copy_file_range(&source, Some(&mut 2), &f, Some(&mut 0), 5).unwrap();
    assert_eq!(copied, 5);
    let mut five = [0; 5];
    f.read_at(&mut five, 0).unwrap();
    assert_eq!(&five, b"23456");
}

#[test]
fn a_read_only_union_refuses_every_change() {
    needs_fuse!();
    let mut u = Union::new(1).read_only();
    u.put("l0/f", "x");
    u.mount();
    let errors = [
        fs::write(u.mnt("f"), "y").unwrap_err(),
        fs::create_dir(u.mnt("d")).unwrap_err(),
        fs::remove_file(u.mnt("f")).unwrap_err(),
        fs::set_permissions(u.mnt("f"), fs::Permissions::from_mode(0o600)).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));
    }
    assert_eq!(fs::read_to_string(u.mnt("f")).unwrap(), "x");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(u.at("mnt").to_str().unwrap())).unwrap();
    assert!(line.starts_with("overlay ") && line.contains("fuse.overlay ro"), "{line}");
}

#[test]
fn a_large_directory_is_listed_once_and_whole() {
    needs_fuse!();
    let mut u = Union::new(2);
    for i in 0..3000 {
        fs::write(u.at(&format!("l{}/f{i}", i % 2)), "").unwrap();
    }
    u.mount();
    assert_eq!(names(&u.mnt("")).len(), 3000);
    for i in 0..1000 {
        fs::remove_file(u.mnt(&format!("f{i}"))).unwrap();
    }
    assert_eq!(names(&u.mnt("")).len(), 2000);
    for entry in fs::read_dir(u.mnt("")).unwrap() {
        use std::os::unix::fs::DirEntryExt;
        let entry = entry.unwrap();
        assert_eq!(entry.ino(), entry.metadata().unwrap().ino(), "{:?}", entry.file_name());
    }
}

#[test]
fn no_handles_are_given_out_that_would_open_another_file_later() {
    needs_fuse!();
    let mut u = Union::new(1);
    u.put("l0/f", "x");
    u.mount();
    let options = LocalOptions::new(LocalUpper::namespace(&u.at("work")).unwrap());
    let mounted = LocalLayer::open(&u.mnt(""), &options).unwrap();
    let name = Name::try_from(OsStr::new("f")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = runtime.block_on(async { mounted.root().await?.id(Target::Child(&name)).await }).unwrap();
    assert_eq!(id, None, "its number may be another file's when the handle is used");
}
