//! The wrapped layers keep every promise of the contract, and the bytes are fuse-overlayfs's.

use std::sync::Arc;

use super::*;
use crate::attr::{Kind as ObjectKind, SetAttr, Time};
use crate::conformance::assert_forwards_everything;
use crate::conformance::{Tree, block_on, layer_suite, upper_suite};
use crate::layer::{Make, SetXattr, Target, UpperDir};
use crate::memory::MemoryUpper;
use crate::name::Name;

async fn written(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    let bare = Arc::new(MemoryUpper::new("written"));
    let upper = overridden_upper(bare.clone(), Form::Containers);
    tree.write_to(&upper.upper_root().await?).await?;
    Ok((overridden(bare, Form::Containers), ()))
}

async fn plain(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    Ok((overridden(Arc::new(tree.to_memory("memory")?), Form::Security), ()))
}

async fn upper(form: Form) -> Result<(Arc<dyn UpperLayer>, ())> {
    Ok((overridden_upper(Arc::new(MemoryUpper::new("memory")), form), ()))
}

layer_suite!(lower_with_xattrs, written);
layer_suite!(lower_without_xattrs, plain);
upper_suite!(upper_of_containers, async || upper(Form::Containers).await);
upper_suite!(upper_of_security, async || upper(Form::Security).await);

#[test]
fn every_method_of_the_contract_is_forwarded() {
    assert_forwards_everything(&[include_str!("layer.rs"), include_str!("upper.rs")], "Overridden");
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

const KEY: &[u8] = b"user.containers.override_stat";

/// An upper, its root as it is shown and as it is.
async fn both() -> (Arc<dyn UpperDir>, Arc<dyn UpperDir>) {
    let bare = Arc::new(MemoryUpper::new("memory"));
    let upper = overridden_upper(bare.clone(), Form::Containers);
    (upper.upper_root().await.unwrap(), bare.upper_root().await.unwrap())
}

#[test]
fn devices_are_empty_files_that_say_what_they_are() {
    block_on(async {
        let (root, disk) = both().await;
        let (null, rdev) = (name("null"), rustix::fs::makedev(1, 3));
        root.make(&null, &Make::Node(ObjectKind::Char, 0o666, rdev)).await.unwrap();
        let owner = SetAttr { uid: Some(0), gid: Some(5), mode: Some(0o4660), ..SetAttr::default() };
        root.set_attr(Target::Child(&null), &owner).await.unwrap();
        let real = disk.stat(&null).await.unwrap().unwrap();
        assert_eq!((real.kind, real.mode, real.gid, real.size), (ObjectKind::File, 0o660, 0, 0));
        let value = disk.xattr(Target::Child(&null), KEY).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(value).unwrap(), "0:5:04660:char-1-3");
        let shown = root.stat(&null).await.unwrap().unwrap();
        assert_eq!((shown.kind, shown.rdev, shown.mode, shown.gid), (ObjectKind::Char, rdev, 0o4660, 5));
        assert!(root.file(&null).await.is_err() && root.upper_file(&null).await.is_err());
        assert!(root.pin(&null).await.unwrap().open(false).await.is_err());
        assert_eq!(root.list().await.unwrap()[0].kind, ObjectKind::Char);
    });
}

#[test]
fn devices_are_encoded_as_the_system_does() {
    for (major, minor) in
        [(0, 0), (1, 3), (8, 255), (259, 256), (0xfff, 0xf_ffff), (0x1234_5678, 0x9abc_def0)]
    {
        let rdev = rustix::fs::makedev(major, minor);
        assert_eq!((value::device_of(major, minor), value::numbers_of(rdev)), (rdev, (major, minor)));
    }
}

#[test]
fn the_xattr_is_hidden_and_cannot_be_set_through_the_layer() {
    block_on(async {
        let (root, _) = both().await;
        let f = name("f");
        let file = root.create(&f, 0o400).await.unwrap();
        let target = Target::Child(&f);
        assert_eq!(root.xattr(target, KEY).await.unwrap(), None);
        assert_eq!(root.xattr_keys(target).await.unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!((file.xattr(KEY).await.unwrap(), file.xattr_keys().await.unwrap()), (None, vec![]));
        for result in [
            root.set_xattr(target, KEY, b"0:0:0777", SetXattr::Any).await,
            root.remove_xattr(target, KEY).await,
            file.set_xattr(KEY, b"0:0:0777", SetXattr::Any).await,
            file.remove_xattr(KEY).await,
        ] {
            assert_eq!(result.unwrap_err().kind(), Kind::NotPermitted);
        }
        assert_eq!(root.stat(&f).await.unwrap().unwrap().mode, 0o400);
    });
}

#[test]
fn a_malformed_value_is_an_error_and_the_old_key_is_read() {
    block_on(async {
        let (root, disk) = both().await;
        let f = name("f");
        let time = Time { sec: 5, nsec: 0 };
        disk.create(&f, 0o600).await.unwrap();
        let old = b"user.fuseoverlayfs.override_stat";
        disk.set_xattr(Target::Child(&f), old, b"7:8:0711", SetXattr::Any).await.unwrap();
        let shown = root.stat(&f).await.unwrap().unwrap();
        assert_eq!((shown.uid, shown.gid, shown.mode), (7, 8, 0o711));
        let change = SetAttr { mtime: Some(crate::SetTime::At(time)), ..SetAttr::default() };
        root.set_attr(Target::Child(&f), &change).await.unwrap();
        assert_eq!(disk.xattr(Target::Child(&f), KEY).await.unwrap(), None, "times are the object's own");
        disk.set_xattr(Target::Child(&f), KEY, b"nonsense", SetXattr::Any).await.unwrap();
        let error = root.lookup(&f).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains("\"nonsense\", which is no UID:GID"), "{error}");
    });
}
