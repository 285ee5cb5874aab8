//! The walkthrough that every union file system must pass, step by step, on real mounts.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use shell::Shell;

/// A part of the walkthrough: what it is called, and how it is done with an engine.
type Line = (&'static str, fn(&str));

/// The walkthrough.
const LINES: [Line; 7] = [
    ("1-6 two lowers and an upper", lines_1_to_6_two_lowers_and_an_upper),
    ("7-8 one lower, and mounts upon mounts", lines_7_and_8_one_lower_and_mounts_upon_mounts),
    ("9 many lowers", line_9_many_lowers),
    ("10 the upper holds just the differences", line_10_the_upper_holds_just_the_differences),
    ("11-13 the root as a template", lines_11_to_13_the_root_as_a_template),
    ("14 a system container", line_14_a_system_container_starts_on_the_mount),
    ("15 AUFS and OCI layers", line_15_aufs_and_oci_layers),
];

fn walk(engine: &str) {
    for (line, walk) in LINES {
        println!("--engine {engine}: line {line}");
        walk(engine);
    }
}

#[test]
fn the_kernel_engine_passes() {
    needs_fuse!();
    walk("kernel");
}

#[test]
fn the_fuse_engine_passes() {
    needs_fuse!();
    walk("fuse");
}

#[test]
fn auto_passes() {
    needs_fuse!();
    walk("auto");
}

/// Two lowers, an upper and a work, as the walkthrough has them.
fn seeded() -> Shell {
    let shell = Shell::new();
    shell.run(
        "mkdir layer1 layer2 upperlayer workdir mountedfs
         echo 'content for file1.txt in layer1' > layer1/file1.txt
         echo 'content for file1.txt in layer2' > layer2/file1.txt
         echo 'content for file2.txt in layer1' > layer1/file2.txt
         echo 'content for file3.txt in layer2' > layer2/file3.txt",
    );
    shell
}

const MOUNT: &str = "overlay mount -o lowerdir=layer1:layer2,upperdir=upperlayer,workdir=workdir";

fn lines_1_to_6_two_lowers_and_an_upper(engine: &str) {
    let s = seeded();
    let mount = format!("{MOUNT} --engine {engine} mountedfs");
    s.prints(&mount, "");
    s.prints("ls mountedfs", "file1.txt\nfile2.txt\nfile3.txt");
    assert_eq!(s.run("ls -l mountedfs").lines().count(), 4, "exactly three files");
    s.prints("cat mountedfs/file1.txt", "content for file1.txt in layer1");
    s.prints("cat mountedfs/file2.txt", "content for file2.txt in layer1");
    s.prints("cat mountedfs/file3.txt", "content for file3.txt in layer2");
    s.run("echo 'new content for file4.txt' > mountedfs/file4.txt");
    s.prints(
        "cat mountedfs/file4.txt upperlayer/file4.txt",
        "new content for file4.txt\nnew content for file4.txt",
    );
    s.fails("ls layer1/file4.txt layer2/file4.txt");
    let before = s.run("cat layer1/* layer2/* | sha256sum");
    s.run("echo 'new content for file1.txt' > mountedfs/file1.txt");
    s.prints("cat upperlayer/file1.txt", "new content for file1.txt");
    s.prints("cat layer1/* layer2/* | sha256sum", &before);
    s.run("rm mountedfs/file2.txt");
    s.run("overlay umount mountedfs");
    s.prints("ls mountedfs", "");
    s.run(&mount);
    s.prints("ls mountedfs", "file1.txt\nfile3.txt\nfile4.txt");
    s.prints("cat layer1/file2.txt", "content for file2.txt in layer1");
    s.run("overlay umount mountedfs");
}

fn lines_7_and_8_one_lower_and_mounts_upon_mounts(engine: &str) {
    let s = Shell::new();
    s.run("mkdir lower; for i in 1 2 3; do mkdir upper$i work$i mnt$i; echo $i > lower/file$i; done");
    s.run(&format!("overlay mount --engine {engine} --lower lower --upper upper1 --work work1 mnt1"));
    s.run(&format!("overlay mount --engine {engine} --lower mnt1 --upper upper2 --work work2 mnt2"));
    s.run(&format!("overlay mount --engine {engine} --lower mnt2 --upper upper3 --work work3 mnt3"));
    s.prints("cat mnt3/file*", "1\n2\n3");
    s.run("echo one >> mnt1/file1; echo two >> mnt2/file2; echo three >> mnt3/file3; rm mnt3/file2");
    s.prints("cat upper1/file1 upper2/file2 upper3/file3", "1\none\n2\ntwo\n3\nthree");
    s.prints("ls mnt3 | tr '\\n' ' '", "file1 file3");
    s.prints("cat lower/file*", "1\n2\n3");
    s.run("overlay umount mnt3; overlay umount mnt2; overlay umount mnt1");
}

fn line_9_many_lowers(engine: &str) {
    for count in [128, 500, 1200] {
        let s = Shell::new();
        s.run(&format!(
            "mkdir upper work mnt
             for i in $(seq {count}); do mkdir l$i; echo $i > l$i/file$i; echo $i > l$i/shared; done"
        ));
        let lowers: Vec<_> = (1..=count).map(|i| format!("l{i}")).collect();
        let lowers = lowers.join(":");
        let mount =
            format!("overlay mount --engine {engine} -o lowerdir={lowers},upperdir=upper,workdir=work mnt");
        if engine == "kernel" && count > 500 {
            // The kernel's own limit; --engine auto serves it.
            assert!(s.fails(&mount).contains("at most 500 lower layers, these are 1200"));
            continue;
        }
        s.run(&mount);
        s.prints("ls mnt | wc -l", &(count + 1).to_string());
        s.prints("cat mnt/shared", "1");
        s.prints("cat mnt/file* | sort -n | sha256sum", &s.run(&format!("seq {count} | sha256sum")));
        s.run("overlay umount mnt");
    }
}

fn line_10_the_upper_holds_just_the_differences(engine: &str) {
    let s = Shell::new();
    s.run("mkdir -p lower/foo lower/bar upper work overlay; echo foo > lower/foo/foofile; echo bar > lower/bar/b");
    let before = s.run("ls -lR --time-style=full-iso lower");
    s.run(&format!("overlay mount --engine {engine} --lower lower --upper upper --work work overlay"));
    s.run("mkdir overlay/blatch; touch overlay/blatch/blatchfile; echo hello > overlay/bar/barfile");
    s.prints("ls -lR --time-style=full-iso lower", &before);
    s.prints("cd upper; find . | sort", ".\n./bar\n./bar/barfile\n./blatch\n./blatch/blatchfile");
    s.prints(
        "cd overlay; find . | sort",
        ".\n./bar\n./bar/b\n./bar/barfile\n./blatch\n./blatch/blatchfile\n./foo\n./foo/foofile",
    );
    s.run("overlay umount overlay");
}

/// mount(8) has a PATH of its own, on which the helper of a FUSE mount must be: it is put there for one command alone.
const HELPER: &str = concat!(
    "unshare --mount sh -ec 'mount -t tmpfs none /usr/local/bin; ln -s ",
    env!("CARGO_BIN_EXE_overlay"),
    " /usr/local/bin/overlay;"
);

/// The root of the machine as the lower, the mount point inside it.
fn mount_root(s: &Shell, engine: &str) {
    s.run(&format!("overlay mount --engine {engine} --lower / --upper upper --work work $PWD/overlay"));
}

fn lines_11_to_13_the_root_as_a_template(engine: &str) {
    if !shell::has("lines_11_to_13_the_root_as_a_template", &["ps", "netstat", "setfattr"]) {
        return;
    }
    let s = Shell::new();
    s.run("mkdir upper work overlay");
    mount_root(&s, engine);
    s.prints("ls overlay", &s.run("ls /"));
    let inside = format!("overlay{}/overlay", s.dir().display());
    assert!(s.run(&format!("ls {inside} | wc -l")).trim() == "0", "no endless recursion");
    s.run("chroot overlay ls; chroot overlay ls /tmp /root");
    s.run("mount -t proc proc overlay/proc");
    assert!(s.run("chroot overlay ps -AHfww").contains("ps -AHfww"));
    assert!(s.run("chroot overlay netstat -lntp").contains("Active Internet connections"));
    s.run("umount overlay/proc; overlay umount overlay");
    let hide = "mkdir -p upper/root upper/tmp; setfattr -n trusted.overlay.opaque -v y upper/root upper/tmp";
    let is_hidden = || {
        s.prints("chroot overlay ls -A /root /tmp", "/root:\n\n/tmp:");
        s.prints("chroot overlay ls /", &s.run("ls /"));
    };
    s.run(hide);
    mount_root(&s, engine);
    is_hidden();
    s.run("overlay umount overlay; rm -r upper work; mkdir upper work");
    // The live case: looked at before, hidden behind the mount, and seen after a remount.
    for remount in ["overlay remount overlay", &format!("{HELPER} mount -o remount overlay'")] {
        s.run("touch /tmp/overlay-walkthrough");
        mount_root(&s, engine);
        s.run("chroot overlay ls /tmp | grep overlay-walkthrough; ls overlay/root");
        s.run(hide);
        s.run(remount);
        is_hidden();
        s.run("overlay umount overlay; rm -r upper work; mkdir upper work");
    }
}

fn line_14_a_system_container_starts_on_the_mount(engine: &str) {
    let s = Shell::new();
    if !shell::has("line_14_a_system_container_starts_on_the_mount", &["lxc-start", "lxc-attach"]) {
        return;
    }
    s.run("mkdir upper work overlay lxc");
    mount_root(&s, engine);
    let name = format!("overlay-test-{}-{engine}", std::process::id());
    let config = "lxc.rootfs.path = dir:$PWD/overlay
lxc.net.0.type = none
lxc.apparmor.profile = unconfined
lxc.init.cmd = /bin/sleep 1000";
    s.run(&format!("mkdir lxc/{name}; echo \"{config}\nlxc.uts.name = inside\" > lxc/{name}/config"));
    s.run(&format!("lxc-start -P $PWD/lxc -n {name} -l debug -o lxc.log || {{ cat lxc.log >&2; false; }}"));
    let seen = s.output(&format!(
        "lxc-attach -P $PWD/lxc -n {name} -- sh -c 'hostname; touch /made-inside; ls /bin/sh'"
    ));
    s.run(&format!("lxc-stop -k -P $PWD/lxc -n {name}"));
    let text = String::from_utf8_lossy(&seen.stdout);
    assert_eq!(text.lines().collect::<Vec<_>>(), ["inside", "/bin/sh"], "{seen:?}");
    s.run("ls upper/made-inside; overlay umount overlay");
}

fn line_15_aufs_and_oci_layers(engine: &str) {
    let s = Shell::new();
    s.run(
        "mkdir -p top/dir bottom/dir upper work mnt
         touch top/.wh.gone bottom/gone top/dir/.wh..wh..opq bottom/dir/hidden top/dir/kept bottom/other",
    );
    let stack =
        format!("overlay mount --engine {engine} --lower top --lower bottom --upper upper --work work");
    s.run(&format!("{stack} -o markers=oci mnt"));
    s.prints("cd mnt; find . | sort", ".\n./dir\n./dir/kept\n./other");
    s.run("overlay umount mnt");
    s.run(&format!("{stack} mnt"));
    s.prints(
        "cd mnt; find . | sort",
        ".\n./.wh.gone\n./dir\n./dir/.wh..wh..opq\n./dir/hidden\n./dir/kept\n./gone\n./other",
    );
    s.run("overlay umount mnt");
}
