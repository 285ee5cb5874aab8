//! The wrapped layers keep every promise of the contract, with a mapping that changes nothing and with one that shifts.

use std::sync::Arc;

use super::*;
use crate::attr::SetAttr;
use crate::conformance::assert_forwards_everything;
use crate::conformance::{Capabilities, Tree, block_on, layer_suite, upper_suite};
use crate::error::{Kind, Result};
use crate::layer::{SetXattr, Target};
use crate::memory::{MemoryLayer, MemoryUpper};
use crate::name::Name;

fn owners(map: &str) -> Owners {
    let ids = Ids { map: Some(IdMap::parse(map).unwrap()), squash: None };
    Owners { uids: ids.clone(), gids: ids }
}

/// Some of the suites' ids are moved up and as many take their place, so that all of them are mapped.
const SHIFT: &str = "0:100000:100000:100000:0:100000:200000:200000:4000000";

async fn lower(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    Ok((shown(Arc::new(tree.to_memory("memory")?), &owners("0:0:4294967295")), ()))
}

/// Written through the mapping, so that what is declared is what is shown.
async fn written(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    let upper = shown_upper(Arc::new(MemoryUpper::new("written")), &owners(SHIFT));
    tree.write_to(&upper.upper_root().await?).await?;
    Ok((upper, ()))
}

async fn squashed(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    let ids = Ids { map: None, squash: Some(5) };
    let owners = Owners { uids: ids.clone(), gids: ids };
    Ok((shown(Arc::new(tree.to_memory("memory")?), &owners), ()))
}

layer_suite!(lower_with_identity, lower);
layer_suite!(lower_with_shift, written);
layer_suite!(lower_squashed, squashed, Capabilities { owners: false, ..Capabilities::ALL });

async fn upper(map: &str) -> Result<(Arc<dyn UpperLayer>, ())> {
    Ok((shown_upper(Arc::new(MemoryUpper::new("memory")), &owners(map)), ()))
}

upper_suite!(upper_with_identity, async || upper("0:0:4294967295").await);
upper_suite!(upper_with_shift, async || upper(SHIFT).await);

#[test]
fn every_method_of_the_contract_is_forwarded() {
    assert_forwards_everything(&[include_str!("layer.rs"), include_str!("upper.rs")], "Mapped");
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn what_is_shown_is_stored_by_the_inverse_and_the_rest_is_refused() {
    block_on(async {
        let bare = Arc::new(MemoryUpper::new("memory"));
        let upper = shown_upper(bare.clone(), &owners("0:100:10"));
        let (root, disk) = (upper.upper_root().await.unwrap(), bare.upper_root().await.unwrap());
        let f = name("f");
        let file = root.create(&f, 0o644).await.unwrap();
        let owner = |uid, gid| SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() };
        root.set_attr(Target::Child(&f), &owner(103, 104)).await.unwrap();
        let ids = |attr: crate::Attr| (attr.uid, attr.gid);
        assert_eq!(ids(disk.stat(&f).await.unwrap().unwrap()), (3, 4));
        assert_eq!(ids(root.stat(&f).await.unwrap().unwrap()), (103, 104));
        assert_eq!(ids(file.attr().await.unwrap()), (103, 104));
        file.set_attr(&owner(105, 106)).await.unwrap();
        root.pin(&f).await.unwrap().set_attr(&owner(107, 108)).await.unwrap();
        assert_eq!(ids(disk.stat(&f).await.unwrap().unwrap()), (7, 8));
        for refused in [owner(3, 104), owner(103, 4)] {
            let error = root.set_attr(Target::Child(&f), &refused).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            assert!(error.to_string().contains("has no mapping"), "{error}");
        }
        assert_eq!(ids(disk.stat(&f).await.unwrap().unwrap()), (7, 8), "a refused change changes nothing");
    });
}

#[test]
fn acls_are_translated_by_every_handle() {
    block_on(async {
        let bare = Arc::new(MemoryUpper::new("memory"));
        let upper = shown_upper(bare.clone(), &owners("0:100:10"));
        let (root, disk) = (upper.upper_root().await.unwrap(), bare.upper_root().await.unwrap());
        let f = name("f");
        let file = root.create(&f, 0o644).await.unwrap();
        let acl = |id: u8| [&[2, 0, 0, 0, 2, 0, 6, 0][..], &[id, 0, 0, 0]].concat();
        let key = crate::merge::inherit::ACCESS_ACL;
        let target = Target::Child(&f);
        let stored = async || disk.xattr(target, key).await.unwrap();
        root.set_xattr(target, key, &acl(103), SetXattr::Any).await.unwrap();
        assert_eq!(stored().await, Some(acl(3)));
        assert_eq!(root.xattr(target, key).await.unwrap(), Some(acl(103)));
        file.set_xattr(key, &acl(104), SetXattr::Any).await.unwrap();
        assert_eq!(stored().await, Some(acl(4)));
        assert_eq!(file.xattr(key).await.unwrap(), Some(acl(104)));
        assert!(root.set_xattr(target, key, &acl(4), SetXattr::Any).await.is_err());
        root.set_xattr(target, b"user.x", &acl(4), SetXattr::Any).await.unwrap();
        assert_eq!(disk.xattr(target, b"user.x").await.unwrap(), Some(acl(4)), "no ACL");
    });
}

/// A union of wrapped layers: what a copy-up shows is what was shown before it.
mod union {
    use super::*;
    use crate::merge::inherit::Caller;
    use crate::overlay::{Change, Overlay, OverlayOptions, ROOT};
    use crate::stack::Stack;

    #[test]
    fn a_copy_up_keeps_what_is_shown_and_new_objects_belong_to_their_makers() {
        block_on(async {
            let tree = Tree::new().file("f", "text").owner(3, 4);
            let bare = Arc::new(MemoryUpper::new("upper"));
            let owners = owners("0:100:10");
            let lower = shown(Arc::new(tree.to_memory("lower").unwrap()), &owners);
            let stack = Stack::new(Some(shown_upper(bare.clone(), &owners)), vec![lower]).unwrap();
            let options =
                OverlayOptions { creates_as: owners.creates_as((0, 0)), ..OverlayOptions::default() };
            let overlay = Overlay::new(stack, options).await.unwrap();
            let before = overlay.lookup(ROOT, &name("f")).await.unwrap().unwrap();
            assert_eq!((before.uid, before.gid), (103, 104));
            let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
            let change = Change { set: mode, kill_privilege: false };
            let after = overlay.setattr(before.ino, None, &change).await.unwrap();
            assert_eq!((after.uid, after.gid, after.mode), (103, 104, 0o600));
            let disk = bare.upper_root().await.unwrap();
            let copy = disk.stat(&name("f")).await.unwrap().unwrap();
            assert_eq!((copy.uid, copy.gid), (3, 4));
            for (text, id, stored) in [("process", 100, 0), ("other", 105, 5)] {
                let caller = Caller { uid: id, gid: id, umask: 0 };
                let made = overlay.mkdir(caller, ROOT, &name(text), 0o755).await.unwrap();
                assert_eq!((made.uid, made.gid), (id, id));
                let on_disk = disk.stat(&name(text)).await.unwrap().unwrap();
                assert_eq!((on_disk.uid, on_disk.gid), (stored, stored));
            }
            let stranger = Caller { uid: 5, gid: 5, umask: 0 };
            let refused = overlay.mkdir(stranger, ROOT, &name("refused"), 0o755).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Invalid);
            assert!(overlay.lookup(ROOT, &name("refused")).await.unwrap().is_none());
        });
    }

    #[test]
    fn squashed_owners_take_every_change_and_show_none() {
        block_on(async {
            let ids = Ids { map: None, squash: Some(7) };
            let owners = Owners { uids: ids.clone(), gids: ids };
            let bare = Arc::new(MemoryUpper::new("upper"));
            let lower = MemoryLayer::builder("lower").file("f", "text").build().unwrap();
            let lower = shown(Arc::new(lower), &owners);
            let stack = Stack::new(Some(shown_upper(bare.clone(), &owners)), vec![lower]).unwrap();
            let overlay = Overlay::new(stack, OverlayOptions::default()).await.unwrap();
            let before = overlay.lookup(ROOT, &name("f")).await.unwrap().unwrap();
            let chown = SetAttr { uid: Some(9), gid: Some(9), ..SetAttr::default() };
            let change = Change { set: chown, kill_privilege: false };
            let after = overlay.setattr(before.ino, None, &change).await.unwrap();
            assert_eq!([before.uid, before.gid, after.uid, after.gid], [7; 4]);
            let caller = Caller { uid: 9, gid: 9, umask: 0 };
            let made = overlay.mkdir(caller, ROOT, &name("d"), 0o755).await.unwrap();
            assert_eq!((made.uid, made.gid), (7, 7));
            let disk = bare.upper_root().await.unwrap();
            for text in ["f", "d"] {
                let attr = disk.stat(&name(text)).await.unwrap().unwrap();
                assert_eq!((attr.uid, attr.gid), (0, 0), "{text} is the process's");
            }
        });
    }
}
