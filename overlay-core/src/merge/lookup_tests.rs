//! The fold on every small stack, beside the same rules written the other way round; and redirects.

use std::collections::BTreeMap;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn dir(opaque: bool) -> Fact {
    Fact::Dir { opaque, redirect: None }
}

fn facts() -> [Fact; 7] {
    let metacopy = Fact::Metacopy { redirect: None };
    [Fact::Absent, Fact::Whiteout, Fact::File, metacopy, Fact::Other, dir(false), dir(true)]
}

fn fold(facts: &[Fact]) -> Outcome {
    let mut fold = Fold::new(&name("x"), true);
    for (layer, fact) in facts.iter().enumerate() {
        fold.begin(layer + 1 == facts.len());
        if fold.add(layer, fact.clone()) == Ok(Next::Done) {
            break;
        }
    }
    fold.outcome()
}

/// The same rules, written the other way round: from the bottom up, each layer acting on what is below it.
fn model(facts: &[Fact]) -> Outcome {
    let mut below = Outcome::Absent { whiteout: None };
    for (layer, fact) in facts.iter().enumerate().rev() {
        let on = |layers: Vec<usize>| std::iter::once(layer).chain(layers).collect::<Vec<_>>();
        below = match (fact, below) {
            (Fact::Absent, below) => below,
            (Fact::Whiteout, _) => Outcome::Absent { whiteout: Some(layer) },
            (Fact::File | Fact::Other, _) => Outcome::Other(vec![layer]),
            (Fact::Metacopy { .. }, Outcome::Other(layers))
                if matches!(facts[layers[0]], Fact::File | Fact::Metacopy { .. }) =>
            {
                Outcome::Other(on(layers))
            }
            (Fact::Metacopy { .. }, Outcome::Dataless(layers, None)) => Outcome::Dataless(on(layers), None),
            (Fact::Metacopy { .. }, _) => Outcome::Dataless(vec![layer], None),
            (Fact::Dir { opaque: false, .. }, Outcome::Dir(layers)) => Outcome::Dir(on(layers)),
            (Fact::Dir { .. }, _) => Outcome::Dir(vec![layer]),
        };
    }
    below
}

#[test]
fn every_stack_of_up_to_five_layers_agrees_with_the_model() {
    let mut stacks = vec![Vec::new()];
    for height in 0..5 {
        for stack in stacks.clone().into_iter().filter(|stack| stack.len() == height) {
            for fact in facts() {
                let mut taller = stack.clone();
                taller.push(fact);
                assert_eq!(fold(&taller), model(&taller), "{taller:?}");
                stacks.push(taller);
            }
        }
    }
    assert_eq!(stacks.len(), 1 + 7 + 49 + 343 + 2401 + 16807);
}

type Layer = BTreeMap<&'static str, Fact>;

fn layer<const N: usize>(rows: [(&'static str, Fact); N]) -> Layer {
    BTreeMap::from(rows)
}

fn to(redirect: &str) -> Fact {
    Fact::Dir { opaque: false, redirect: Some(redirect.into()) }
}

/// Looks `parent`/`last` up, where `parent` is a directory of that name in every layer.
fn find(layers: &[Layer], parent: &str, last: &str, follow: bool) -> Result<Outcome, ErrorKind> {
    let mut fold = Fold::new(&name(last), follow);
    for (index, rows) in layers.iter().enumerate() {
        let mut at = if fold.from_root() { String::new() } else { String::from(parent) };
        fold.begin(index + 1 == layers.len());
        loop {
            at = format!("{at}/{}", fold.name()?);
            match fold.add(index, rows.get(at.trim_start_matches('/')).cloned().unwrap_or(Fact::Absent))? {
                Next::Inside => {}
                Next::Below => break,
                Next::Done => return Ok(fold.outcome()),
            }
        }
    }
    Ok(fold.outcome())
}

#[test]
fn redirects_change_what_the_layers_below_are_asked_for() {
    let plain = || dir(false);
    let chain = [
        layer([("p/x", to("y"))]),
        layer([("p/x", plain()), ("p/y", to("/q/z"))]),
        layer([("p/y", plain()), ("q", plain()), ("q/z", to("w"))]),
        layer([("p/w", plain()), ("q", plain()), ("q/w", plain()), ("q/z", plain())]),
    ];
    assert_eq!(find(&chain, "p", "x", true), Ok(Outcome::Dir(vec![0, 1, 2, 3])));
    assert_eq!(find(&chain, "p", "x", false), Err(ErrorKind::NotPermitted));
    assert_eq!(find(&chain[3..], "q", "w", false), Ok(Outcome::Dir(vec![0])), "nothing to follow");

    let on_the_way = [
        layer([("x", to("/a/b/c"))]),
        layer([("a", to("m")), ("a/b", plain())]),
        layer([("m", plain()), ("m/b", to("/n")), ("m/b/c", plain())]),
        layer([("n", plain()), ("n/c", plain())]),
    ];
    assert_eq!(find(&on_the_way, "", "x", true), Ok(Outcome::Dir(vec![0, 2, 3])));
}

#[test]
fn an_absolute_redirect_goes_through_opaque_ancestors_and_not_through_whiteouts_or_files() {
    let to_b = || layer([("x", to("/a/b"))]);
    let below = || layer([("a", dir(false)), ("a/b", dir(false))]);
    let hidden = |fact: Fact| [to_b(), layer([("a", fact)]), below()];
    assert_eq!(find(&hidden(dir(false)), "", "x", true), Ok(Outcome::Dir(vec![0, 2])));
    for fact in [dir(true), Fact::Whiteout, Fact::File, Fact::Other, Fact::Metacopy { redirect: None }] {
        assert_eq!(find(&hidden(fact.clone()), "", "x", true), Ok(Outcome::Dir(vec![0])), "{fact:?}");
    }
    // Called by its path in the layer whose directory hides it, it is found again.
    let again = [to_b(), layer([("a", dir(true)), ("a/b", to("/a/b"))]), below()];
    assert_eq!(find(&again, "", "x", true), Ok(Outcome::Dir(vec![0, 1, 2])));
    // What is opaque itself has nothing below it, whatever its mark says.
    let opaque = Fact::Dir { opaque: true, redirect: Some(b"/a".to_vec()) };
    assert_eq!(find(&[layer([("x", opaque)]), below()], "", "x", true), Ok(Outcome::Dir(vec![0])));
}

#[test]
fn a_file_without_its_data_takes_it_from_where_it_is_redirected() {
    let copy = |redirect: &str| Fact::Metacopy { redirect: Some(redirect.into()) };
    let rows = [
        layer([("p/x", copy("y"))]),
        layer([("p/y", copy("/q"))]),
        layer([("q", Fact::File), ("p/y", Fact::File)]),
    ];
    assert_eq!(find(&rows, "p", "x", true), Ok(Outcome::Other(vec![0, 1, 2])));
    assert_eq!(find(&rows, "p", "x", false), Err(ErrorKind::NotPermitted));
    let path = Some(vec![name("q")]);
    let bottom = [layer([("p/x", copy("/q"))]), layer([])];
    assert_eq!(find(&bottom, "p", "x", true), Ok(Outcome::Dataless(vec![0], path)));
}

#[test]
fn a_mark_is_refused_only_where_it_would_be_followed() {
    // A part that is no name matters only to a layer that would be asked for it.
    assert_eq!(find(&[layer([("x", to("/a/.."))]), layer([])], "", "x", true), Ok(Outcome::Dir(vec![0])));
    for (mark, error) in [("a/b", ErrorKind::Invalid), ("", ErrorKind::Invalid), ("..", ErrorKind::Access)] {
        let rows = [layer([("x", to(mark))]), layer([])];
        assert_eq!(find(&rows, "", "x", true), Err(error), "{mark:?}");
        assert_eq!(find(&rows[..1], "", "x", true), Ok(Outcome::Dir(vec![0])), "{mark:?}");
    }
}
