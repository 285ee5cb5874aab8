//! The command as an ordinary user, who mounts with the help of fusermount3.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use shell::Shell;

const USER: &str = "setpriv --reuid 1000 --regid 1000 --clear-groups";

/// A directory of user 1000 with a lower; `None`, with the test named, where the user cannot mount.
fn users_shell(test: &str) -> Option<Shell> {
    let s = Shell::new();
    if !shell::has(test, &["fusermount3", "setpriv", "getfattr"]) {
        return None;
    }
    let ready = s.output(&format!("{USER} sh -c ': < /dev/fuse'"));
    if !ready.status.success() {
        eprintln!("SKIPPED {test}: it needs a /dev/fuse that users may open");
        return None;
    }
    s.run(&format!("cp -p {} overlay; mkdir home; chown 1000:1000 home", env!("CARGO_BIN_EXE_overlay")));
    s.run(&format!(
        "cd home; {USER} sh -ec 'mkdir lower lower/d upper work mnt; echo lower > lower/d/f; echo gone > lower/gone'"
    ));
    Some(s)
}

#[test]
fn a_user_mounts_changes_and_unmounts() {
    needs_fuse!();
    let Some(s) = users_shell("a_user_mounts_changes_and_unmounts") else { return };
    let user = |script: &str| format!("cd home; {USER} sh -ec '{script}'");
    let mount = user("../overlay mount --lower lower --upper upper --work work mnt");
    s.prints(&mount, "");
    let line = s.run("grep $PWD/home/mnt /proc/self/mounts");
    assert!(line.contains("fuse.overlay") && line.contains("nosuid,nodev"), "{line}");
    s.prints(
        &user("echo changed >> mnt/d/f; echo new > mnt/new; rm mnt/gone; cat mnt/d/f; ls mnt"),
        "lower\nchanged\nd\nnew",
    );
    s.prints("ls home/mnt 2>&1 | grep -o 'Permission denied'", "Permission denied");
    s.run(&user("../overlay umount mnt"));
    s.prints(
        "cat home/lower/d/f; stat -c '%u %F' home/upper/gone home/upper/new",
        "lower\n1000 character special file\n1000 regular file",
    );
    s.run(&mount);
    s.prints(&user("ls mnt; rm -r mnt/d; mkdir mnt/d; ls mnt/d"), "d\nnew");
    s.prints(&user("getfattr --only-values -n user.overlay.opaque upper/d; echo"), "y");
    s.run(&user("fusermount3 -u mnt"));
    s.prints(&user("ls mnt"), "");
}

#[test]
fn a_mount_point_inside_a_lower_leads_nowhere() {
    needs_fuse!();
    let Some(s) = users_shell("a_mount_point_inside_a_lower_leads_nowhere") else { return };
    let user = |script: &str| format!("cd home; {USER} sh -ec '{script}'");
    s.run(&user(
        "mkdir -p tree/mnt tree/file.d u w; ../overlay mount --lower tree --upper u --work w tree/mnt",
    ));
    s.prints(&user("ls tree/mnt; ls tree/mnt/mnt"), "file.d\nmnt");
    s.run(&user("../overlay umount tree/mnt"));
}
