//! Both engines on the same stack: what is seen, what is written, and whether each takes up what the other left.
#![cfg(feature = "demo-server")]
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use shell::Shell;
use shell::bucket::Store;

const ENGINES: [&str; 2] = ["kernel", "fuse"];

/// Layers of four kinds: plain, in a bucket, of `.wh.` names, and plain again for what those names delete.
const LAYERS: &str = "
    mkdir -p local/dir00 local/mixed wh/opaque wh/dir09 base/opaque base/dir09 base/mixed plain mnt
    echo local > local/own; echo covers > local/dir00/file0; echo l > local/mixed/l
    touch wh/.wh.gone wh/opaque/.wh..wh..opq wh/dir09/.wh.hidden; echo seen > wh/opaque/seen
    echo gone > base/gone; echo hidden > base/opaque/below; echo hidden > base/dir09/hidden
    echo b > base/mixed/b; seq 100000 > base/big; ln -s big base/link; ln base/big base/mixed/hard
    # The same for a plain `mount -t overlay`, which knows neither buckets nor names.
    mkdir -p kernelwh/dir09 kernelwh/opaque; mknod kernelwh/gone c 0 0; mknod kernelwh/dir09/hidden c 0 0
    echo seen > kernelwh/opaque/seen; setfattr -n trusted.overlay.opaque -v y kernelwh/opaque";

/// What users do, with all that a union writes: copies, deletions, opaque directories, redirects, links.
const CHANGES: &str = "cd mnt
    echo appended >> dir01/file1; chmod 600 dir02/file2; rm dir03/file3 own
    rm -r dir05; mkdir dir05; echo new > dir05/new
    mv dir06 renamed; mv dir07 renamed/moved; mv mixed dir08/mixed; echo in > dir08/mixed/in
    ln dir08/file8 dir08/link; echo both >> dir08/link; ln -s target symlink; mkfifo fifo
    echo back > gone; rm -r opaque; mkdir opaque; : > dir04/file4; mv dir04/file14 dir04/FILE14
    truncate -s 5 big; touch -d 2001-02-03T04:05:06.789Z dir09/file9; rm -r dir11; mv dir12/file12 dir00/file0";

/// All that can be seen of the tree but the times and sizes of directories.
const TREE: &str = "cd mnt
    find . -printf '%P %y %m %U %G %l' \\( -type f -printf ' %n %s' -o -true \\) -printf '\\n' | LC_ALL=C sort
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    stat -c '%Y' dir09/file9";

struct Bench {
    shell: Shell,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let (store, shell) = Store::start();
        shell.run(LAYERS);
        for i in 0..200 {
            let (path, content) =
                (format!("dir{:02}/file{i}", i % 20), format!("object {i}\n").repeat(1 + i * 7));
            store.server.keys().put("bucket", &format!("tree/{path}"), content.clone());
            shell.run(&format!("mkdir -p plain/dir{:02}", i % 20));
            std::fs::write(shell.at("plain").join(path), content).unwrap();
        }
        Self { shell, store }
    }

    fn mount(&self, engine: &str, name: &str) {
        let s = &self.shell;
        let dir = s.dir().display();
        let bucket = self.store.url("bucket/tree", "");
        s.run(&format!(
            "mkdir -p {name} {name}-work; overlay mount --engine {engine} -o redirect_dir=on --lower local \
             --lower '{bucket}' --lower 'dir://{dir}/wh?markers=oci' --lower base --upper {name} --work {name}-work mnt"
        ));
    }

    /// What mount(8) makes of the same layers, as far as they can be said to it.
    fn mount_plainly(&self, name: &str) {
        self.shell.run(&format!(
            "mount -t overlay -o redirect_dir=on,lowerdir=local:plain:kernelwh:base,upperdir={name},workdir={name}-work \
             none mnt"
        ));
    }

    fn umount(&self) {
        self.shell.run("overlay umount mnt");
    }

    fn end(self) {
        drop(self.shell);
        self.store.stop();
    }
}

fn tools() -> bool {
    shell::has("engines", &["setfattr", "getfattr"])
}

#[test]
fn both_engines_show_the_same_tree_before_and_after_every_change() {
    needs_fuse!();
    if !tools() {
        return;
    }
    let bench = Bench::new();
    let s = &bench.shell;
    let lowers = s.run("find local wh base plain -type f -print0 | sort -z | xargs -0 sha256sum");
    let keys = bench.store.server.keys().list("bucket");
    let mut seen: Vec<[String; 4]> = Vec::new();
    for engine in ENGINES {
        bench.mount(engine, engine);
        let fresh = s.run(TREE);
        s.run(CHANGES);
        let changed = s.run(TREE);
        s.run("overlay remount mnt");
        let remounted = s.run(TREE);
        bench.umount();
        bench.mount(engine, engine);
        let again = s.run(TREE);
        bench.umount();
        assert_eq!(remounted, changed, "{engine}: after a remount");
        assert_eq!(again, changed, "{engine}: after another mount");
        seen.push([fresh, changed, remounted, again]);
    }
    assert_eq!(seen[0], seen[1]);
    let at = |upper: &str| s.run(&format!("cd {upper}; find . -printf '%P %y %m\\n' | sort"));
    assert_eq!(at("kernel"), at("fuse"), "the same in the upper, too");
    // Each takes up what the other left, and so does a plain mount.
    for (upper, engine) in [("kernel", "fuse"), ("fuse", "kernel")] {
        bench.mount(engine, upper);
        assert_eq!(s.run(TREE), seen[0][1], "the upper of {upper} under {engine}");
        bench.umount();
    }
    for upper in ENGINES {
        bench.mount_plainly(upper);
        assert_eq!(
            without_owners(&s.run(TREE)),
            without_owners(&seen[0][1]),
            "the upper of {upper} under mount(8)"
        );
        s.run("umount mnt");
    }
    assert_eq!(s.run("find local wh base plain -type f -print0 | sort -z | xargs -0 sha256sum"), lowers);
    assert_eq!(bench.store.server.keys().list("bucket"), keys);
    bench.end();
}

/// Objects of a bucket have modes and link counts of their own, other than the copies on disk.
fn without_owners(tree: &str) -> Vec<String> {
    let is_row = |line: &&str| !line.contains("  ./");
    let short = |line: &str| {
        let mut words: Vec<_> = line.split(' ').collect();
        words.drain(words.len().min(2)..words.len().min(5));
        words.join(" ")
    };
    tree.lines().map(|line| if is_row(&line) { short(line) } else { line.into() }).collect()
}

/// Who can mount a stack of local directories with options of the kernel.
const MOUNTERS: [(&str, &str); 3] = [
    ("kernel", "overlay mount --engine kernel -o"),
    ("fuse", "overlay mount --engine fuse -o"),
    ("mount(8)", "mount -t overlay none -o"),
];

/// The options, what they are for, and what is done with them.
const FEATURES: [(&str, &str); 4] = [
    (
        "redirect_dir=on,metacopy=off",
        "mv d moved; mkdir d; echo new > d/new; mv moved/sub e/sub; mv e/sub e/again; mv e/again/x e/again/y",
    ),
    (
        "redirect_dir=on,metacopy=on",
        "chmod -R u=rwX,go=rX . ; chown 7:8 d/big; ln d/big d/linked; mv d/f e/renamed; mv d moved; mv moved/sub sub
         touch -d 2001-02-03T04:05:06.789Z sub/x; setfattr -n user.note -v kept e/g; echo data >> e/other
         chmod 600 e/late; echo late >> e/late; : > e/cut",
    ),
    (
        "redirect_dir=on,metacopy=off,index=on",
        "echo more >> d/one; ln d/two d/four; rm d/three; mv d/f e/renamed; ln e/renamed e/again; echo end >> e/again",
    ),
    (
        "redirect_dir=on,metacopy=on,index=on",
        "chmod 600 d/one; ln d/one e/other-name; mv d/two moved; echo x >> e/other-name; rm d/three; mv d sub",
    ),
];

/// What the next one does, over all that was left.
const MORE: &str = "cd mnt; find . -name big -exec sh -c 'echo more >> \"$1\"' _ {} \\; ; mv e f; rm -r sub moved/sub 2>/dev/null; true";

#[test]
fn what_one_engine_writes_the_others_read_and_write_on() {
    needs_fuse!();
    if !tools() {
        return;
    }
    for (options, changes) in FEATURES {
        let mut ends = Vec::new();
        for (first, _) in MOUNTERS {
            for (second, _) in MOUNTERS {
                ends.push((
                    format!("{options}: {first}, then {second}"),
                    write_and_write_on(options, changes, first, second),
                ));
            }
        }
        for (who, end) in &ends[1..] {
            assert_eq!(end, &ends[0].1, "{who}");
        }
    }
}

/// Lets one engine write and another write on; what all of them see after each.
fn write_and_write_on(options: &str, changes: &str, first: &str, second: &str) -> [String; 2] {
    let s = Shell::new();
    s.run(
        "mkdir -p top/d/sub low/d/sub low/e upper work mnt; seq 10000 > low/d/big; echo f > low/d/f; echo x > low/d/sub/x
         echo t > top/d/sub/t; for name in g other late cut; do echo $name > low/e/$name; done
         echo linked > low/d/one; ln low/d/one low/d/two; ln low/d/one low/d/three",
    );
    let before = s.run("find top low -type f -exec sha256sum {} +");
    s.run(&format!("{}; cd mnt; {changes}", mount(options, first)));
    s.run("overlay umount mnt");
    let written = seen_by_all(&s, options, first);
    s.run(&format!("{}; {MORE}; cd ..; overlay umount mnt", mount(options, second)));
    let written_on = seen_by_all(&s, options, second);
    assert_eq!(s.run("find top low -type f -exec sha256sum {} +"), before, "lowers are never written");
    [written, written_on]
}

fn mount(options: &str, mounter: &str) -> String {
    let (_, command) = MOUNTERS.iter().find(|(name, _)| *name == mounter).unwrap();
    format!("{command} {options},lowerdir=top:low,upperdir=upper,workdir=work mnt")
}

/// What is seen of a stack, which must be the same whoever mounts it.
#[track_caller]
fn seen_by_all(s: &Shell, options: &str, writer: &str) -> String {
    let tree = "cd mnt; find . -printf '%P %y %m %U:%G %l' \\( -type f -printf ' %n %s %TY' -o -true \\) -printf '\\n' | LC_ALL=C sort
                find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; getfattr -Rd . 2>/dev/null; cd ..";
    let seen = MOUNTERS
        .map(|(name, _)| (name, s.run(&format!("{}; {tree}; overlay umount mnt", mount(options, name)))));
    for (name, tree) in &seen[1..] {
        assert_eq!(tree, &seen[0].1, "{options}: written by {writer}, seen by {name}");
    }
    seen[0].1.clone()
}

/// What is done to what a lower protects.
const FORBIDDEN: &str = "cd mnt; for f in fixed grown; do
    echo more > $f; chmod 600 $f; chown 1 $f; touch -d 2001-01-01 $f; truncate -s 0 $f; setfattr -n user.x -v y $f
    rm -f $f; mv $f away; ln $f link; mv other $f; : > other; done
    echo more >> fixed; touch fixed; touch closed/new; rm -f closed/in; mv closed away; rmdir closed; mkdir closed/d
    cat fixed grown closed/in; ls . closed";

#[test]
fn what_a_lower_protects_is_protected_by_everyone() {
    needs_fuse!();
    if !tools() || !shell::has("what_a_lower_protects_is_protected_by_everyone", &["chattr"]) {
        return;
    }
    let mut said = Vec::new();
    for (name, _) in MOUNTERS {
        let s = Shell::new();
        s.run("mkdir -p top low/closed upper work mnt; cd low; for f in fixed grown other closed/in; do echo $f > $f; done");
        if !s.output("chattr +i low/fixed low/closed; chattr +a low/grown").status.success() {
            eprintln!("SKIPPED what_a_lower_protects_is_protected_by_everyone: it needs inode flags");
            return;
        }
        s.run(&mount("redirect_dir=on", name));
        let output = s.output(&format!("({FORBIDDEN}) 2>&1"));
        said.push((name, String::from_utf8_lossy(&output.stdout).into_owned()));
        s.run("overlay umount mnt; chattr -i low/fixed low/closed; chattr -a low/grown");
    }
    for (name, text) in &said[1..] {
        assert_eq!(text, &said[0].1, "{name}");
    }
    assert!(said[0].1.matches("Operation not permitted").count() > 20, "{}", said[0].1);
}
