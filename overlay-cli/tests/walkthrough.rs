//! The walkthrough that every union file system must pass, step by step, on real mounts.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use shell::Shell;

/// The engines that the walkthrough is done with.
const ENGINES: [&str; 2] = ["fuse", "auto"];

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

#[test]
fn lines_1_to_6_two_lowers_and_an_upper() {
    needs_fuse!();
    for engine in ENGINES {
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
}

#[test]
fn lines_7_and_8_one_lower_and_mounts_upon_mounts() {
    needs_fuse!();
    for engine in ENGINES {
        let s = Shell::new();
        s.run("mkdir lower; for i in 1 2 3; do mkdir upper$i work$i mnt$i; echo $i > lower/file$i; done");
        s.run(&format!("overlay mount --engine {engine} --lower lower --upper upper1 --work work1 mnt1"));
        s.run(&format!("overlay mount --engine {engine} --lower mnt1 --upper upper2 --work work2 mnt2"));
        s.run("overlay mount --engine fuse --lower mnt2 --upper upper3 --work work3 mnt3");
        s.prints("cat mnt3/file*", "1\n2\n3");
        s.run("echo one >> mnt1/file1; echo two >> mnt2/file2; echo three >> mnt3/file3; rm mnt3/file2");
        s.prints("cat upper1/file1 upper2/file2 upper3/file3", "1\none\n2\ntwo\n3\nthree");
        s.prints("ls mnt3 | tr '\\n' ' '", "file1 file3");
        s.prints("cat lower/file*", "1\n2\n3");
        s.run("overlay umount mnt3; overlay umount mnt2; overlay umount mnt1");
    }
}

#[test]
fn line_9_many_lowers() {
    needs_fuse!();
    for (engine, count) in [("fuse", 128), ("auto", 128), ("fuse", 500), ("auto", 500), ("auto", 1200)] {
        let s = Shell::new();
        s.run(&format!(
            "mkdir upper work mnt
             for i in $(seq {count}); do mkdir l$i; echo $i > l$i/file$i; echo $i > l$i/shared; done"
        ));
        let lowers: Vec<_> = (1..=count).map(|i| format!("l{i}")).collect();
        let lowers = lowers.join(":");
        s.run(&format!(
            "overlay mount --engine {engine} -o lowerdir={lowers},upperdir=upper,workdir=work mnt"
        ));
        s.prints("ls mnt | wc -l", &(count + 1).to_string());
        s.prints("cat mnt/shared", "1");
        s.prints("cat mnt/file* | sort -n | sha256sum", &s.run(&format!("seq {count} | sha256sum")));
        s.run("overlay umount mnt");
    }
}

#[test]
fn line_10_the_upper_holds_just_the_differences() {
    needs_fuse!();
    for engine in ENGINES {
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
}

/// The root of the machine as the lower, the mount point inside it.
fn mount_root(s: &Shell, engine: &str) {
    s.run(&format!("overlay mount --engine {engine} --lower / --upper upper --work work $PWD/overlay"));
}

#[test]
fn lines_11_to_13_the_root_as_a_template() {
    needs_fuse!();
    if !shell::has("lines_11_to_13_the_root_as_a_template", &["ps", "netstat", "setfattr"]) {
        return;
    }
    for engine in ENGINES {
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
        s.run("mkdir -p upper/root upper/tmp; setfattr -n trusted.overlay.opaque -v y upper/root upper/tmp");
        mount_root(&s, engine);
        s.prints("chroot overlay ls -A /root /tmp", "/root:\n\n/tmp:");
        s.prints("chroot overlay ls /", &s.run("ls /"));
        s.run("overlay umount overlay");
    }
}

#[test]
fn line_14_a_system_container_starts_on_the_mount() {
    needs_fuse!();
    for engine in ENGINES {
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
        s.run(&format!(
            "lxc-start -P $PWD/lxc -n {name} -l debug -o lxc.log || {{ cat lxc.log >&2; false; }}"
        ));
        let seen = s.output(&format!(
            "lxc-attach -P $PWD/lxc -n {name} -- sh -c 'hostname; touch /made-inside; ls /bin/sh'"
        ));
        s.run(&format!("lxc-stop -k -P $PWD/lxc -n {name}"));
        let text = String::from_utf8_lossy(&seen.stdout);
        assert_eq!(text.lines().collect::<Vec<_>>(), ["inside", "/bin/sh"], "{seen:?}");
        s.run("ls upper/made-inside; overlay umount overlay");
    }
}

#[test]
fn line_15_aufs_and_oci_layers() {
    needs_fuse!();
    for engine in ENGINES {
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
}
