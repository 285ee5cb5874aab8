//! `overlay demo` does what it tells, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![cfg(feature = "demo-server")]

mod common;

use std::process::{Command, Stdio};

use common::*;

/// The demonstration, with its temporary directory in `temp`.
fn demo(temp: &Temp) -> Command {
    let mut command = overlay_in(temp.path(), ["demo"]);
    command.env("TMPDIR", temp.path());
    command
}

#[test]
fn the_demonstration_shows_the_union_and_clears_it_away() {
    if !can_fuse("the_demonstration_shows_the_union_and_clears_it_away") {
        return;
    }
    let temp = Temp::new();
    let output = success(&mut demo(&temp));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let told = String::from_utf8(output.stdout).unwrap();
    for line in [
        "--lower 's3://demo/site?endpoint=http://127.0.0.1:",
        "  merged/README.md          local  (hides the one in the bucket)",
        "  merged/data/prices.csv    s3://demo/site",
        "  data/old.csv       whiteout: hides the file of that name below",
        "  data/prices.csv    34 bytes",
        "2 files of ./local and 4 objects of the bucket are, byte for byte, what they were.",
        "is removed.",
        "Next: overlay mount --lower DIR --lower s3://BUCKET/PREFIX",
    ] {
        assert!(told.contains(line), "{line:?} is missing:\n{told}");
    }
    assert!(told.lines().count() <= 50, "{told}");
    assert_eq!(temp.names("."), [""; 0]);
}

#[test]
fn a_demonstration_that_nobody_reads_is_cleared_away_too() {
    if !can_fuse("a_demonstration_that_nobody_reads_is_cleared_away_too") {
        return;
    }
    let temp = Temp::new();
    let mut child = demo(&temp).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(!child.wait().unwrap().success());
    let said = read_to_end(child.stderr.take().unwrap());
    assert!(said.starts_with("overlay: cannot write to standard output: "), "{said}");
    assert_eq!(temp.names("."), [""; 0]);
}
