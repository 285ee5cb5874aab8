//! Mapped and squashed owners, as container engines ask for them, on mounts for real.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use shell::Shell;

/// A lower with files of three users, and a mount with `options` as podman writes them.
fn mounted(options: &str) -> Shell {
    let mut shell = Shell::new();
    shell.run("mkdir -p lower/d upper work mnt; echo root > lower/root; echo user > lower/user; echo far > lower/far");
    shell.run("chown 5:6 lower/user; chown 70000:70000 lower/far; chown 7:7 lower/d");
    shell.set("OPTIONS", &format!("lowerdir=lower,upperdir=upper,workdir=work,{options}"));
    shell.run("overlay mount -o \"$OPTIONS\" mnt");
    shell
}

const MAPPED: &str = "uidmapping=:0:100000:65536,gidmapping=:0:200000:65536,,volatile,";

#[test]
fn mapped_owners_are_shown_and_stored_by_the_inverse() {
    needs_fuse!();
    let shell = mounted(MAPPED);
    shell.prints("awk -v at=$PWD/mnt '$2 == at {print $3}' /proc/self/mounts", "fuse.overlay");
    shell.prints(
        "stat -c '%n %u %g' mnt mnt/root mnt/user mnt/far mnt/d",
        "\
mnt 100000 200000
mnt/root 100000 200000
mnt/user 100005 200006
mnt/far 65534 65534
mnt/d 100007 200007",
    );
    shell.run("chown 100001:200002 mnt/user; chmod 600 mnt/root; mkdir mnt/new -m 700 2>&1 || true");
    shell.prints(
        "stat -c '%n %u %g %a' mnt/user upper/user mnt/root upper/root",
        "\
mnt/user 100001 200002 644
upper/user 1 2 644
mnt/root 100000 200000 600
upper/root 0 0 600",
    );
    shell.prints("cat upper/user", "user");
}

#[test]
fn what_has_no_mapping_cannot_be_stored() {
    needs_fuse!();
    let shell = mounted(MAPPED);
    let refused = shell.fails("chown 5 mnt/user");
    assert!(refused.contains("Invalid argument"), "{refused}");
    let refused = shell.fails("touch mnt/new");
    assert!(refused.contains("Invalid argument"), "the host's root has no mapping: {refused}");
    shell.prints(
        "ls -A work/work; ls mnt; stat -c '%u %g' mnt/user",
        "incompat\nd\nfar\nroot\nuser\n100005 200006",
    );
    let refused = shell.fails("chmod 600 mnt/far");
    assert!(refused.contains("Invalid argument"), "its copy could not be given to anybody: {refused}");
    shell.prints("cat mnt/far; rm mnt/far; ls mnt", "far\nd\nroot\nuser");
}

#[test]
fn mapped_users_make_objects_of_their_own() {
    needs_fuse!();
    if !shell::has("mapped_users_make_objects_of_their_own", &["setpriv"]) {
        return;
    }
    let shell = mounted(MAPPED);
    let root = "setpriv --reuid 100000 --regid 200000 --clear-groups";
    let user = "setpriv --reuid 100007 --regid 200007 --clear-groups";
    shell.run(&format!("{root} sh -c 'echo new > mnt/file; mkdir mnt/dir; ln -s x mnt/link'"));
    shell.run(&format!("{user} sh -c 'echo new > mnt/d/file; mkdir mnt/d/dir'"));
    shell.prints(
        "stat -c '%n %u %g' mnt/file mnt/dir mnt/link mnt/d/file mnt/d/dir",
        "\
mnt/file 100000 200000
mnt/dir 100000 200000
mnt/link 100000 200000
mnt/d/file 100007 200007
mnt/d/dir 100007 200007",
    );
    shell.prints(
        "stat -c '%n %u %g' upper/file upper/link upper/d upper/d/file upper/d/dir",
        "\
upper/file 0 0
upper/link 0 0
upper/d 7 7
upper/d/file 7 7
upper/d/dir 7 7",
    );
    shell.run(&format!("{user} mv mnt/d/file mnt/d/dir/moved; {user} ln mnt/d/dir/moved mnt/d/second"));
    shell.prints("stat -c '%h %u' mnt/d/second; cat upper/d/dir/moved", "2 100007\nnew");
    let refused = shell.fails(&format!("{user} touch mnt/not-mine"));
    assert!(refused.contains("Permission denied"), "{refused}");
}

#[test]
fn acls_name_the_ids_that_are_shown() {
    needs_fuse!();
    if !shell::has("acls_name_the_ids_that_are_shown", &["setfacl", "getfacl"]) {
        return;
    }
    let shell = mounted(MAPPED);
    shell.run("setfacl -m u:100009:r,g:200009:rw mnt/user; setfacl -d -m u:100003:rwx mnt/d");
    let names = |path: &str| format!("getfacl -nc {path} 2>/dev/null | grep -E '(user|group):[0-9]'");
    shell.prints(&names("mnt/user"), "user:100009:r--\ngroup:200009:rw-");
    shell.prints(&names("upper/user"), "user:9:r--\ngroup:9:rw-");
    shell.prints(&names("upper/d"), "default:user:3:rwx");
    shell.run("overlay umount mnt; rm -rf work/work/incompat; overlay mount -o \"$OPTIONS\" mnt");
    shell.prints(&names("mnt/d"), "default:user:100003:rwx");
    let refused = shell.fails("setfacl -m u:9:r mnt/user");
    assert!(refused.contains("Invalid argument"), "{refused}");
}

#[test]
fn squashed_owners_are_shown_whatever_is_set() {
    needs_fuse!();
    for (options, owner) in
        [("squash_to_root", "0 0"), ("squash_to_uid=1000,squash_to_gid=1001,", "1000 1001")]
    {
        let shell = mounted(options);
        shell.run(
            "touch mnt/new; mkdir mnt/dir; chown 9:9 mnt/user mnt/new; chmod 4755 mnt/user; chown -R 3 mnt/d",
        );
        shell.prints("stat -c '%u %g' mnt mnt/root mnt/user mnt/far mnt/new mnt/dir mnt/d | sort -u", owner);
        shell.prints(
            "stat -c '%n %u %g' upper/user upper/new upper/dir upper/d | sort",
            "\
upper/d 0 0
upper/dir 0 0
upper/new 0 0
upper/user 0 0",
        );
        shell.prints("stat -c %a mnt/user; cat upper/user", "4755\nuser");
    }
}

#[test]
fn anybody_makes_objects_where_owners_are_squashed() {
    needs_fuse!();
    if !shell::has("anybody_makes_objects_where_owners_are_squashed", &["setpriv"]) {
        return;
    }
    let shell = mounted("squash_to_uid=1000,squash_to_gid=1000");
    let user = "setpriv --reuid 1000 --regid 1000 --clear-groups";
    shell
        .run(&format!("{user} sh -c 'echo new > mnt/new; echo more >> mnt/root; rm mnt/far; mkdir mnt/d/e'"));
    shell.prints("cat mnt/new mnt/root", "new\nroot\nmore");
    shell.prints(
        "stat -c '%u %g' mnt/new mnt/root upper/new upper/root upper/d/e",
        "1000 1000\n1000 1000\n0 0\n0 0\n0 0",
    );
}

#[test]
fn the_kernel_engine_says_that_it_cannot() {
    needs_fuse!();
    let shell = Shell::new();
    shell.run("mkdir a b mnt");
    let refused = shell.fails("overlay mount --engine kernel -o lowerdir=a:b,uidmapping=0:1:2 mnt");
    assert_eq!(
        refused.trim_end(),
        "overlay: the kernel engine does not map owners (uidmapping); leave out --engine kernel or use --engine fuse"
    );
}

/// The xattr of what is in the upper.
const TOLD: &str = "told() { for f; do getfattr -h --absolute-names --only-values -n user.containers.override_stat $f; echo; done; }";

#[test]
fn owner_mode_and_type_are_kept_in_xattrs() {
    needs_fuse!();
    if !shell::has("owner_mode_and_type_are_kept_in_xattrs", &["getfattr", "setpriv"]) {
        return;
    }
    let shell = mounted("xattr_permissions=2,,volatile");
    shell.run("mknod -m 666 mnt/null c 1 3; mknod -m 600 mnt/disk b 8 1; mkfifo -m 640 mnt/pipe; ln -s root mnt/link");
    shell.run("chown 5:6 mnt/null; echo text > mnt/file; chmod 4711 mnt/file; mkdir -m 2750 mnt/dir; chown 9:9 mnt/dir");
    shell.run("chmod 000 mnt/user; chown 8 mnt/d; touch mnt/dir/inherits");
    let shown =
        "cd mnt; stat -c '%n %F %u %g %a %t:%T' null disk pipe link file dir dir/inherits user d root";
    let expected = "\
null character special file 5 6 666 1:3
disk block special file 0 0 600 8:1
pipe fifo 0 0 640 0:0
link symbolic link 0 0 777 0:0
file regular file 0 0 4711 0:0
dir directory 9 9 2750 0:0
dir/inherits regular empty file 0 9 644 0:0
user regular file 5 6 0 0:0
d directory 8 7 755 0:0
root regular file 0 0 644 0:0";
    shell.prints(shown, expected);
    let told = format!("{TOLD}; cd upper; told null disk pipe file dir dir/inherits user d");
    shell.prints(
        &told,
        "\
5:6:0666:char-1-3
0:0:0600:block-8-1
0:0:0640:pipe
0:0:04711:file
9:9:02750:dir
0:9:0644:file
5:6:00:file
8:7:0755:dir",
    );
    shell.prints(
        "cd upper; stat -c '%n %F %u %g %a' null pipe file dir user",
        "\
null regular empty file 0 0 666
pipe regular empty file 0 0 640
file regular file 0 0 711
dir directory 0 0 750
user regular file 0 0 600",
    );
    shell.prints("getfattr -m - mnt/file mnt/null mnt/dir", "");
    shell.run("overlay umount mnt; rm -rf work/work/incompat; overlay mount -o \"$OPTIONS\" mnt");
    shell.prints(shown, expected);
    shell.prints(
        "echo x > mnt/null; cat mnt/null; find mnt -type c -o -type b -o -type p | sort",
        "\
mnt/disk
mnt/null
mnt/pipe",
    );
    shell.run("chown 1 mnt/file; chmod 4777 mnt/root; setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'echo more >> mnt/root'");
    shell.prints("stat -c '%u %a' mnt/file mnt/root", "1 711\n0 777");
    shell.run("chown 0 mnt/file; chmod 4711 mnt/file; chmod 644 mnt/root");
    // The same bytes without the option are plain files; as a lower with it they are read and copied up.
    shell.run("overlay umount mnt; mkdir up2 work2; overlay mount -o lowerdir=upper:lower,upperdir=up2,workdir=work2,xattr_permissions=2 mnt");
    shell.prints(shown, expected);
    shell.run("chmod 600 mnt/null; mv mnt/dir mnt/moved");
    shell.prints(
        "stat -c '%F %a %t:%T' mnt/null; stat -c '%n %u %a' mnt/moved mnt/moved/inherits",
        "\
character special file 600 1:3
mnt/moved 9 2750
mnt/moved/inherits 0 644",
    );
    shell.prints(&format!("{TOLD}; told up2/null up2/moved"), "5:6:0600:char-1-3\n9:9:02750:dir");
}

#[test]
fn an_ordinary_user_keeps_modes_and_types_in_xattrs() {
    needs_fuse!();
    if !shell::has("an_ordinary_user_keeps_modes_and_types_in_xattrs", &["unshare", "getfattr"]) {
        return;
    }
    let shell = Shell::new();
    shell.run("mkdir lower upper work mnt; echo low > lower/low; chown -R 1000:1000 .");
    // One id, as where an engine has no range of subordinate ids.
    let script = "overlay mount -o lowerdir=lower,upperdir=upper,workdir=work,xattr_permissions=2, mnt && \
        touch mnt/f && chmod 640 mnt/f && mkfifo mnt/p && chmod 711 mnt/low && stat -c '%n %F %a' mnt/f mnt/p mnt/low; overlay umount mnt";
    let output = shell.output(&format!(
        "setpriv --reuid 1000 --regid 1000 --clear-groups unshare -Urm sh -c '{}'",
        script.replace('\'', "'\\''")
    ));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if complaint.contains("unshare") {
        eprintln!("SKIPPED an_ordinary_user_keeps_modes_and_types_in_xattrs: {complaint}");
        return;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        printed, "mnt/f regular empty file 640\nmnt/p fifo 644\nmnt/low regular file 711\n",
        "{complaint}"
    );
    shell.prints(&format!("{TOLD}; told upper/p upper/low"), "0:0:0644:pipe\n0:0:0711:file");
}

#[test]
fn mappings_apply_to_what_xattrs_say() {
    needs_fuse!();
    if !shell::has("mappings_apply_to_what_xattrs_say", &["setfattr", "getfattr"]) {
        return;
    }
    let shell = Shell::new();
    shell.run("mkdir lower upper work mnt; touch lower/old lower/new lower/bad");
    shell.run("setfattr -n user.fuseoverlayfs.override_stat -v 3:4:0700 lower/old");
    shell.run("setfattr -n user.containers.override_stat -v 5:6:0600:char-5-1 lower/new");
    shell.run("setfattr -n user.containers.override_stat -v nonsense lower/bad");
    shell.run("overlay mount -o lowerdir=lower,upperdir=upper,workdir=work,xattr_permissions=2,uidmapping=0:100:50,gidmapping=0:200:50 mnt");
    shell.prints(
        "stat -c '%F %u %g %a' mnt/old mnt/new",
        "\
regular empty file 103 204 700
character special file 105 206 600",
    );
    let refused = shell.fails("stat mnt/bad");
    assert!(refused.contains("Invalid argument"), "{refused}");
    shell.run("chown 110:210 mnt/new");
    shell.prints(&format!("{TOLD}; told upper/new"), "10:10:0600:char-5-1");
}
