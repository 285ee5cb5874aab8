//! Mounts for real, by both syntaxes and both engines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use common::*;

/// The flags and types of the test table: the engine, and whether it can mount here.
fn engines(test: &str) -> Vec<&'static str> {
    let mut engines = Vec::new();
    engines.extend(can_fuse(test).then_some("fuse"));
    engines.extend(can_overlayfs(test).then_some("kernel"));
    engines
}

#[test]
fn two_lowers_and_an_upper_behave_alike_with_both_engines() {
    for engine in engines("two_lowers_and_an_upper_behave_alike_with_both_engines") {
        let temp = Temp::layers();
        let options = "lowerdir=a:b,upperdir=upper,workdir=work,";
        let mount =
            |temp: &Temp| Mount::new(temp, ["mount", "--engine", engine, "-o", options, "merged"], "merged");
        let mounted = mount(&temp);
        assert_eq!(temp.names("merged"), ["both", "low"]);
        assert_eq!((temp.read("merged/both"), temp.read("merged/low")), ("a".into(), "low".into()));
        temp.write("merged/new", "new");
        temp.write("merged/both", "changed");
        fs::remove_file(temp.at("merged/low")).unwrap();
        mounted.umount();
        assert_eq!(
            (temp.read("a/both"), temp.read("b/both"), temp.read("b/low")),
            ("a".into(), "b".into(), "low".into())
        );
        assert_eq!((temp.read("upper/both"), temp.read("upper/new")), ("changed".into(), "new".into()));
        let whiteout = fs::symlink_metadata(temp.at("upper/low")).unwrap();
        assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
        let again = mount(&temp);
        assert_eq!(temp.names("merged"), ["both", "new"]);
        again.umount();
    }
}

#[test]
fn the_engines_are_seen_in_the_table_of_mounts() {
    for engine in engines("the_engines_are_seen_in_the_table_of_mounts") {
        let temp = Temp::layers();
        let words =
            ["mount", "--engine", engine, "-o", "lowerdir=a:b,nosuid,noexec,noatime,fsname=x y", "merged"];
        let _mount = Mount::new(&temp, words, "merged");
        let line = mount_line(&temp.at("merged")).unwrap();
        let fields: Vec<_> = line.split(' ').collect();
        let kind = if engine == "fuse" { "fuse.overlay" } else { "overlay" };
        assert_eq!((fields[0], fields[2]), ("x\\040y", kind), "{line}");
        let flags: Vec<_> = fields[3].split(',').collect();
        for flag in ["ro", "nosuid", "noexec", "noatime"] {
            assert!(flags.contains(&flag), "{flag}: {line}");
        }
        assert!(!flags.contains(&"nodev"), "{line}");
    }
}

#[test]
fn auto_says_what_it_picked_and_why() {
    let test = "auto_says_what_it_picked_and_why";
    if !can_fuse(test) || !can_overlayfs(test) {
        return;
    }
    let temp = Temp::layers();
    let said = |words: &[&str], kind: &str| {
        let mut command = overlay_in(temp.path(), ["mount", "-v"]);
        let output = success(command.args(words).arg("merged"));
        let mount = Mount::guard(&temp.at("merged"));
        let line = mount_line(&temp.at("merged")).unwrap();
        assert!(line.contains(&format!(" {kind} ")), "{line}");
        mount.umount();
        String::from_utf8(output.stderr).unwrap()
    };
    let kernel = said(&["--lower", "a", "--lower", "b"], "overlay");
    assert_eq!(
        kernel,
        "overlay: engine kernel: all layers are local directories and this process may mount overlayfs\n"
    );
    let fuse = said(&["--lower", "a"], "fuse.overlay");
    assert_eq!(
        fuse,
        "overlay: engine fuse: the kernel engine needs a second lower layer where there is no upper\n"
    );
}

#[test]
fn unions_are_stacked_deeper_than_the_kernel_stacks_them() {
    let test = "unions_are_stacked_deeper_than_the_kernel_stacks_them";
    if !can_fuse(test) || !can_overlayfs(test) {
        return;
    }
    // The kernel takes no third overlay on top of two, but one that is served to it.
    let temp = Temp::layers();
    let mut guards = Vec::new();
    let mut lower = "a".to_owned();
    for level in ["1", "2", "3"] {
        fs::create_dir(temp.at(level)).unwrap();
        let words = ["mount", "-v", "--lower", &lower, "--lower", "b", level];
        let output = success(&mut overlay_in(temp.path(), words));
        guards.insert(0, Mount::guard(&temp.at(level)));
        lower = level.into();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = if level == "3" {
            "engine kernel: this process may mount overlayfs, and the layer 2 is served"
        } else {
            "engine kernel: all"
        };
        assert!(said.contains(expected), "{level}: {said}");
        assert_eq!(temp.read(&format!("{level}/both")), "a");
    }
    guards.into_iter().for_each(Mount::umount);
}

#[test]
fn deletions_of_images_are_read_where_they_are_declared() {
    if !can_fuse("deletions_of_images_are_read_where_they_are_declared") {
        return;
    }
    let temp = Temp::layers();
    temp.write("a/.wh.low", "");
    let path = temp.at("a");
    let url = format!("dir://{}?markers=oci", path.display());
    for (words, expected) in [
        (["--lower", &url, "--lower", "b"], &["both"][..]),
        (["-o", "markers=oci,lowerdir=a:b", "--engine", "fuse"], &["both"]),
        (["-o", "lowerdir=a:b", "--engine", "fuse"], &[".wh.low", "both", "low"]),
    ] {
        let mount = Mount::new(&temp, ["mount"].into_iter().chain(words).chain(["merged"]), "merged");
        assert_eq!(temp.names("merged"), expected, "{words:?}");
        mount.umount();
    }
}

#[test]
fn a_mount_point_may_be_a_layer() {
    for engine in engines("a_mount_point_may_be_a_layer") {
        let temp = Temp::layers();
        let words = ["mount", "--engine", engine, "--lower", "a", "--lower", "b", "a"];
        let mount = Mount::new(&temp, words, "a");
        assert_eq!(temp.names("a"), ["both", "low"]);
        mount.umount();
        assert_eq!(temp.names("a"), ["both"]);
    }
}

#[test]
fn modes_are_taken_as_the_client_gives_them() {
    if !can_fuse("modes_are_taken_as_the_client_gives_them") {
        return;
    }
    let temp = Temp::layers();
    let script = "umask 077; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_overlay")]).args(FUSE).current_dir(temp.path());
    let _mount = Mount::by(&mut command, &temp.at("merged"));
    let made = std::process::Command::new("sh")
        .args(["-c", "umask 0; : > new"])
        .current_dir(temp.at("merged"))
        .status();
    assert!(made.unwrap().success());
    assert_eq!(fs::metadata(temp.at("upper/new")).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn a_union_in_use_is_unmounted_lazily_only() {
    for engine in engines("a_union_in_use_is_unmounted_lazily_only") {
        let temp = Temp::layers();
        let words = ["mount", "--engine", engine, "--lower", "a", "--lower", "b", "merged"];
        let _mount = Mount::new(&temp, words, "merged");
        let user = fs::File::open(temp.at("merged/both")).unwrap();
        let said = sentence(&mut overlay_in(temp.path(), ["umount", "merged"]));
        assert_eq!(said, "merged is in use; end what uses it, or take it out of sight now with --lazy (-l)");
        success(&mut overlay_in(temp.path(), ["umount", "-l", "merged"]));
        assert!(!is_mounted(&temp.at("merged")));
        assert_eq!(std::io::read_to_string(user).unwrap(), "a", "its user is still served");
    }
}

#[test]
fn a_plan_is_shown_without_a_mount() {
    let temp = Temp::layers();
    let words = ["mount", "--dry-run", "--json", "--engine", "fuse", "-o"];
    let options = "lowerdir=a:s3://bucket/x?markers=oci&region=x,upperdir=upper,workdir=work";
    let output = success(overlay_in(temp.path(), words).args([options, "merged"]));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "engine": "fuse",
        "why": "it was asked for",
        "lowers": [
            {"layer": "a", "scheme": "dir", "markers": "kernel"},
            {"layer": "s3://bucket/x", "scheme": "s3", "markers": "oci"},
        ],
        "data": [],
        "upper": "upper",
        "work": "work",
        "mountpoint": "merged",
        "read_only": false,
    });
    assert_eq!(plan, expected);
    assert!(!is_mounted(&temp.at("merged")));
    let output = success(overlay_in(temp.path(), &words[..2]).args(["--lower", "a", "merged"]));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("engine fuse: "));
}

#[cfg(feature = "demo-server")]
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_mounted_between_directories() {
    if !can_fuse("a_bucket_is_mounted_between_directories") {
        return;
    }
    use overlay_s3::server::{Server, ServerConfig};
    let config = ServerConfig::default();
    let server = Server::start(config.clone()).await.unwrap();
    server.keys().put("bucket", "x/both", "bucket");
    server.keys().put("bucket", "x/low", "bucket");
    server.keys().put("bucket", "x/own", "bucket");
    let temp = Temp::layers();
    let url = format!("s3://bucket/x?endpoint={}", server.endpoint());
    let options = format!("lowerdir=a:{url}:b,upperdir=upper,workdir=work");
    let mut command = overlay_in(temp.path(), ["mount", "-o", &options, "merged"]);
    command.env("AWS_ACCESS_KEY_ID", &config.access_key).env("AWS_SECRET_ACCESS_KEY", &config.secret_key);
    let mount = Mount::by(&mut command, &temp.at("merged"));
    let read = ["both", "low", "own"].map(|name| temp.read(&format!("merged/{name}")));
    assert_eq!(read, ["a", "bucket", "bucket"]);
    temp.write("merged/own", "changed");
    let line = mount_line(&temp.at("merged")).unwrap();
    assert!(!line.contains(&config.secret_key), "{line}");
    mount.umount();
    assert_eq!(temp.read("upper/own"), "changed");
    assert_eq!(server.keys().get("bucket", "x/own").unwrap().data, "bucket");
    server.stop().await;
}
