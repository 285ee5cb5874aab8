//! The main job, end to end: lowers from an object store and from a local directory under a local upper, over the real
//! S3 protocol.
#![cfg(feature = "demo-server")]
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use shell::Shell;
use shell::bucket::Store;

const ENGINES: [&str; 2] = ["kernel", "fuse"];

/// A bucket with 1,000 objects in 50 directories below `tree/`, and a shell with the credentials.
struct Bench {
    shell: Shell,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let (store, shell) = Store::start();
        for i in 0..1000 {
            store.server.keys().put("bucket", &format!("tree/dir{:02}/file{i}", i % 50), content(i));
        }
        shell.run("mkdir local upper work mnt; echo local > local/own; mkdir local/dir00; echo covers > local/dir00/file0");
        Self { shell, store }
    }

    fn url(&self, address: &str, options: &str) -> String {
        format!("'{}'", self.store.url(address, options))
    }

    fn mount(&self, engine: &str) {
        let url = self.url("bucket/tree", "");
        let s = &self.shell;
        s.run(&format!(
            "overlay mount --engine {engine} --lower local --lower {url} --upper upper --work work mnt"
        ));
    }
}

fn content(i: usize) -> String {
    format!("object {i}\n").repeat(1 + i % 7 * 100)
}

#[test]
fn a_prefix_of_a_thousand_objects_is_used_like_a_directory() {
    needs_fuse!();
    ENGINES.into_iter().for_each(a_prefix_of_a_thousand_objects_is_used_like_a_directory_with);
}

fn a_prefix_of_a_thousand_objects_is_used_like_a_directory_with(engine: &str) {
    let bench = Bench::new();
    let s = &bench.shell;
    bench.mount(engine);
    s.prints("cd mnt; find . -type f | wc -l; find . -type d | wc -l", "1001\n51");
    let listings = bench.store.server.count("ListObjectsV2");
    s.prints("cd mnt; find . -type f | wc -l; ls missing dir07/missing 2>&1 | wc -l", "1001\n2");
    assert_eq!(bench.store.server.count("ListObjectsV2"), listings, "what is listed is known");

    // Every byte, against what was stored.
    for i in 1..1000 {
        let path = s.at(&format!("mnt/dir{:02}/file{i}", i % 50));
        assert_eq!(std::fs::read_to_string(path).unwrap(), content(i), "file{i}");
    }
    s.prints("cat mnt/dir00/file0 mnt/own", "covers\nlocal");

    // Append, delete, rename, replace a directory: only the upper changes.
    let keys = bench.store.server.keys().list("bucket");
    s.run("echo appended >> mnt/dir01/file1; rm mnt/dir02/file2; mv mnt/dir03/file3 mnt/dir04/moved");
    s.run("rm -r mnt/dir05; mkdir mnt/dir05; echo new > mnt/dir05/new");
    let check = |s: &Shell| {
        assert_eq!(std::fs::read_to_string(s.at("mnt/dir01/file1")).unwrap(), content(1) + "appended\n");
        s.fails("ls mnt/dir02/file2");
        s.fails("ls mnt/dir03/file3");
        assert_eq!(std::fs::read_to_string(s.at("mnt/dir04/moved")).unwrap(), content(3));
        s.prints("ls mnt/dir05", "new");
        s.run("cd mnt; find . -printf '%P %y %m %s\\n' | sort; find . -type f | sort | xargs sha256sum")
    };
    let tree = check(s);
    assert_eq!(bench.store.server.keys().list("bucket"), keys);
    for i in 0..1000 {
        let key = format!("tree/dir{:02}/file{i}", i % 50);
        assert_eq!(bench.store.server.keys().get("bucket", &key).unwrap().data, content(i), "{key}");
    }
    let upper = s.run("cd upper; find . -type f | sort");
    assert_eq!(upper.trim(), "./dir01/file1\n./dir04/moved\n./dir05/new");

    s.run("overlay umount mnt");
    bench.mount(engine);
    assert_eq!(check(s), tree, "the same tree after another mount");
    s.run("overlay umount mnt");
}

#[test]
fn wrong_names_and_credentials_fail_at_the_prompt_with_one_sentence() {
    needs_fuse!();
    let bench = Bench::new();
    let stack = |url: String| format!("overlay mount --lower {url} --upper upper --work work mnt");
    let s = &bench.shell;
    let cases = [
        (stack(bench.url("nowhere/tree", "")), "nowhere"),
        (
            format!("AWS_SECRET_ACCESS_KEY=wrong {}", stack(bench.url("bucket/tree", ""))),
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            stack("'s3://bucket/tree?endpoint=http://127.0.0.1:1&region=r&timeout=2'".into()),
            "s3://bucket/tree",
        ),
    ];
    for (command, named) in cases {
        let complaint = s.fails(&command);
        assert!(complaint.contains(named), "{command}: {complaint}");
        assert_eq!(complaint.trim().lines().count(), 1, "one sentence: {complaint}");
        assert!(!complaint.contains("overlay-secret"), "no secret: {complaint}");
    }
    s.prints("ls mnt; ls upper", "");
}

#[test]
fn a_store_that_fails_later_gives_errors_and_nothing_hangs() {
    needs_fuse!();
    ENGINES.into_iter().for_each(a_store_that_fails_later_gives_errors_and_nothing_hangs_with);
}

fn a_store_that_fails_later_gives_errors_and_nothing_hangs_with(engine: &str) {
    let bench = Bench::new();
    let s = &bench.shell;
    let url = bench.url("bucket", "&timeout=5");
    s.run(&format!(
        "overlay mount --engine {engine} --lower local --lower {url} --upper upper --work work mnt"
    ));
    s.run("ls mnt/tree/dir10; cat mnt/tree/dir10/file10 > /dev/null");

    // An object that changed is stale; what was never listed cannot be listed; local files go on.
    bench.store.server.keys().put("bucket", "tree/dir11/file11", "another content");
    // A command that hangs is ended after a minute, and then says nothing.
    let message = s.fails("timeout 60 cat mnt/tree/dir11/file11");
    assert!(message.contains("Stale file handle"), "{message}");

    bench.store.server.pause();
    let message = s.fails("timeout 60 cat mnt/tree/dir12/file12");
    assert!(message.contains("Input/output error"), "{message}");
    s.prints("cat mnt/own; cat mnt/tree/dir10/file10 | head -c 9", "local\nobject 10");
    bench.store.server.resume();
    s.prints("head -c 9 mnt/tree/dir12/file12", "object 12");

    bench.store.stop();
    let message = s.fails("timeout 60 cat mnt/tree/dir13/file13");
    assert!(message.contains("Input/output error"), "{message}");
    s.run("echo still > mnt/works; cat mnt/own; overlay umount mnt");
}

#[test]
fn no_secret_is_in_arguments_mounts_or_logs() {
    needs_fuse!();
    ENGINES.into_iter().for_each(no_secret_is_in_arguments_mounts_or_logs_with);
}

fn no_secret_is_in_arguments_mounts_or_logs_with(engine: &str) {
    let bench = Bench::new();
    let s = &bench.shell;
    bench.mount(engine);
    let seen = s.run("cat /proc/self/mounts; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '");
    assert!(seen.contains("overlay") && !seen.contains("overlay-secret"));
    s.run("overlay umount mnt");
    let refused = s.fails(&format!(
        "overlay mount --lower {} mnt",
        bench.url("bucket", "&secret_access_key=overlay-secret")
    ));
    assert!(refused.contains("AWS_SECRET_ACCESS_KEY") && !refused.contains("overlay-secret"), "{refused}");
}
