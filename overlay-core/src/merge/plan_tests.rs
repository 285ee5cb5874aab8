//! Every plan is played on a small model of two names, for every combination of facts.

use super::*;

/// What a name holds in the upper, with where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    Whiteout,
    Object { id: u8, dir: bool, opaque: bool, bare: bool, redirect: bool },
}

/// What the union shows under a name: an object of the upper (merged with the lower or not), the lower's, nothing.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Lower,
    Upper { id: u8, merged: Merged },
}

/// The lower content that shows in a directory of the upper.
#[derive(Debug, PartialEq, Eq)]
enum Merged {
    /// None.
    No,
    /// What lies under its name.
    Here,
    /// What it is redirected to.
    Own,
}

/// The lower's objects are directories here: the worst case, since only they merge.
fn shown(held: Held, below: bool) -> Shown {
    match held {
        Held::Nothing if below => Shown::Lower,
        Held::Nothing | Held::Whiteout => Shown::Nothing,
        Held::Object { id, dir, opaque, redirect, .. } => {
            let merged = match (dir && !opaque, redirect) {
                (true, true) => Merged::Own,
                (true, false) if below => Merged::Here,
                _ => Merged::No,
            };
            Shown::Upper { id, merged }
        }
    }
}

fn held(upper: Upper, id: u8) -> Held {
    match upper {
        Upper::Absent => Held::Nothing,
        Upper::Whiteout => Held::Whiteout,
        Upper::Other => Held::Object { id, dir: false, opaque: false, bare: true, redirect: false },
        // A pure directory over a lower name is one that is opaque already.
        Upper::Dir { bare } => Held::Object { id, dir: true, opaque: false, bare, redirect: false },
    }
}

fn mark_opaque(held: &mut Held) {
    if let Held::Object { dir: true, opaque, .. } = held {
        *opaque = true;
    }
}

fn mark_redirect(held: &mut Held) {
    if let Held::Object { dir: true, redirect, .. } = held {
        *redirect = true;
    }
}

/// Plays the steps. Fails where the upper's file system would.
fn play(plan: RenamePlan, mut source: Held, mut target: Held) -> Result<(Held, Held), &'static str> {
    if plan.opaque_source {
        mark_opaque(&mut source);
    }
    if plan.opaque_target {
        mark_opaque(&mut target);
    }
    if plan.redirect_source {
        mark_redirect(&mut source);
    }
    if plan.redirect_target {
        mark_redirect(&mut target);
    }
    if plan.clear_target
        && let Held::Object { bare, opaque, redirect, .. } = &mut target
    {
        (*bare, *opaque, *redirect) = (true, true, false);
    }
    let is_dir = |held| matches!(held, Held::Object { dir: true, .. });
    match plan.how {
        Rename::Exchange if source == Held::Nothing || target == Held::Nothing => return Err("ENOENT"),
        Rename::Exchange => std::mem::swap(&mut source, &mut target),
        Rename::Replace | Rename::Whiteout => {
            if target != Held::Nothing && is_dir(source) != is_dir(target) {
                return Err("ENOTDIR or EISDIR");
            }
            if matches!(target, Held::Object { dir: true, bare: false, .. }) {
                return Err("ENOTEMPTY");
            }
            let left = if plan.how == Rename::Whiteout { Held::Whiteout } else { Held::Nothing };
            target = std::mem::replace(&mut source, left);
        }
        Rename::NoReplace => return Err("not used"),
    }
    if plan.sweep_source {
        if source != Held::Whiteout {
            return Err("swept no whiteout");
        }
        source = Held::Nothing;
    }
    Ok((source, target))
}

/// All ends that can occur.
fn ends() -> Vec<End> {
    let mut ends = Vec::new();
    for below in [false, true] {
        let end = |shown, upper| End { shown, upper, below };
        ends.push(end(None, Upper::Whiteout));
        ends.push(end(Some(ShownAs::Other), Upper::Other));
        if below {
            ends.push(end(Some(ShownAs::Other), Upper::Absent));
        } else {
            ends.push(end(None, Upper::Absent));
        }
        for empty in [false, true] {
            for bare in [false, true] {
                let upper = Upper::Dir { bare };
                if !bare || empty {
                    ends.push(end(Some(ShownAs::PureDir { empty }), upper));
                }
                // Without anything below its name it is one that was redirected before.
                ends.push(end(Some(ShownAs::MergedDir { empty }), upper));
            }
            if below {
                ends.push(end(Some(ShownAs::MergedDir { empty }), Upper::Absent));
            }
        }
    }
    ends
}

/// An end whose object was copied up.
fn copied(end: End) -> End {
    match (end.upper, end.shown) {
        (Upper::Absent, Some(ShownAs::Other)) => End { upper: Upper::Other, ..end },
        (Upper::Absent, Some(_)) => End { upper: Upper::Dir { bare: true }, ..end },
        _ => end,
    }
}

/// What moves, at its new place: a directory that merged does so with what it always merged with.
fn moved(end: End, id: u8) -> Shown {
    let merges = matches!(end.shown, Some(ShownAs::MergedDir { .. }));
    Shown::Upper { id, merged: if merges { Merged::Own } else { Merged::No } }
}

/// The upper's object at an end. A pure directory above a lower name is opaque.
fn start(end: End, id: u8) -> Held {
    let mut held = held(end.upper, id);
    if matches!(end.shown, Some(ShownAs::MergedDir { .. })) && !end.below {
        mark_redirect(&mut held);
    }
    if matches!(end.shown, Some(ShownAs::PureDir { .. })) && end.below {
        mark_opaque(&mut held);
    }
    held
}

#[test]
fn every_rename_moves_the_object_and_nothing_shows_through() {
    let mut played = 0;
    for source in ends() {
        for target in ends() {
            for redirects in [false, true] {
                let source = if redirects { copied(source) } else { source };
                let Ok(plan) = rename(RenameMode::Replace, source, target, redirects) else { continue };
                let source = copied(source);
                let (old, new) = play(plan, start(source, 1), start(target, 2)).unwrap_or_else(|errno| {
                    panic!("{errno}: {source:?} -> {target:?} by {plan:?}");
                });
                assert_eq!(shown(old, source.below), Shown::Nothing, "{source:?} -> {target:?} by {plan:?}");
                assert_eq!(
                    shown(new, target.below),
                    moved(source, 1),
                    "{source:?} -> {target:?} by {plan:?}"
                );
                played += 1;
            }
        }
    }
    assert!(played > 150, "only {played} combinations were played");
}

#[test]
fn every_exchange_swaps_the_objects_and_nothing_shows_through() {
    let mut played = 0;
    for source in ends() {
        for target in ends() {
            for redirects in [false, true] {
                let Ok(plan) = rename(RenameMode::Exchange, source, target, redirects) else { continue };
                let (source, target) = (copied(source), copied(target));
                let (old, new) = play(plan, start(source, 1), start(target, 2)).unwrap();
                assert_eq!(shown(old, source.below), moved(target, 2), "{source:?} {target:?}");
                assert_eq!(shown(new, target.below), moved(source, 1), "{source:?} {target:?}");
                played += 1;
            }
        }
    }
    assert!(played > 150, "only {played} combinations were played");
}

#[test]
fn renames_fail_as_posix_says() {
    let end = |shown, upper| End { shown, upper, below: false };
    let file = end(Some(ShownAs::Other), Upper::Other);
    let empty = end(Some(ShownAs::PureDir { empty: true }), Upper::Dir { bare: true });
    let full = end(Some(ShownAs::PureDir { empty: false }), Upper::Dir { bare: false });
    let merged = End { below: true, ..end(Some(ShownAs::MergedDir { empty: true }), Upper::Absent) };
    let none = end(None, Upper::Absent);
    for (mode, source, target, error) in [
        (RenameMode::Replace, none, file, ErrorKind::NotFound),
        (RenameMode::Replace, empty, file, ErrorKind::NotDir),
        (RenameMode::Replace, file, empty, ErrorKind::IsDir),
        (RenameMode::Replace, empty, full, ErrorKind::NotEmpty),
        (RenameMode::NoReplace, file, file, ErrorKind::Exists),
        (RenameMode::Exchange, file, none, ErrorKind::NotFound),
        (RenameMode::Replace, merged, none, ErrorKind::CrossDevice),
        (RenameMode::Exchange, file, merged, ErrorKind::CrossDevice),
    ] {
        assert_eq!(rename(mode, source, target, false).unwrap_err(), error, "{source:?} -> {target:?}");
        if error != ErrorKind::CrossDevice {
            assert_eq!(rename(mode, source, target, true).unwrap_err(), error, "{source:?} -> {target:?}");
        }
    }
}

#[test]
fn every_removal_leaves_nothing_shown() {
    for upper in [Upper::Absent, Upper::Other, Upper::Dir { bare: true }, Upper::Dir { bare: false }] {
        for below in [false, true] {
            if upper == Upper::Absent && !below {
                continue;
            }
            let after = match removal(upper, below) {
                Removal::Unlink => (upper == Upper::Other).then_some(Held::Nothing),
                Removal::Rmdir => (upper == Upper::Dir { bare: true }).then_some(Held::Nothing),
                Removal::Discard => matches!(upper, Upper::Dir { .. }).then_some(Held::Nothing),
                Removal::Whiteout => (upper == Upper::Absent).then_some(Held::Whiteout),
                Removal::Replace => (upper == Upper::Other).then_some(Held::Whiteout),
                Removal::Exchange => matches!(upper, Upper::Dir { .. }).then_some(Held::Whiteout),
            };
            let after = after.unwrap_or_else(|| panic!("{upper:?} {below}: the file system would refuse"));
            assert_eq!(shown(after, below), Shown::Nothing, "{upper:?} {below}");
        }
    }
}

#[test]
fn creations_replace_whiteouts_and_nothing_else() {
    assert_eq!(creation(Upper::Absent, false), Ok(Creation::Free));
    assert_eq!(creation(Upper::Whiteout, false), Ok(Creation::OverWhiteout));
    for upper in [Upper::Absent, Upper::Other, Upper::Dir { bare: true }] {
        assert_eq!(creation(upper, true), Err(ErrorKind::Exists));
    }
    assert_eq!(creation(Upper::Other, false), Err(ErrorKind::Stale));
}
