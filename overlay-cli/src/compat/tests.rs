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
fn bytes_that_are_no_text_survive() {
    let options = parse(&[b"lowerdir=a\xff:b"]).unwrap();
    assert_eq!(options.lowers, [&b"a\xff"[..], b"b"]);
}

#[test]
fn quotes_protect_commas() {
    let options = parsed(r#"lowerdir="a,b:c",upperdir="u,v",fsname="x,ro",rw"#);
    assert_eq!(options.lowers, [&b"a,b"[..], b"c"]);
    assert_eq!(options.upper.as_deref(), Some(&b"u,v"[..]));
    assert_eq!(options.fsname.as_deref(), Some("x,ro"));
    assert_eq!(options.toggles, Toggles { read_only: Some(false), ..Toggles::default() });
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
    type Toggle = fn(Toggles) -> Option<bool>;
    let pairs: [(&str, &str, Toggle); 5] = [
        ("ro", "rw", |t| t.read_only),
        ("nosuid", "suid", |t| t.no_suid),
        ("nodev", "dev", |t| t.no_dev),
        ("noexec", "exec", |t| t.no_exec),
        ("noatime", "atime", |t| t.no_atime),
    ];
    for (on, off, toggle) in pairs {
        assert_eq!(toggle(parsed("").toggles), None);
        assert_eq!(toggle(parsed(on).toggles), Some(true), "{on}");
        assert_eq!(toggle(parsed(off).toggles), Some(false), "{off}");
        assert_eq!(toggle(parsed(&format!("{on},{off}")).toggles), Some(false));
        assert_eq!(toggle(parsed(&format!("{off},{on}")).toggles), Some(true));
    }
}

#[test]
fn the_other_options_are_heard() {
    let options = parsed("markers=oci,volatile,userxattr,allow_other,fsname=x,xino=on,index=off");
    assert_eq!(options.markers, Some(Markers::Oci));
    assert!(options.volatile && options.userxattr && options.allow_other);
    assert_eq!(options.fsname.as_deref(), Some("x"));
    assert_eq!(options.kernel, [("xino".into(), "on".into()), ("index".into(), "off".into())]);
    assert_eq!(parsed("markers=kernel").markers, Some(Markers::Kernel));
    assert_eq!(parsed("defaults,relatime,default_permissions,x-systemd.requires=a"), Options::default());
    for key in KERNEL {
        assert_eq!(parsed(&format!("{key}=v")).kernel, [(key.into(), "v".into())]);
    }
}

#[test]
fn nonsense_is_refused_by_a_sentence() {
    for (string, words) in [
        ("lowerdir=a::b", "data-only layers (\"::\" in lowerdir)"),
        ("lowerdir=a:b::c::d", "data-only layers"),
        ("datadir+=a", "data-only layers (datadir+)"),
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
        ("volatile=0", "volatile takes no value"),
        ("lowedir=a", "no option \"lowedir\"; did you mean \"lowerdir\"?"),
        ("upperdri=a", "did you mean \"upperdir\"?"),
        ("metacpoy=on", "did you mean \"metacopy\"?"),
        ("squash_to_uid=1", "no option \"squash_to_uid\"; see"),
        ("=a", "no option \"\""),
    ] {
        let sentence = refused(string);
        assert!(sentence.contains(words), "{string}: {sentence}");
    }
}
