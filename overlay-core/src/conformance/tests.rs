//! The suites over the reference layer, and proof that they notice what is wrong.

use std::sync::Arc;

use super::*;
use crate::error::{Kind, Result};
use crate::layer::{Layer, UpperLayer};
use crate::memory::MemoryUpper;
use crate::name::Name;

async fn lower(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    Ok((Arc::new(tree.to_memory("memory")?), ()))
}

async fn written(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    let upper = MemoryUpper::new("written");
    tree.write_to(&upper.upper_root().await?).await?;
    Ok((Arc::new(upper), ()))
}

layer_suite!(memory_lower, lower);
layer_suite!(memory_with_little, lower, Capabilities::NONE);
layer_suite!(memory_upper_as_lower, written);

async fn upper() -> Result<(Arc<dyn UpperLayer>, ())> {
    Ok((Arc::new(MemoryUpper::new("memory")), ()))
}

upper_suite!(memory_upper, upper);
upper_suite!(memory_upper_with_little, upper, Capabilities::NONE);

#[test]
fn no_promise_is_left_out_of_the_macros() {
    let sources = [
        include_str!("lower/attributes.rs"),
        include_str!("lower/content.rs"),
        include_str!("lower/life.rs"),
        include_str!("lower/names.rs"),
        include_str!("upper/attributes.rs"),
        include_str!("upper/files.rs"),
        include_str!("upper/names.rs"),
        include_str!("upper/rename.rs"),
    ];
    let listed: Vec<&str> = include_str!("macros.rs").lines().map(str::trim).collect();
    for line in sources.iter().flat_map(|source| source.lines()) {
        if let Some((promise, _)) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split_once('(')) {
            assert!(listed.contains(&promise), "{promise}");
        }
    }
}

/// Runs a promise on a layer whose content is not what was declared.
fn check_altered<C: AsyncFnOnce(&Subject<dyn Layer>)>(alter: impl FnOnce(Tree) -> Tree, check: C) {
    let make = async |_: &Tree| lower(&alter(Tree::sample(Capabilities::ALL))).await;
    check_layer("altered", Capabilities::ALL, make, check);
}

#[test]
#[should_panic(expected = "surplus")]
fn a_name_too_many_is_noticed() {
    check_altered(|tree| tree.file("dir/surplus", ""), lower::lists_are_exact);
}

#[test]
#[should_panic(expected = "private is absent")]
fn a_missing_name_is_noticed() {
    let less = Capabilities { modes: false, ..Capabilities::ALL };
    check_altered(|_| Tree::sample(less), lower::declared_names_are_found);
}

async fn faultless_lower(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    Ok((Faults::new().layer(lower(tree).await?.0), ()))
}

async fn faultless_upper() -> Result<(Arc<dyn UpperLayer>, ())> {
    Ok((Faults::new().upper(upper().await?.0), ()))
}

layer_suite!(wrapped_lower, faultless_lower);
upper_suite!(wrapped_upper, faultless_upper);

#[test]
fn every_method_of_the_contract_is_forwarded() {
    let contract = include_str!("../layer.rs").lines().map(str::trim_start);
    let wrapper = include_str!("faulty.rs");
    let mut methods = 0;
    let mut of_trait = "";
    for line in contract {
        let method = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        if let Some(name) = line.strip_prefix("pub trait ") {
            of_trait = name.split(':').next().unwrap();
        } else if line.starts_with("impl") {
            of_trait = "";
        } else if let Some(method) = method.filter(|_| !of_trait.is_empty()) {
            let (_, body) = wrapper.split_once(&format!(" {of_trait} for Faulty<")).expect(of_trait);
            let body = body.split("\nimpl").next().unwrap();
            let method = method.split('(').next().unwrap();
            assert!(body.contains(&format!("fn {method}(")), "{of_trait}::{method}");
            methods += 1;
        }
    }
    assert!(methods > 40, "the contract has more than {methods} methods");
}

#[test]
fn the_nth_call_fails_and_no_other() {
    block_on(async {
        let faults = Faults::new();
        let upper = faults.upper(upper().await.unwrap().0);
        let (root, name) = (upper.upper_root().await.unwrap(), Name::new("f").unwrap());
        faults.fail_nth(2, Kind::NoSpace);
        let file = root.create(&name, 0o644).await.unwrap();
        let error = file.write_at(0, b"x").await.unwrap_err();
        assert_eq!((error.kind(), error.op()), (Kind::NoSpace, "write_at"));
        assert!(file.read_at(0, 1).await.unwrap().is_empty(), "a call that fails has not happened");
        file.write_at(0, b"x").await.unwrap();
        assert_eq!(faults.calls(), 5);
    });
}

#[test]
fn all_calls_fail_after_a_crash() {
    block_on(async {
        let faults = Faults::new();
        let upper = faults.upper(upper().await.unwrap().0);
        let (root, name) = (upper.upper_root().await.unwrap(), Name::new("f").unwrap());
        faults.fail_from(2, Kind::Io);
        root.create(&name, 0o644).await.unwrap();
        for _ in 0..3 {
            assert_eq!(root.unlink(&name).await.unwrap_err().kind(), Kind::Io);
        }
        faults.clear();
        assert!(root.lookup(&name).await.unwrap().is_some());
    });
}

#[test]
fn calls_fail_by_operation_and_name() {
    block_on(async {
        let faults = Faults::new();
        let layer = faults.layer(lower(&Tree::new().file("a/b", "").file("a/c", "")).await.unwrap().0);
        faults.fail_if(Kind::Access, |call| {
            call.op == "lookup" && call.name.is_some_and(|n| n.as_bytes() == b"b")
        });
        let dir = layer.root().await.unwrap().dir(&Name::new("a").unwrap()).await.unwrap();
        assert_eq!(dir.lookup(&Name::new("b").unwrap()).await.unwrap_err().kind(), Kind::Access);
        assert!(dir.lookup(&Name::new("c").unwrap()).await.unwrap().is_some());
        assert_eq!(dir.list().await.unwrap().len(), 2);
    });
}

#[test]
fn faults_can_be_had_of_every_method_of_the_contract() {
    super::assert_forwards_everything(&[include_str!("faulty.rs")], "Faulty");
}
