//! What typed words mean and which engine they get, without a file system.

use clap::Parser;
use overlay_kernel::Means;

use super::*;
use crate::args::{Args, Command};
use crate::compat;

const ANY: Offer = Offer::Overlayfs(Means::Descriptors);

fn read(words: &str) -> Result<Intent> {
    let args = ["overlay", "mount"].into_iter().chain(words.split_whitespace()).chain(["/m"]);
    match Args::try_parse_from(args).unwrap().command {
        Command::Mount(mount) => Intent::read(&mount, compat::parse(&mount.options)?),
        other => panic!("{other:?}"),
    }
}

fn intent(words: &str) -> Intent {
    read(words).unwrap_or_else(|failure| panic!("{words}: {failure}"))
}

fn present(ino: u64) -> Directory {
    Directory::Present { dev: 1, ino }
}

/// Facts in which every directory is there and is another one.
fn facts(intent: &Intent) -> Facts {
    let lowers = intent.all_lowers().zip(10..);
    Facts {
        lowers: lowers.map(|(lower, ino)| lower.spec.path().map(|_| present(ino))).collect(),
        too_deep: intent.all_lowers().map(|_| false).collect(),
        upper: intent.upper.as_ref().map(|_| (present(1), present(2))),
        mounted_inside: None,
        mountpoint: present(3),
        upper_mounted_on: None,
    }
}

fn engine(words: &str, offer: &Offer) -> (Engine, String) {
    let choice = intent(words).choose(offer).unwrap_or_else(|failure| panic!("{words}: {failure}"));
    (choice.engine, choice.why)
}

#[test]
fn both_syntaxes_mean_the_same() {
    let flags = intent("--lower a --lower s3://b/p --upper u --work w");
    let options = intent("-o lowerdir=a:s3://b/p,upperdir=u,workdir=w");
    for intent in [flags, options] {
        let names: Vec<_> = intent.lowers.iter().map(|lower| lower.spec.to_string()).collect();
        assert_eq!(names, ["a", "s3://b/p"]);
        let upper = intent.upper.unwrap();
        assert_eq!((upper.upper, upper.work), ("u".into(), "w".into()));
    }
    assert_eq!(intent("--lower a:b").lowers[0].spec.path().unwrap(), PathBuf::from("a:b"));
    assert_eq!(intent("--lower a --upper dir:///x%20y --work w").upper.unwrap().upper, PathBuf::from("/x y"));
}

#[test]
fn markers_of_a_layer_outweigh_those_of_all() {
    let oci = |words| intent(words).lowers.iter().map(|lower| lower.oci).collect::<Vec<_>>();
    assert_eq!(oci("--lower a --lower dir:///b?markers=oci"), [false, true]);
    assert_eq!(oci("-o markers=oci --lower a --lower dir:///b?markers=kernel"), [true, false]);
    assert_eq!(oci("-o markers=oci,lowerdir=a:s3://b/p?markers=kernel&region=x"), [true, false]);
    assert_eq!(intent("--lower s3://b/p?markers=oci&region=x").lowers[0].spec.options().count(), 1);
}

#[test]
fn what_cannot_be_meant_is_refused_by_a_sentence() {
    for (words, expected) in [
        ("", "no lower layer is given"),
        ("--lower a -o lowerdir=b", "both by --lower and in -o"),
        ("--lower a --upper u --work w -o upperdir=v", "upper is given both by --upper and in -o"),
        ("--lower a --upper u --work w -o workdir=v", "work is given both by --work and in -o"),
        ("--lower a --upper u", "upper u needs a work directory on the same file system: add --work DIR"),
        ("--lower a --work w", "work w needs an upper: add --upper DIR"),
        ("--lower a --upper s3://b/p --work w", "upper must be a local directory, and s3://b/p is none"),
        ("--lower s3://b?markers=aufs", "markers=aufs is neither"),
        ("--lower s3://b?x=1&x=2", "lower layer \"s3://b\": the option \"x\" is given twice"),
    ] {
        let sentence = read(words).map(|intent| format!("{intent:?}")).unwrap_err().to_string();
        assert!(sentence.contains(expected), "{words}: {sentence}");
    }
}

#[test]
fn the_file_system_has_a_say() {
    let intent = intent("--lower a --lower b --upper u --work w");
    intent.check(&facts(&intent)).unwrap();
    type Change = fn(&mut Facts);
    let changes: [(Change, &str); 12] = [
        (
            |f| f.mounted_inside = Some("file:///x".into()),
            "mount point /m lies inside the layer file:///x, which would lead into itself; name the layer by its path",
        ),
        (|f| f.upper_mounted_on = Some("/x".into()), "upper u is in use by the mount on /x"),
        (|f| f.lowers[1] = Some(Directory::Absent), "lower layer b does not exist"),
        (|f| f.lowers[0] = Some(Directory::Other), "lower layer a is not a directory"),
        (
            |f| f.lowers[0] = Some(Directory::Unreachable("why".into())),
            "lower layer a cannot be reached: why",
        ),
        (|f| f.mountpoint = Directory::Absent, "mount point /m does not exist"),
        (|f| f.mountpoint = Directory::Other, "mount point /m is not a directory"),
        (
            |f| f.upper = Some((present(1), Directory::Present { dev: 2, ino: 2 })),
            "work w must be on the same file system as upper u",
        ),
        (|f| f.upper = Some((Directory::Absent, present(2))), "upper u does not exist"),
        (|f| f.upper = Some((present(1), present(1))), "upper u and work w are the same directory"),
        (|f| f.lowers[1] = Some(present(1)), "upper u and lower layer b are the same directory"),
        (|f| f.lowers[1] = f.lowers[0].clone(), "lower layer a and lower layer b are the same directory"),
    ];
    for (change, expected) in changes {
        let mut facts = facts(&intent);
        change(&mut facts);
        assert_eq!(intent.check(&facts).unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_index_is_for_lowers_of_one_file_system() {
    let is_fine = |words: &str, other: Option<Directory>| {
        let mut intent = intent(&format!("{words} --engine fuse --upper u --work w"));
        let mut facts = facts(&intent);
        facts.lowers[1] = other;
        intent.heed(&facts);
        intent.choose(&ANY).is_ok()
    };
    assert!(is_fine("--lower a --lower b -o index=on", Some(present(11))));
    assert!(!is_fine("--lower a --lower b -o index=on", Some(Directory::Present { dev: 2, ino: 11 })));
    assert!(!is_fine("--lower a --lower s3://b/p -o index=on", None));
    assert!(is_fine("--lower a --lower s3://b/p", None));
}

#[test]
fn a_layer_that_is_named_twice_is_refused() {
    for (words, expected) in [
        ("--lower s3://b/p --lower s3://b/p", "lower layer s3://b/p is given twice"),
        ("--lower a --lower a", "lower layer a is given twice"),
    ] {
        let intent = intent(words);
        let mut facts = facts(&intent);
        let first = facts.lowers[0].clone();
        facts.lowers[1] = first;
        assert_eq!(intent.check(&facts).unwrap_err().to_string(), expected);
    }
    let two = intent("--lower s3://b/p --lower s3://b/p?region=x");
    two.check(&facts(&two)).unwrap();
}

#[test]
fn auto_takes_the_kernel_where_it_can_serve_the_stack() {
    let nothing = Offer::Nothing("no privilege".into());
    let full: String = (0..500).map(|n| format!("--lower {n} ")).collect();
    for (words, offer, expected, why) in [
        ("--lower a --lower b", &ANY, Engine::Kernel, "all layers are local directories"),
        ("--lower a --upper u --work w", &ANY, Engine::Kernel, "all layers are local directories"),
        (full.as_str(), &ANY, Engine::Kernel, "all layers"),
        (&format!("{full} --lower x"), &ANY, Engine::Fuse, "at most 500"),
        ("--lower a", &ANY, Engine::Fuse, "a second lower"),
        ("--lower a --lower s3://b/p", &ANY, Engine::Kernel, "the layer s3://b/p is served to it"),
        (
            "--lower s3://b/p --lower dir:///b?markers=oci",
            &ANY,
            Engine::Kernel,
            "the 2 layers that are no plain",
        ),
        ("--lower a --lower s3://b/p", &nothing, Engine::Fuse, "no privilege"),
        ("--lower a --lower b", &nothing, Engine::Fuse, "no privilege"),
        ("--lower a --lower b --engine fuse", &ANY, Engine::Fuse, "asked for"),
        ("--lower a --lower b --engine kernel", &ANY, Engine::Kernel, "asked for"),
        ("--lower a --lower b -o xino=on", &ANY, Engine::Kernel, "all layers"),
        ("--lower a -o redirect_dir=nofollow,index=off,metacopy=off,xino=auto", &ANY, Engine::Fuse, "second"),
    ] {
        let (engine, because) = engine(words, offer);
        assert_eq!(engine, expected, "{words}: {because}");
        assert!(because.contains(why), "{words}: {because}");
    }
}

#[test]
fn an_engine_that_cannot_do_it_says_so() {
    let nothing = Offer::Nothing("no privilege".into());
    for (words, offer, expected) in [
        (
            "--lower s3://b --engine kernel",
            &ANY,
            "a second lower layer where there is no upper; leave out --engine",
        ),
        ("--lower a --lower b --engine kernel", &nothing, "no privilege; leave out"),
        ("--lower a --lower b --engine fuse -o xino=on", &ANY, "does not have xino=on yet"),
        ("--lower a -o xino=on", &ANY, "does not have xino=on yet, and it would serve this: the kernel"),
        ("--lower a -o redirect_dir=maybe", &ANY, "redirect_dir=maybe"),
        ("--lower a -o uuid=null", &ANY, "does not have uuid=null yet"),
    ] {
        let sentence = intent(words).choose(offer).unwrap_err().to_string();
        assert!(sentence.contains(expected), "{words}: {sentence}");
    }
}

#[test]
fn roots_mounts_have_devices_and_set_user_id_programs() {
    let flags = |words: &str, is_root| intent(words).flags(is_root);
    let writable = "--lower a --upper u --work w";
    assert_eq!(flags(writable, true), Flags::default());
    let user = Flags { no_suid: true, no_dev: true, ..Flags::default() };
    assert_eq!(flags(writable, false), user);
    assert_eq!(flags(&format!("{writable} -o suid,dev"), false), user, "a user cannot have them");
    let all = Flags {
        read_only: true,
        no_suid: true,
        no_dev: true,
        no_exec: true,
        no_atime: true,
        ..Flags::default()
    };
    assert_eq!(flags(&format!("{writable} -o ro,nosuid,nodev,noexec,noatime"), true), all);
    assert!(flags("--lower a", true).read_only);
    assert!(flags("--lower a -o rw", true).read_only, "there is nothing to write to");
}

#[test]
fn the_layers_that_are_no_plain_directories_are_numbered() {
    let intent = intent("-o lowerdir=a:s3://b/p:dir:///c?markers=oci::d,datadir+=s3://e");
    let request = intent.request(true, false);
    let directory = |path: &str| overlay_kernel::Lower::Directory(path.into());
    let mount = |index, name: &str| overlay_kernel::Lower::Mount { index, name: name.into() };
    assert_eq!(request.lowers, [directory("a"), mount(0, "s3://b/p"), mount(1, "/c")]);
    assert_eq!(request.data, [directory("d"), mount(2, "s3://e")]);
    assert_eq!(
        intent.images().map(|lower| lower.spec.to_string()).collect::<Vec<_>>(),
        ["s3://b/p", "/c", "s3://e"]
    );
}

#[test]
fn a_directory_that_the_kernel_cannot_stack_on_is_served_to_it() {
    let mut intent = intent("--lower a --lower b");
    let mut facts = facts(&intent);
    facts.too_deep[1] = true;
    intent.heed(&facts);
    assert_eq!(intent.images().map(|lower| lower.spec.to_string()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(intent.choose(&ANY).unwrap().engine, Engine::Kernel);
}

#[test]
fn the_kernel_is_told_its_own_options() {
    let intent = intent("--lower a --lower b -o volatile,xino=on,fsname=x");
    let request = intent.request(true, true);
    let value = |text: &str| Some(text.to_owned());
    let expected = [("volatile".into(), None), ("userxattr".into(), None), ("xino".into(), value("on"))];
    assert_eq!(request.options, expected);
    assert_eq!(request.source, "x");
    assert_eq!(intent.request(true, false).options.len(), 2);
}

#[test]
fn owners_are_mapped_by_the_fuse_engine_alone() {
    for option in [
        "uidmapping=:0:1:2",
        "gidmapping=0:1:2",
        "squash_to_root",
        "squash_to_uid=1",
        "squash_to_gid=1",
        "xattr_permissions=2",
    ] {
        let key = option.split('=').next().unwrap();
        let why = format!("the kernel engine does not map owners ({key})");
        let words = format!("--lower a --lower b -o {option},");
        assert_eq!(engine(&words, &ANY), (Engine::Fuse, why.clone()));
        let refused = intent(&format!("--engine kernel {words}")).choose(&ANY).unwrap_err().to_string();
        assert_eq!(refused, format!("{why}; leave out --engine kernel or use --engine fuse"));
    }
}
