//! From an errno, a plan and what can be seen of its layers to what is wrong and what to do. Pure.
//!
//! Overlayfs gives one errno for many reasons and writes the reason to the log of the machine; most can be seen.

use rustix::io::Errno;

use crate::facts::Seen;
use crate::plan::{Plan, Role};

/// What is wrong and what to do, if it can be told.
pub(crate) fn reason(errno: Errno, plan: &Plan, layers: &[Seen]) -> Option<String> {
    match errno {
        Errno::LOOP => Some(overlap(layers)),
        Errno::INVAL => pair(layers)
            .or_else(|| upper(layers))
            .or_else(|| stacked(layers))
            .or_else(|| data_only(plan))
            .or_else(|| without_path(layers)),
        Errno::BUSY => busy(layers),
        Errno::STALE => stale(layers),
        Errno::PERM => Some(privilege(plan)),
        _ => None,
    }
}

fn overlap(layers: &[Seen]) -> String {
    for (at, one) in layers.iter().enumerate() {
        for other in &layers[..at] {
            if one.id == other.id {
                let (one, other) = (&one.name, &other.name);
                return format!(
                    "{other} and {one} are the same directory, and a layer can be there once; leave one out"
                );
            }
            if let Some((inner, outer)) = nested(one, other) {
                return format!("{inner} lies inside {outer}, and layers must lie apart; leave one out");
            }
        }
    }
    "some layers lie inside one another, and they must lie apart; leave one out".into()
}

/// The names of the inner one and the outer one.
fn nested<'a>(one: &'a Seen, other: &'a Seen) -> Option<(&'a str, &'a str)> {
    let (first, second) = (one.path.as_ref()?, other.path.as_ref()?);
    if first.starts_with(second) {
        Some((&one.name, &other.name))
    } else if second.starts_with(first) {
        Some((&other.name, &one.name))
    } else {
        None
    }
}

fn of(layers: &[Seen], role: Role) -> Option<&Seen> {
    layers.iter().find(|layer| layer.role == Some(role))
}

/// What is wrong between upper and work.
fn pair(layers: &[Seen]) -> Option<String> {
    let (upper, work) = (of(layers, Role::Upper)?, of(layers, Role::Work)?);
    let (u, w) = (&upper.name, &work.name);
    if upper.id == work.id || nested(upper, work).is_some() {
        return Some(format!("the upper {u} and the work directory {w} must lie apart; make them siblings"));
    }
    if upper.mount != work.mount || upper.id.0 != work.id.0 {
        return Some(format!(
            "the upper {u} and the work directory {w} are on different mounts; put both on one"
        ));
    }
    work.volatile.then(|| {
        format!(
            "the upper {u} was mounted volatile and may lack what was not written; take a fresh one, or remove \
             {w}/work/incompat/volatile to use it as it is"
        )
    })
}

/// What is wrong with the upper's file system.
fn upper(layers: &[Seen]) -> Option<String> {
    let upper = of(layers, Role::Upper)?;
    let name = &upper.name;
    if upper.read_only {
        return Some(format!("the upper {name} cannot be written (read-only); use another one, or none"));
    }
    no_upper(upper.magic).map(|file_system| {
        format!(
            "the upper {name} is on {file_system}, which overlayfs does not write to; put upper and work on a local \
             file system such as ext4, xfs, btrfs or tmpfs"
        )
    })
}

/// The names of file systems that can be no upper.
fn no_upper(magic: i64) -> Option<&'static str> {
    Some(match magic {
        FUSE => "FUSE",
        0x6969 => "NFS",
        0xFF53_4D42 | 0xFE53_4D42 => "SMB",
        0x0102_1997 => "9p",
        0x4D44 => "FAT",
        0x2011_BAB0 => "exFAT",
        _ => return None,
    })
}

const OVERLAYFS: i64 = 0x794C_7630;
const FUSE: i64 = 0x6573_5546;

fn stacked(layers: &[Seen]) -> Option<String> {
    let on = |magic| layers.iter().find(|layer| layer.magic == magic).map(|layer| &layer.name);
    if let Some(name) = on(OVERLAYFS) {
        return Some(format!(
            "layer {name} is itself on overlayfs, and the kernel stacks file systems two deep at most; use a layer \
             that lies on no other"
        ));
    }
    on(FUSE).map(|name| {
        format!(
            "layer {name} is on FUSE, whose server may forbid an overlay on top (max_stack_depth); have it allow that, \
             or use a layer that lies on no other"
        )
    })
}

fn data_only(plan: &Plan) -> Option<String> {
    let any = plan.layers.iter().any(|layer| layer.role == Role::Data);
    let missing = any && !plan.tells("metacopy", Some("on"));
    missing
        .then(|| "data-only layers need metacopy=on and redirect_dir=on before Linux 6.16; add both".into())
}

fn without_path(layers: &[Seen]) -> Option<String> {
    let layer = layers.iter().find(|layer| layer.path.is_none())?;
    Some(format!(
        "this kernel does not merge layer {}, a mount without a path; mount it somewhere",
        layer.name
    ))
}

fn busy(layers: &[Seen]) -> Option<String> {
    let (upper, work) = (of(layers, Role::Upper)?, of(layers, Role::Work)?);
    Some(format!(
        "the upper {} or the work directory {} is in use by another overlay; unmount that, or use others",
        upper.name, work.name
    ))
}

fn stale(layers: &[Seen]) -> Option<String> {
    let upper = of(layers, Role::Upper)?;
    Some(format!(
        "the upper {} was made over other lowers, and index=on or nfs_export=on hold it to them; use those, or a fresh \
         upper and work directory",
        upper.name
    ))
}

fn privilege(plan: &Plan) -> String {
    if plan.tells("userxattr", None) {
        return "this process may not mount overlayfs (it needs CAP_SYS_ADMIN)".into();
    }
    "this process may not mount overlayfs with trusted attributes (CAP_SYS_ADMIN outside of user namespaces); \
     add userxattr, without redirect_dir, metacopy and verity"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Lower, Request};

    fn plan(data: bool, option: Option<(&str, Option<&str>)>) -> Plan {
        let lower = || Lower::Directory("/l".into());
        let options = option.map(|(key, value)| (key.into(), value.map(Into::into)));
        Plan::new(&Request {
            lowers: vec![lower(), lower()],
            data: data.then(lower).into_iter().collect(),
            options: options.into_iter().collect(),
            ..Request::default()
        })
        .unwrap()
    }

    fn seen(role: Role, path: &str, inode: u64) -> Seen {
        let (name, path) = (path.to_owned(), Some(path.into()));
        Seen { role: Some(role), name, path, id: (1, inode), mount: 1, magic: 0xEF53, ..Seen::default() }
    }

    fn lower(path: &str, inode: u64) -> Seen {
        seen(Role::Lower, path, inode)
    }

    fn writable(upper: Seen, work: Seen) -> Vec<Seen> {
        vec![lower("/l", 1), upper, work]
    }

    fn pair_of(upper: &str, work: &str) -> Vec<Seen> {
        writable(seen(Role::Upper, upper, 2), seen(Role::Work, work, 3))
    }

    fn says(errno: Errno, layers: &[Seen], words: &str) {
        let reason = reason(errno, &plan(false, None), layers).unwrap();
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn layers_that_overlap_are_named() {
        says(
            Errno::LOOP,
            &[lower("/a", 1), lower("/b", 2), lower("/c", 1)],
            "/a and /c are the same directory",
        );
        says(Errno::LOOP, &[lower("/a", 1), lower("/a/b", 2)], "/a/b lies inside /a");
        says(Errno::LOOP, &[lower("/a/b", 1), lower("/a", 2)], "/a/b lies inside /a");
        says(Errno::LOOP, &[lower("/a", 1), lower("/ab", 2)], "some layers lie inside one another");
    }

    #[test]
    fn what_is_wrong_with_upper_and_work_is_told() {
        let good = || seen(Role::Upper, "/u", 2);
        let work = || seen(Role::Work, "/w", 3);
        says(Errno::INVAL, &pair_of("/u", "/u/w"), "must lie apart; make them siblings");
        says(Errno::INVAL, &pair_of("/w/u", "/w"), "must lie apart");
        says(Errno::INVAL, &writable(good(), Seen { id: (1, 2), ..work() }), "must lie apart");
        says(Errno::INVAL, &writable(good(), Seen { mount: 2, ..work() }), "on different mounts");
        says(Errno::INVAL, &writable(good(), Seen { id: (2, 3), ..work() }), "on different mounts");
        says(
            Errno::INVAL,
            &writable(good(), Seen { volatile: true, ..work() }),
            "remove /w/work/incompat/volatile",
        );
        says(Errno::INVAL, &writable(Seen { read_only: true, ..good() }, work()), "cannot be written");
        for (magic, name) in [(FUSE, "FUSE"), (0x6969, "NFS"), (0x4D44, "FAT"), (0xFE53_4D42, "SMB")] {
            says(
                Errno::INVAL,
                &writable(Seen { magic, ..good() }, work()),
                &format!("/u is on {name}, which"),
            );
        }
    }

    #[test]
    fn stacked_layers_are_named() {
        for (magic, words) in
            [(OVERLAYFS, "is itself on overlayfs, and"), (FUSE, "is on FUSE, whose server may")]
        {
            let layers = [lower("/a", 1), Seen { magic, ..lower("/b", 2) }];
            says(Errno::INVAL, &layers, &format!("layer /b {words}"));
        }
    }

    #[test]
    fn data_and_mounts_without_a_path_are_last() {
        let fine = [lower("/a", 1), lower("/b", 2)];
        let with_data = plan(true, Some(("metacopy", Some("off"))));
        assert!(reason(Errno::INVAL, &with_data, &fine).unwrap().contains("add both"));
        assert_eq!(reason(Errno::INVAL, &plan(true, None), &fine), None);
        says(Errno::INVAL, &[Seen { path: None, ..lower("s3://b", 1) }], "does not merge layer s3://b");
    }

    #[test]
    fn an_upper_in_use_or_of_others_is_named() {
        says(Errno::BUSY, &pair_of("/u", "/w"), "/u or the work directory /w is in use");
        says(Errno::STALE, &pair_of("/u", "/w"), "/u was made over other lowers");
    }

    #[test]
    fn missing_privilege_is_told_with_the_way_out() {
        says(Errno::PERM, &[], "add userxattr");
        let user = reason(Errno::PERM, &plan(false, Some(("userxattr", None))), &[]).unwrap();
        assert!(user.contains("it needs CAP_SYS_ADMIN"), "{user}");
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let fine = pair_of("/u", "/w");
        assert_eq!(reason(Errno::INVAL, &plan(false, None), &fine), None);
        assert_eq!(reason(Errno::NOMEM, &plan(false, None), &fine), None);
        assert_eq!(reason(Errno::BUSY, &plan(false, None), &[lower("/a", 1)]), None);
    }
}
