use std::collections::BTreeSet;

use super::Modules;
use crate::source::{File, Source};

fn files(files: &[(&str, &str)]) -> Vec<File> {
    files.iter().map(|(path, text)| File { path: format!("crates/x/src/{path}"), text: (*text).into() }).collect()
}

/// The arrows as `folder: from -> to`.
fn arrows(list: &[(&str, &str)]) -> BTreeSet<String> {
    let files = files(list);
    let sources: Vec<_> = files.iter().map(Source::new).collect();
    let modules = Modules::new("crates/x", &sources);
    let arrows = modules.arrows();
    arrows.keys().map(|it| format!("{}: {} -> {}", modules.folder_of("x", it.parent), it.from, it.to)).collect()
}

fn set(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&it| it.to_owned()).collect()
}

#[test]
fn an_import_is_an_arrow() {
    let found = arrows(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::{self, C};"), ("b.rs", "")]);
    assert_eq!(found, set(&["x/src: a -> b"]));
}

#[test]
fn a_path_in_code_is_an_arrow() {
    let found = arrows(&[("a.rs", "fn f() { crate::b::g(); super::c::h() }"), ("b.rs", ""), ("c.rs", "")]);
    assert_eq!(found, set(&["x/src: a -> b", "x/src: a -> c"]));
}

#[test]
fn a_reexport_is_followed_to_the_module_that_defines_the_item() {
    let found = arrows(&[
        ("lib.rs", "mod a; mod b; pub use b::C; pub use b::inner::D as E;"),
        ("a.rs", "use crate::{C, E};"),
        ("b.rs", "mod inner; pub struct C;"),
        ("b/inner.rs", "pub struct D;"),
    ]);
    assert_eq!(found, set(&["x/src: a -> b"]));
}

#[test]
fn submodules_are_looked_at_in_their_own_folder() {
    let found = arrows(&[
        ("a.rs", "mod b; mod c; use b::X;"),
        ("a/b.rs", "use super::c::Y; use super::Z;"),
        ("a/c.rs", "use crate::a::b;"),
    ]);
    assert_eq!(found, set(&["x/src/a: b -> c", "x/src/a: c -> b"]));
}

#[test]
fn other_crates_and_tests_make_no_arrows() {
    let found = arrows(&[
        ("a.rs", "use std::b::C; #[cfg(test)] mod tests { use crate::b; }"),
        ("a/tests.rs", "use crate::b;"),
        ("b.rs", ""),
    ]);
    assert_eq!(found, set(&[]));
}
