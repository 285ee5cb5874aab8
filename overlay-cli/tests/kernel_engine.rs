//! The kernel engine's mounts and servers, from the first to the last: how they end, what they leave, and where they
//! work.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use std::time::{Duration, Instant};

use shell::Shell;

/// A plain directory over one of `.wh.` names, which the kernel cannot read as it is, over another plain one.
fn seeded() -> Shell {
    let s = Shell::new();
    s.run(
        "mkdir -p local served/d base/d upper work mnt
         echo local > local/own; echo served > served/file; seq 20000 > served/d/long; touch served/.wh.gone
         echo base > base/d/deep; echo gone > base/gone",
    );
    s
}

/// The words that mount it. The mount point is absolute, so that the server can be told from others.
fn mount(s: &Shell, words: &str) -> String {
    let dir = s.dir().display();
    format!(
        "overlay mount --engine kernel --lower local --lower 'dir://{dir}/served?markers=oci' --lower base \
         --upper upper --work work {words} {dir}/mnt"
    )
}

/// The servers whose mount point is in the directory.
fn servers(s: &Shell) -> Vec<i32> {
    let place = s.at("mnt").into_os_string().into_encoded_bytes();
    let is_ours = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|b| *b == 0);
        words.any(|word| word == b"--serving") && line.split(|b| *b == 0).any(|word| word == place)
    };
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok()).filter(is_ours).collect()
}

/// Waits, for as long as it can take, until no server is left.
#[track_caller]
fn no_server_stays(s: &Shell) {
    let end = Instant::now() + Duration::from_secs(60);
    while !servers(s).is_empty() {
        assert!(Instant::now() < end, "servers stay: {:?}", servers(s));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All that a mount could leave behind on the machine: mounts in the directory, and private mount points.
fn left(s: &Shell) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = s.dir().to_str().unwrap();
    let mut left: Vec<_> = mounts.lines().filter(|line| line.contains(inside)).map(String::from).collect();
    for shelter in ["/run", "/tmp"] {
        let names = std::fs::read_dir(shelter).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        left.extend(names.filter(|name| name.starts_with("overlay-") && !name.starts_with("overlay-test")));
    }
    left
}

fn kill(pid: i32) {
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn nothing_is_left_of_two_hundred_mounts_however_they_end() {
    needs_fuse!();
    let s = seeded();
    let before = left(&s);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let open = descriptors();
    let mount = mount(&s, "");
    for round in 0..200 {
        s.run(&mount);
        match round % 3 {
            0 => s.prints("cat mnt/file; overlay umount mnt", "served"),
            1 => s.prints("cat mnt/file; umount -l mnt", "served"),
            _ => {
                let [server] = servers(&s)[..] else {
                    panic!("one server for all layers: {:?}", servers(&s))
                };
                kill(server);
                s.prints("cat mnt/own; umount mnt", "local");
            }
        };
        no_server_stays(&s);
    }
    assert_eq!(left(&s), before);
    assert!(descriptors() <= open, "a descriptor is left open");
    s.prints("ls work/work 2>/dev/null | wc -l", "0");
}

#[test]
fn a_server_that_dies_takes_its_own_files_with_it_and_no_others() {
    needs_fuse!();
    let s = seeded();
    s.run(&mount(&s, ""));
    s.prints("cat mnt/own mnt/file", "local\nserved");
    kill(servers(&s)[0]);
    no_server_stays(&s);
    s.prints("cat mnt/own; echo more >> mnt/own; cat mnt/own; ls upper", "local\nlocal\nmore\nown");
    // What was asked while it died is told otherwise: "connection abort".
    s.fails("cat mnt/d/long > /dev/null");
    let complaint = s.fails("cat mnt/d/long > /dev/null");
    assert!(complaint.contains("not connected") || complaint.contains("Input/output"), "{complaint}");
    s.run("umount mnt");
    s.run(&mount(&s, ""));
    s.prints("wc -l < mnt/d/long; cat mnt/own", "20000\nlocal\nmore");
    s.run("overlay umount mnt");
}

#[test]
fn a_union_in_use_is_kept_by_its_users_after_a_lazy_unmount() {
    needs_fuse!();
    let s = seeded();
    s.run(&mount(&s, ""));
    let held = std::fs::File::open(s.at("mnt/d/long")).unwrap();
    let complaint = s.fails("overlay umount mnt");
    assert!(complaint.contains("is in use"), "{complaint}");
    s.run("overlay umount --lazy mnt");
    assert_eq!(std::io::read_to_string(&held).unwrap().lines().count(), 20000);
    assert_eq!(servers(&s).len(), 1);
    drop(held);
    no_server_stays(&s);
}

#[test]
fn a_signal_to_the_server_unmounts_the_union() {
    needs_fuse!();
    let s = seeded();
    s.run(&mount(&s, ""));
    let pid = rustix::process::Pid::from_raw(servers(&s)[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    no_server_stays(&s);
    s.prints("ls mnt", "");
}

#[test]
fn a_server_keeps_no_other_union() {
    needs_fuse!();
    let (first, second) = (seeded(), seeded());
    first.run(&mount(&first, ""));
    second.run(&mount(&second, ""));
    first.run("overlay umount mnt");
    no_server_stays(&first);
    assert_eq!(servers(&second).len(), 1);
    second.run("overlay umount mnt");
}

#[test]
fn the_end_of_a_mount_namespace_ends_union_and_server() {
    needs_fuse!();
    let ways = ["", "--propagation shared"].map(|options| ["kernel", "fuse"].map(|engine| (options, engine)));
    for (options, engine) in ways.into_iter().flatten() {
        let s = seeded();
        let mount = mount(&s, "").replace("--engine kernel", &format!("--engine {engine}"));
        let script = format!("{mount}; cat mnt/file");
        std::fs::write(s.at("script"), script).unwrap();
        s.prints(&format!("unshare --mount {options} sh -e script"), "served");
        no_server_stays(&s);
        // With a user in it the namespace, and so the union, goes on.
        std::fs::write(s.at("script"), format!("{mount}; cat mnt/file; read x; cat mnt/d/deep")).unwrap();
        s.prints(&format!("(sleep 0.3; echo) | unshare --mount {options} sh -e script"), "served\nbase");
        no_server_stays(&s);
    }
}

#[test]
fn a_user_merges_by_the_kernel_in_a_namespace_of_his_own() {
    needs_fuse!();
    let test = "a_user_merges_by_the_kernel_in_a_namespace_of_his_own";
    let s = seeded();
    let user = "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user --mount";
    if !shell::has(test, &["setpriv", "unshare", "getfattr"]) {
        return;
    }
    if !s.output(&format!("{user} sh -c ': < /dev/fuse'")).status.success() {
        eprintln!("SKIPPED {test}: it needs user namespaces and a /dev/fuse that users may open");
        return;
    }
    s.run(&format!("cp {} overlay; chown -R 1000:1000 .", env!("CARGO_BIN_EXE_overlay")));
    let plain = "./overlay mount -v --engine kernel --lower local --lower base --upper upper --work work mnt";
    for (mount, kept) in [
        (plain.to_owned(), "deep"),
        (mount(&s, "-v").replace("overlay mount", "./overlay mount"), "deep long"),
    ] {
        let script = format!(
            "{mount} 2>&1; ls mnt/d | tr '\\n' ' '; echo; cat mnt/own; echo more >> mnt/own; rm -r mnt/d; mkdir mnt/d; ls mnt/d
             grep \" $PWD/mnt overlay\" /proc/self/mounts | grep -o userxattr; ./overlay umount mnt"
        );
        std::fs::write(s.at("script"), script).unwrap();
        let printed = s.run(&format!("{user} sh -e script"));
        let expected = format!("overlay: engine kernel: it was asked for\n{kept} \nlocal\nuserxattr");
        assert_eq!(printed.trim(), expected);
        s.prints("cat upper/own; stat -c '%u' upper/own", "local\nmore\n1000");
        s.prints("getfattr --only-values -n user.overlay.opaque upper/d; echo", "y");
        no_server_stays(&s);
        s.run("rm -rf upper/* work/*");
    }
}

#[test]
fn the_engine_is_told_with_its_reason() {
    needs_fuse!();
    let s = seeded();
    let dir = s.dir().display();
    let mount = "overlay mount -v --upper upper --work work";
    for (words, expected) in [
        (
            "--lower local",
            "engine kernel: all layers are local directories and this process may mount overlayfs",
        ),
        (
            &*format!("--lower local --lower 'dir://{dir}/served?markers=oci'"),
            &*format!(
                "engine kernel: this process may mount overlayfs, and the layer {dir}/served is served to it"
            ),
        ),
        ("--engine fuse --lower local", "engine fuse: it was asked for"),
    ] {
        let printed = s.run(&format!("{mount} {words} mnt 2>&1; overlay umount mnt"));
        assert_eq!(printed.trim(), format!("overlay: {expected}"));
    }
}

#[test]
fn an_upper_that_the_kernel_refuses_is_served_by_fuse() {
    needs_fuse!();
    let s = seeded();
    s.run(
        "mkdir one oneupper onework
         overlay mount --engine kernel --lower local --upper oneupper --work onework one; mkdir one/upper one/work",
    );
    let mount = |engine| {
        format!("overlay mount -v --engine {engine} --lower base --upper one/upper --work one/work mnt 2>&1")
    };
    // The reason is the kernel's: an overlay has no whiteouts for another.
    let told = s.run(&mount("auto"));
    assert!(told.starts_with("overlay: engine fuse: one/upper can be no upper: "), "{told}");
    assert_eq!(told.trim().lines().count(), 1, "{told}");
    let change = "rm mnt/gone; mv mnt/d mnt/moved; rm mnt/moved/deep; mkdir mnt/d; echo new > mnt/d/new";
    s.prints(&format!("{change}; cd mnt; find . | sort"), ".\n./d\n./d/new\n./moved");
    s.run("overlay umount mnt");
    s.run(&mount("auto"));
    s.prints("cd mnt; find . | sort", ".\n./d\n./d/new\n./moved");
    s.prints("rm -r mnt/moved mnt/d; mkdir mnt/d mnt/d/deep; ls mnt mnt/d", "mnt:\nd\n\nmnt/d:\ndeep");
    s.run("overlay umount mnt");
    let told = s.fails(&mount("kernel").replace(" 2>&1", ""));
    assert!(told.contains("one/upper can be no upper") && told.trim().lines().count() == 1, "{told}");
    s.prints("cat base/gone base/d/deep; overlay umount one", "gone\nbase");
}

#[test]
fn layers_that_only_hold_data_are_read_by_both_engines() {
    needs_fuse!();
    let s = Shell::new();
    if !shell::has("layers_that_only_hold_data_are_read_by_both_engines", &["setfattr"]) {
        return;
    }
    s.run(
        "mkdir meta data other mnt; echo content > data/blob; truncate -s 8 meta/file
         setfattr -n trusted.overlay.metacopy meta/file; setfattr -n trusted.overlay.redirect -v /blob meta/file",
    );
    for (engine, options) in [("kernel", ",metacopy=on,redirect_dir=follow"), ("fuse", "")] {
        s.run(&format!("overlay mount --engine {engine} -o lowerdir=meta::data{options} mnt"));
        s.prints("cat mnt/file; ls mnt", "content\nfile");
        s.run("overlay umount mnt");
    }
}

#[test]
fn access_lists_of_a_layer_that_is_served_are_enforced() {
    needs_fuse!();
    let s = seeded();
    if !shell::has("access_lists_of_a_layer_that_is_served_are_enforced", &["setfacl", "setpriv"]) {
        return;
    }
    s.run("chown 0:65534 served/file; chmod 660 served/file; setfacl -m g::---,u:1234:rw,m::rw served/file");
    let as_user = |uid: u32, script: &str| {
        format!("setpriv --reuid {uid} --regid {uid} --clear-groups sh -c '{script}'")
    };
    for engine in ["kernel", "fuse"] {
        s.run(&mount(&s, "").replace("--engine kernel", &format!("--engine {engine}")));
        for script in ["cat mnt/file", "echo more >> mnt/file"] {
            let complaint = s.fails(&as_user(65534, script));
            assert!(complaint.contains("Permission denied"), "{engine}: {complaint}");
        }
        s.prints(&as_user(1234, "cat mnt/file; echo more >> mnt/file; cat mnt/file"), "served\nserved\nmore");
        s.run("overlay umount mnt; rm -r upper work; mkdir upper work");
    }
}

/// A server that takes connections and says nothing, and a layer in it.
fn silence() -> (std::net::TcpListener, String) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("s3://bucket/x?endpoint=http://{}&region=us-east-1", silent.local_addr().unwrap());
    (silent, url)
}

#[test]
fn a_layer_that_cannot_be_opened_fails_once_and_gives_way_to_a_signal() {
    needs_fuse!();
    let s = seeded();
    let keys = "export AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b;";
    let (_silent, url) = silence();
    let complaint = s.fails(&format!("{keys} overlay mount --lower '{url}&timeout=1' --lower local mnt"));
    assert!(complaint.contains("s3://bucket/x") && complaint.trim().lines().count() == 1, "{complaint}");
    let (silent, url) = silence();
    let mut command = s.command(&format!("{keys} exec overlay mount -f --lower '{url}' --lower local mnt"));
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let _asked = silent.accept().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(said.trim(), "overlay: it was asked to end before anything was mounted");
}

#[test]
fn a_store_of_files_is_found_by_its_path_and_holds_no_mount_point() {
    needs_fuse!();
    let s = seeded();
    let dir = s.dir().display();
    s.run("mkdir -p disk/data; echo below > disk/data/other");
    let script = format!(
        "mount -t tmpfs none disk; mkdir disk/data; echo in > disk/data/file
         overlay mount --engine kernel --lower file://{dir}/disk/data --upper upper --work work mnt
         ls mnt; cat mnt/file; overlay umount mnt"
    );
    std::fs::write(s.at("script"), script).unwrap();
    s.prints("unshare --mount sh -e script", "file\nin");
    s.run("mkdir base/mnt");
    let complaint = s.fails(&format!("overlay mount --lower file://{dir}/base --lower local base/mnt"));
    assert!(complaint.contains("which would lead into itself; name the layer by its path"), "{complaint}");
}

#[test]
fn an_upper_in_use_may_be_read_by_another_mount() {
    needs_fuse!();
    for engine in ["fuse", "kernel"] {
        let s = seeded();
        s.run("mkdir other; mkdir base/gone.d");
        let stack = "--lower base --upper upper --work work";
        s.run(&format!(
            "overlay mount --engine {engine} {stack} mnt; echo up > mnt/up; rm mnt/gone; rmdir mnt/gone.d"
        ));
        let told = s.run(&format!("overlay mount -v -o ro {stack} other 2>&1"));
        assert!(told.starts_with("overlay: engine fuse: ") && told.contains("in use"), "{told}");
        s.prints("cat other/up; ls other", "up\nd\nup");
        let complaint = s.fails("touch other/new");
        assert!(complaint.contains("Read-only file system"), "{complaint}");
        s.prints("echo more >> mnt/up; overlay umount other; overlay umount mnt; cat upper/up", "up\nmore");
    }
}

#[test]
fn options_come_from_a_file_and_propagation_is_set() {
    needs_fuse!();
    let s = seeded();
    s.run("printf '# the stack\nlowerdir+=local\nlowerdir+=base\n\nupperdir=upper,workdir=work,volatile=0\n' > stack");
    for engine in ["kernel", "fuse"] {
        for (word, shown) in [("private", ""), ("shared", "shared:"), ("unbindable", "unbindable")] {
            s.run(&format!("overlay mount --engine {engine} -o @stack -o {word} mnt"));
            s.prints("cat mnt/own mnt/d/deep", "local\nbase");
            let line = s.run("grep \" $PWD/mnt \" /proc/self/mountinfo");
            let tags = line.split(" - ").next().unwrap().split(' ').skip(6).collect::<Vec<_>>().join(" ");
            assert!(tags.starts_with(shown) && (tags.is_empty() == shown.is_empty()), "{word}: {line}");
            s.run("overlay umount mnt");
        }
    }
}

#[test]
fn options_and_flags_reach_the_kernel() {
    needs_fuse!();
    let s = seeded();
    let options = "redirect_dir=on,metacopy=on,index=on,xino=auto,uuid=on,volatile,noatime,nodev,nosuid,noexec,nodiratime";
    s.run(&format!("overlay mount --engine kernel --lower local --upper upper --work work -o {options} mnt"));
    let line = s.run("grep \" $PWD/mnt overlay\" /proc/self/mounts");
    for word in [
        "redirect_dir=on",
        "metacopy=on",
        "index=on",
        "uuid=on",
        "volatile",
        "noatime",
        "nodev",
        "nosuid",
        "noexec",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
    s.run("overlay umount mnt");
}
