//! The order of the crates, and dependencies that nothing names.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::workspace::{Crate, Dependency};

use super::{Rule, Violation};

/// The crates from the bottom up. A crate uses only crates of lines before its own; those of one line do not see each
/// other.
const ORDER: &[&[&str]] = &[
    &["plexus-protocol", "plexus-base"],
    &["plexus-store"],
    &["plexus-net"],
    &["plexus-accounts", "plexus-mail", "plexus-media", "plexus-rooms"],
    &["plexus-e2ee", "plexus-federation"],
    &["plexus-sync"],
    &["plexus-delivery"],
    &["plexus-service"],
    &["plexus-http"],
    &["plexus-api-admin", "plexus-api-client", "plexus-api-federation"],
    &["plexus-server"],
    &["plexus-testkit"],
    &["plexus-bench"],
    &["xtask"],
];

/// Crates that are depended on for what they do to the build alone: their features, or what they link.
const UNNAMED: &[&str] = &["aws-lc-rs", "libmimalloc-sys"];

/// Adds dependencies against the order, and dependencies that no file names.
pub(super) fn check(crates: &[Crate], sources: &[Source<'_>], found: &mut Vec<Violation>) {
    for one in crates {
        let named = named(one, sources);
        for dependency in &one.dependencies {
            if let Some(message) = against_order(one, dependency) {
                found.push(violation(Rule::CrateOrder, one, dependency, message));
            }
            let name = dependency.name.replace('-', "_");
            if !named.contains(name.as_str()) && !UNNAMED.contains(&dependency.name.as_str()) {
                let message = format!("{} is not used", dependency.name);
                found.push(violation(Rule::UnusedDependencies, one, dependency, message));
            }
        }
    }
}

fn violation(rule: Rule, one: &Crate, dependency: &Dependency, message: String) -> Violation {
    Violation { rule, path: format!("{}/Cargo.toml", one.folder), line: dependency.line, count: 1, message }
}

/// Every identifier in the crate, its tests and benches among them.
fn named<'a>(one: &Crate, sources: &[Source<'a>]) -> BTreeSet<&'a str> {
    let folder = format!("{}/", one.folder);
    let of_crate = sources.iter().filter(|source| source.path.starts_with(&folder));
    of_crate.flat_map(|source| &source.tokens).filter(|token| token.is_ident()).map(|token| token.text).collect()
}

fn against_order(one: &Crate, dependency: &Dependency) -> Option<String> {
    let layer = |name: &str| ORDER.iter().position(|layer| layer.contains(&name));
    let Some(own) = layer(&one.name) else { return Some(format!("{} has no place in the order", one.name)) };
    // Tests may use a fixture from above.
    let other = layer(&dependency.name).filter(|_| !dependency.dev)?;
    (other >= own).then(|| format!("{} is not below {}", dependency.name, one.name))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::{File, Source};
    use crate::tidy::Rule;
    use crate::workspace::{Crate, Dependency};

    fn found(name: &str, dependency: &str, dev: bool, code: &str) -> Vec<(Rule, String)> {
        let dependencies = vec![Dependency { name: dependency.into(), line: 1, dev }];
        let crates = [Crate { name: name.into(), folder: "crates/x".into(), dependencies }];
        let file = File { path: "crates/x/src/lib.rs".into(), text: code.into() };
        let mut found = Vec::new();
        check(&crates, &[Source::new(&file)], &mut found);
        found.into_iter().map(|it| (it.rule, it.message)).collect()
    }

    fn order(message: &str) -> Vec<(Rule, String)> {
        vec![(Rule::CrateOrder, message.to_owned())]
    }

    #[test]
    fn a_crate_uses_those_below_it() {
        assert_eq!(found("plexus-rooms", "plexus-net", false, "use plexus_net::A;"), []);
        let upward = found("plexus-net", "plexus-rooms", false, "use plexus_rooms::A;");
        assert_eq!(upward, order("plexus-rooms is not below plexus-net"));
        let beside = found("plexus-rooms", "plexus-media", false, "use plexus_media::A;");
        assert_eq!(beside, order("plexus-media is not below plexus-rooms"));
        assert_eq!(found("plexus-net", "plexus-testkit", true, "use plexus_testkit::A;"), []);
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        assert_eq!(found("plexus-new", "serde", false, "use serde::A;"), order("plexus-new has no place in the order"));
    }

    #[test]
    fn what_nothing_names_is_not_used() {
        let expected = vec![(Rule::UnusedDependencies, "serde_json is not used".to_owned())];
        assert_eq!(found("plexus-net", "serde_json", false, "// serde_json"), expected);
    }
}
