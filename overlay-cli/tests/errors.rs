//! What the command says when it does not mount: one sentence, and which.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use common::*;

#[test]
fn what_does_not_mount_is_told_in_one_sentence() {
    let temp = Temp::layers();
    temp.write("file", "");
    for (words, expected) in [
        ("mount merged", "no lower layer is given; name one by --lower DIR or -o lowerdir=DIR"),
        ("mount --lower gone merged", "lower layer gone does not exist"),
        ("mount --lower a --lower file merged", "lower layer file is not a directory"),
        ("mount -o lowerdir=a:gone merged", "lower layer gone does not exist"),
        (
            "mount --lower a --upper upper merged",
            "upper upper needs a work directory on the same file system: add --work DIR or workdir=DIR",
        ),
        ("mount --lower a --work work merged", "work work needs an upper: add --upper DIR or upperdir=DIR"),
        ("mount --lower a --upper gone --work work merged", "upper gone does not exist"),
        ("mount --lower a --upper upper --work gone merged", "work gone does not exist"),
        (
            "mount --lower a --upper upper --work upper merged",
            "upper upper and work upper are the same directory",
        ),
        ("mount --lower a --lower ./a merged", "lower layer a and lower layer ./a are the same directory"),
        ("mount --lower a --lower a merged", "lower layer a is given twice"),
        ("mount --lower a --upper a --work work merged", "upper a and lower layer a are the same directory"),
        ("mount --lower a --lower b gone", "mount point gone does not exist"),
        ("mount --lower a --lower b file", "mount point file is not a directory"),
        (
            "mount --lower ftp://host/x merged",
            "\"ftp://\" is no known kind of layer; known are az://, dir://, file://, gs://, http://, https://, \
             memory://, s3://",
        ),
        (
            "mount -o lowerdir=a:b,redirectdir=on merged",
            "there is no option \"redirectdir\"; did you mean \"redirect_dir\"?",
        ),
        ("mount -o lowerdir=a:::b merged", "the option lowerdir has more than two colons in a row"),
        (
            "remount -o nodev merged",
            "nodev cannot be changed by a remount, which takes ro and rw; unmount and mount again",
        ),
        ("remount merged", "nothing is mounted on merged"),
        (
            "mount --engine fuse -o lowerdir=a:b,xino=on merged",
            "the fuse engine does not have xino=on yet, and it would serve this: it was asked for",
        ),
        (
            "mount --engine kernel --lower a merged",
            "the kernel engine needs a second lower layer where there is no upper; leave out --engine kernel or \
             use --engine fuse",
        ),
        (
            "mount --lower dir:///usr?marker=oci --lower a merged",
            "/usr has no option \"marker\"; it knows markers",
        ),
        ("mount --lower a", "the following required arguments were not provided: <MOUNTPOINT>"),
        ("mount --lower a --log [ merged", "\"[\" is no log filter"),
        ("umount merged", "nothing is mounted on merged"),
        ("umount gone", "mount point gone does not exist"),
        ("umount /proc", "/proc is a mount of type proc, no union; use umount"),
    ] {
        let said = sentence(&mut overlay_in(temp.path(), words.split(' ')));
        let is_whole = !words.contains("--log");
        let fits = if is_whole { said == expected } else { said.contains(expected) };
        assert!(fits, "{words}:\n  {said}\n  {expected}");
        assert!(!is_mounted(&temp.at("merged")), "{words}");
    }
}

#[test]
fn the_kernel_engine_says_why_it_refuses_and_what_to_do() {
    if !can_overlayfs("the_kernel_engine_says_why_it_refuses_and_what_to_do") {
        return;
    }
    let temp = Temp::layers();
    for dir in ["a/inside", "upper/inside", "ram"] {
        std::fs::create_dir(temp.at(dir)).unwrap();
    }
    let many: Vec<_> = (0..501).map(|i| format!("many{i}")).collect();
    many.iter().for_each(|name| std::fs::create_dir(temp.at(name)).unwrap());
    let ram = temp.at("ram");
    let mounted =
        std::process::Command::new("mount").args(["-t", "ramfs", "none"]).arg(&ram).status().unwrap();
    assert!(mounted.success());
    std::fs::create_dir(ram.join("upper")).unwrap();
    std::fs::create_dir(ram.join("work")).unwrap();
    let over = |options: &str| format!("mount --engine kernel -o {options} merged");
    let hint = "; leave out --engine kernel or use --engine fuse";
    for (words, expected) in [
        (
            over(&format!("lowerdir={},upperdir=upper,workdir=work", many.join(":"))),
            format!("the kernel engine merges at most 500 lower layers, these are 501{hint}"),
        ),
        (
            over("lowerdir=a/inside:a"),
            "a/inside lies inside a, and layers must lie apart; leave one out: Too many levels of symbolic links \
             (os error 40)"
                .into(),
        ),
        (
            over("lowerdir=a,upperdir=upper,workdir=upper/inside"),
            "the upper upper and the work directory upper/inside must lie apart; make them siblings: Invalid \
             argument (os error 22)"
                .into(),
        ),
        (
            over("lowerdir=a,upperdir=ram/upper,workdir=ram/work"),
            "ram/upper can be no upper: its file system keeps no user attributes (setxattr user.overlay.trial: \
             Operation not supported (os error 95)); use one on ext4, xfs, btrfs or tmpfs"
                .into(),
        ),
        (
            over("lowerdir=a,upperdir=upper,workdir=work,metacopy=on,redirect_dir=off"),
            format!(
                "overlayfs does not take metacopy=on and redirect_dir=off together: what is copied up without its \
                 data is found by a redirect; use redirect_dir=on{hint}"
            ),
        ),
    ] {
        assert_eq!(sentence(&mut overlay_in(temp.path(), words.split(' '))), expected);
    }
    rustix::mount::unmount(&ram, rustix::mount::UnmountFlags::empty()).unwrap();
}

#[test]
fn without_privilege_the_kernel_engine_says_so() {
    let temp = Temp::layers();
    std::fs::copy(env!("CARGO_BIN_EXE_overlay"), temp.at("command")).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "./command"]);
    command.args(["mount", "--engine", "kernel", "--lower", "a", "--lower", "b", "merged"]);
    std::fs::set_permissions(temp.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = sentence(command.current_dir(temp.path()));
    let expected = "this process may not mount overlayfs (it needs CAP_SYS_ADMIN); leave out --engine kernel or \
                    use --engine fuse";
    assert_eq!(said, expected);
}

#[test]
fn a_work_on_another_file_system_is_refused() {
    use std::os::unix::fs::MetadataExt;
    let temp = Temp::layers();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        runs("a_work_on_another_file_system_is_refused", Some("there is no /dev/shm".into()));
        return;
    };
    let device = |path: &std::path::Path| path.metadata().unwrap().dev();
    if device(other.path()) == device(temp.path()) {
        runs(
            "a_work_on_another_file_system_is_refused",
            Some("/dev/shm is no file system of its own".into()),
        );
        return;
    }
    let mut command = overlay_in(temp.path(), ["mount", "--lower", "a", "--upper", "upper", "--work"]);
    let said = sentence(command.arg(other.path()).arg("merged"));
    let work = other.path().display();
    assert_eq!(said, format!("work {work} must be on the same file system as upper upper"));
}

#[test]
fn an_upper_that_is_mounted_is_refused_by_both_engines() {
    if !can_fuse("an_upper_that_is_mounted_is_refused_by_both_engines") {
        return;
    }
    let temp = Temp::layers();
    std::fs::create_dir(temp.at("other")).unwrap();
    let _mount = Mount::new(&temp, FUSE, "merged");
    for engine in ["fuse", "kernel", "auto"] {
        let words = ["mount", "--engine", engine, "-o", "lowerdir=a:b,upperdir=upper,workdir=work", "other"];
        let said = sentence(&mut overlay_in(temp.path(), words));
        if engine == "kernel" && !can_overlayfs("the kernel's part") {
            continue;
        }
        let holder = said.strip_prefix("upper is in use by the mount on merged (process ");
        assert!(
            holder.is_some_and(|rest| rest.trim_end_matches(')').parse::<u32>().is_ok()),
            "{engine}: {said}"
        );
    }
}

#[test]
fn an_upper_that_the_kernel_has_mounted_is_refused_by_both_engines() {
    let test = "an_upper_that_the_kernel_has_mounted_is_refused_by_both_engines";
    if !can_overlayfs(test) {
        return;
    }
    let temp = Temp::with(&["a", "upper, odd", "work", "merged", "other"]);
    let words = |engine, at| {
        ["mount", "--engine", engine, "--lower", "a", "--upper", "upper, odd", "--work", "work", at]
    };
    let _mount = Mount::new(&temp, words("kernel", "merged"), "merged");
    for engine in ["fuse", "kernel", "auto"] {
        let said = sentence(&mut overlay_in(temp.path(), words(engine, "other")));
        let place = temp.at("merged");
        assert_eq!(
            said,
            format!("upper upper, odd is in use by the mount on {}", place.display()),
            "{engine}"
        );
    }
}

#[cfg(feature = "demo-server")]
mod object_stores {
    use super::*;
    use overlay_s3::server::{Server, ServerConfig};

    #[tokio::test(flavor = "multi_thread")]
    async fn wrong_credentials_and_buckets_say_what_to_do() {
        if !can_fuse("wrong_credentials_and_buckets_say_what_to_do") {
            return;
        }
        let config = ServerConfig::default();
        let server = Server::start(config.clone()).await.unwrap();
        server.keys().put("bucket", "x/file", "content");
        let temp = Temp::layers();
        let said = |bucket: &str, secret: &str| {
            let url = format!("s3://{bucket}/x?endpoint={}", server.endpoint());
            let mut command = overlay_in(temp.path(), ["mount", "--lower", &url, "merged"]);
            command.env("AWS_ACCESS_KEY_ID", &config.access_key).env("AWS_SECRET_ACCESS_KEY", secret);
            sentence(&mut command)
        };
        let denied = said("bucket", "wrong");
        assert!(denied.starts_with("cannot open layer s3://bucket/x: access denied (403"), "{denied}");
        assert!(denied.contains("AWS_ACCESS_KEY_ID") && !denied.contains("wrong"), "{denied}");
        let gone = said("no-bucket", &config.secret_key);
        assert_eq!(gone, "cannot open layer s3://no-bucket/x: the bucket does not exist");
        server.stop().await;
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        let temp = Temp::layers();
        let words = ["mount", "--lower", "s3://bucket/x?secret_access_key=hush", "merged"];
        let said = sentence(&mut overlay_in(temp.path(), words));
        assert!(said.contains("AWS_SECRET_ACCESS_KEY") && !said.contains("hush"), "{said}");
    }
}
