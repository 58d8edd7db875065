//! No circles between the modules of a folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Arrow, Modules, Place};
use crate::source::Source;
use crate::workspace::Crate;

use super::{Rule, Violation};

/// How many of a circle's arrows are printed.
const MAX_SHOWN_ARROWS: usize = 12;

/// Adds each circle, counted by the modules in it, at its folder.
pub(super) fn check(crates: &[Crate], sources: &[Source<'_>], found: &mut Vec<Violation>) {
    for one in crates {
        let modules = Modules::new(&one.folder, sources);
        let arrows = modules.arrows();
        let parents: BTreeSet<_> = arrows.keys().map(|arrow| arrow.parent).collect();
        for parent in parents {
            let arrows: BTreeMap<_, _> = arrows.iter().filter(|(arrow, _)| arrow.parent == parent).collect();
            for circle in circles(&arrows.keys().copied().copied().collect::<Vec<_>>()) {
                found.push(Violation {
                    rule: Rule::Circles,
                    path: modules.folder_of(&one.folder, parent),
                    line: 0,
                    count: circle.len(),
                    message: describe(&circle, &arrows),
                });
            }
        }
    }
}

/// The largest sets of modules each of which reaches all others of its set.
fn circles<'a>(arrows: &[Arrow<'a>]) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.iter().map(|arrow| (arrow.from, reachable(arrow.from, arrows))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (module, others) in &reached {
        if circles.iter().any(|circle| circle.contains(module)) {
            continue;
        }
        let reaches_back = |other: &&&str| reached.get(**other).is_some_and(|others| others.contains(module));
        let circle: BTreeSet<_> = others.iter().filter(reaches_back).copied().collect();
        if circle.len() > 1 {
            circles.push(circle);
        }
    }
    circles
}

/// The modules that `from` uses, and those that they use.
fn reachable<'a>(from: &str, arrows: &[Arrow<'a>]) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == module) {
            if reached.insert(arrow.to) {
                next.push(arrow.to);
            }
        }
    }
    reached
}

fn describe(circle: &BTreeSet<&str>, arrows: &BTreeMap<&Arrow<'_>, &Place<'_>>) -> String {
    let names: Vec<_> = circle.iter().copied().collect();
    let mut text = format!("a circle of {} modules: {}", circle.len(), names.join(" "));
    let inside = arrows.iter().filter(|(arrow, _)| circle.contains(arrow.from) && circle.contains(arrow.to));
    for (index, (arrow, place)) in inside.enumerate() {
        if index == MAX_SHOWN_ARROWS {
            text.push_str("\n    ...");
            break;
        }
        text.push_str(&format!("\n    {} uses {} at {}:{}", arrow.from, arrow.to, place.file, place.line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::{File, Source};
    use crate::tidy::Violation;
    use crate::workspace::Crate;

    fn found(files: &[(&str, &str)]) -> Vec<Violation> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| File { path: format!("crates/x/src/{path}"), text: (*text).to_owned() })
            .collect();
        let sources: Vec<_> = files.iter().map(Source::new).collect();
        let crates = [Crate { name: "x".into(), folder: "crates/x".into(), dependencies: Vec::new() }];
        let mut found = Vec::new();
        check(&crates, &sources, &mut found);
        found
    }

    #[test]
    fn a_circle_is_found_with_the_lines_that_make_it() {
        let found = found(&[
            ("a.rs", "\nuse crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a::A;\nuse crate::d::D;"),
            ("d.rs", ""),
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_str(), found[0].count), ("crates/x/src", 3));
        assert!(found[0].message.starts_with("a circle of 3 modules: a b c\n    a uses b at crates/x/src/a.rs:2\n"));
    }

    #[test]
    fn a_module_and_its_parts_may_use_each_other() {
        assert_eq!(found(&[("a.rs", "mod b; use b::C;"), ("a/b.rs", "use super::D;")]), []);
    }
}
