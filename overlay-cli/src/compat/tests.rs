//! What the `-o` strings of people and of container engines mean.

use super::*;

fn parsed(string: &str) -> Options {
    parse(&[string]).unwrap_or_else(|failure| panic!("{string}: {failure}"))
}

fn refused(string: &str) -> String {
    match parse(&[string]) {
        Ok(options) => panic!("{string} is taken as {options:?}"),
        Err(failure) => failure.to_string(),
    }
}

fn lowers(string: &str) -> Vec<String> {
    parsed(string).lowers.into_iter().map(|lower| String::from_utf8(lower).unwrap()).collect()
}

#[test]
fn layers_are_split_at_colons_but_not_within_urls() {
    for (value, expected) in [
        ("A", &["A"][..]),
        ("A:B:/c d", &["A", "B", "/c d"]),
        ("A:s3://bucket/x:B", &["A", "s3://bucket/x", "B"]),
        ("s3://bucket:9000", &["s3://bucket", "9000"]),
        ("s3://a/x:s3://b/y", &["s3://a/x", "s3://b/y"]),
        ("http://host:8080/x:B", &["http://host:8080/x", "B"]),
        ("http://host:8080:B", &["http://host:8080", "B"]),
        ("https://host:B", &["https://host", "B"]),
        ("http://host:80a:B", &["http://host", "80a", "B"]),
        ("http://[::1]:8080/x:B", &["http://[::1]:8080/x", "B"]),
        (
            "s3://b/p?endpoint=http://127.0.0.1:9000&region=eu:B",
            &["s3://b/p?endpoint=http://127.0.0.1:9000&region=eu", "B"],
        ),
        ("s3://b/p?region=eu&endpoint=HTTP://h:9000:B", &["s3://b/p?region=eu&endpoint=HTTP://h:9000", "B"]),
        ("dir:///a b?markers=oci:B", &["dir:///a b?markers=oci", "B"]),
        ("./s3://x", &["./s3", "//x"]),
        ("/a=s3://x", &["/a=s3", "//x"]),
        ("1a://x", &["1a", "//x"]),
    ] {
        assert_eq!(lowers(&format!("lowerdir={value}")), expected, "{value}");
    }
}

#[test]
fn escapes_are_the_kernels_and_octal() {
    for (value, expected) in [
        (r"a\:b:c", &["a:b", "c"][..]),
        (r"a\,b:c", &["a,b", "c"]),
        (r"a\\:c", &[r"a\", "c"]),
        (r"a\\\:c", &[r"a\:c"]),
        (r"a\040b\072c", &["a b:c"]),
        (r"a\48", &["a48"]),
        (r"a\xb", &["axb"]),
        (r"a\", &[r"a\"]),
        (r"s3\://b", &["s3://b"]),
    ] {
        assert_eq!(lowers(&format!("lowerdir={value}")), expected, "{value}");
    }
    let options = parsed(r"lowerdir=l,upperdir=/u\,v\:w,workdir=/w\\x");
    assert_eq!(options.upper.as_deref(), Some(&b"/u,v:w"[..]));
    assert_eq!(options.work.as_deref(), Some(&br"/w\x"[..]));
}

#[test]
fn a_layer_that_is_added_is_taken_as_it_is() {
    assert_eq!(lowers(r"lowerdir+=a:b,lowerdir+=c\:d,lowerdir+=e\,f"), ["a:b", r"c\:d", "e,f"]);
    assert_eq!(lowers("lowerdir=a:b,lowerdir+=c"), ["a", "b", "c"]);
    assert_eq!(lowers("lowerdir+=s3://b/p?endpoint=http://h:1"), ["s3://b/p?endpoint=http://h:1"]);
}

#[test]
fn layers_that_only_hold_data_stand_behind_double_colons() {
    for (string, lowers, data) in [
        ("lowerdir=a::b", &["a"][..], &["b"][..]),
        ("lowerdir=a:b::c::s3://d/e", &["a", "b"], &["c", "s3://d/e"]),
        ("lowerdir=a,datadir+=b:c,datadir+=d", &["a"], &["b:c", "d"]),
        (r"lowerdir=a\:\:b", &["a::b"], &[]),
    ] {
        let options = parsed(string);
        assert_eq!(options.lowers, lowers.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{string}");
        assert_eq!(options.data, data.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{string}");
    }
}

#[test]
fn bytes_that_are_no_text_survive() {
    let options = parse(&[OsStr::from_bytes(b"lowerdir=a\xff:b")]).unwrap();
    assert_eq!(options.lowers, [&b"a\xff"[..], b"b"]);
}

#[test]
fn quotes_protect_commas() {
    let options = parsed(r#"lowerdir="a,b:c",upperdir="u,v",fsname="x,ro",rw"#);
    assert_eq!(options.lowers, [&b"a,b"[..], b"c"]);
    assert_eq!(options.upper.as_deref(), Some(&b"u,v"[..]));
    assert_eq!(options.fsname.as_deref(), Some("x,ro"));
    assert_eq!(options.read_only(), Some(false));
    assert_eq!(lowers(r#"lowerdir=a"b:c"#), [r#"a"b"#, "c"], "a quote inside is a character");
    for string in [r#"lowerdir="a"#, r#"lowerdir="a"b"#] {
        assert!(refused(string).contains("a quote that is not closed"));
    }
}

#[test]
fn repeated_and_empty_strings_are_one_string() {
    let once = parsed("lowerdir=a,upperdir=u,workdir=w,volatile");
    assert_eq!(parse(&["lowerdir=a", "upperdir=u,workdir=w", "volatile"]).unwrap(), once);
    assert_eq!(parsed(",lowerdir=a,upperdir=u,workdir=w,,volatile,"), once);
    assert_eq!(parse::<&str>(&[]).unwrap(), Options::default());
    assert_eq!(parsed(",,"), Options::default());
}

#[test]
fn flags_are_switched_on_and_off_and_the_last_one_counts() {
    assert_eq!(parsed("").flags(), Flags::default());
    for word in GENERIC {
        let flags = parsed(word).flags();
        assert_eq!(flags == Flags::default(), word == "rw", "{word}");
    }
    let flags = parsed("nodev,ro,dev,noatime,rw,relatime,nosuid").flags();
    assert_eq!(flags, Flags { no_suid: true, ..Flags::default() });
    for (string, expected) in [("", None), ("ro,rw", Some(false)), ("rw,nodev,ro,noexec", Some(true))] {
        assert_eq!(parsed(string).read_only(), expected, "{string}");
    }
}

#[test]
fn a_remount_takes_ro_and_rw_alone() {
    assert_eq!(parsed("remount,ro,rw").beyond_remount(), None);
    assert_eq!(parsed("rw,user_id=0,group_id=0,remount,ro").read_only(), Some(true));
    assert!(refused("user_id=0").contains("no option \"user_id\""), "it has no effect on a new mount");
    for string in [
        "lowerdir=a",
        "upperdir=u",
        "nodev",
        "xino=on",
        "volatile",
        "fsname=x",
        "datadir+=d",
        "squash_to_uid=1",
    ] {
        let key = string.split('=').next();
        assert_eq!(parsed(&format!("ro,{string}")).beyond_remount(), key);
    }
}

#[test]
fn the_other_options_are_heard() {
    let options = parsed("markers=oci,volatile,userxattr,allow_other,fsname=x,xino=on,index=off");
    assert_eq!(options.markers, Some(Markers::Oci));
    assert!(options.volatile && options.userxattr && options.allow_other);
    assert_eq!(options.fsname.as_deref(), Some("x"));
    assert_eq!(options.kernel, [("xino".into(), "on".into()), ("index".into(), "off".into())]);
    assert_eq!(["volatile=1", "volatile,volatile=0"].map(|words| parsed(words).volatile), [true, false]);
    for (word, expected) in [
        ("private", Propagation::Private),
        ("rshared", Propagation::Shared),
        ("slave", Propagation::Slave),
        ("unbindable", Propagation::Unbindable),
    ] {
        assert_eq!(parsed(word).propagation, Some(expected));
    }
    assert_eq!(parsed("markers=kernel").markers, Some(Markers::Kernel));
    assert_eq!(parsed("defaults,default_permissions,x-systemd.requires=a"), Options::default());
    for key in KERNEL {
        assert_eq!(parsed(&format!("{key}=v")).kernel, [(key.into(), "v".into())]);
    }
}

#[test]
fn nonsense_is_refused_by_a_sentence() {
    for (string, words) in [
        ("lowerdir=a::b:c", "each layer behind a double colon needs one of its own"),
        ("lowerdir=a:::b", "more than two colons in a row"),
        ("lowerdir=a::", "begins or ends with a colon"),
        ("lowerdir=::a", "begins or ends with a colon"),
        ("datadir+=", "datadir+ is empty"),
        ("remount=1", "remount takes no value"),
        ("lowerdir=:a", "begins or ends with a colon"),
        ("lowerdir=a:", "begins or ends with a colon"),
        ("lowerdir=", "lowerdir is empty"),
        ("lowerdir", "lowerdir needs a value: lowerdir=…"),
        ("lowerdir+=", "lowerdir+ is empty"),
        ("xino", "xino needs a value"),
        ("lowerdir=a,lowerdir=b", "lowerdir is given twice"),
        ("upperdir=a,upperdir=b", "upperdir is given twice"),
        ("workdir=a,workdir=b", "workdir is given twice"),
        ("markers=aufs", "markers=aufs is neither markers=kernel nor markers=oci"),
        ("ro=1", "ro takes no value"),
        ("volatile=2", "volatile takes no value, or 0 or 1"),
        ("private=1", "private takes no value"),
        ("lowedir=a", "no option \"lowedir\"; did you mean \"lowerdir\"?"),
        ("upperdri=a", "did you mean \"upperdir\"?"),
        ("metacpoy=on", "did you mean \"metacopy\"?"),
        ("static_nlink=1", "no option \"static_nlink\"; see"),
        ("=a", "no option \"\""),
    ] {
        let sentence = refused(string);
        assert!(sentence.contains(words), "{string}: {sentence}");
    }
}
