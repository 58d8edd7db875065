//! The list of routes against the specification's own list.

use std::collections::BTreeSet;

/// Endpoints of the specification that are not served yet. This list only shrinks.
const MISSING: &str = include_str!("../../spec/missing.txt");
const SPECIFIED: &str = include_str!("../../spec/endpoints.tsv");

/// `GET /rooms/{}/members`: the parameters' names differ.
fn nameless(method: &str, path: &str) -> String {
    let segments: Vec<&str> = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment }).collect();
    format!("{method} {}", segments.join("/"))
}

#[test]
fn every_endpoint_is_served_or_listed_as_missing() {
    let served: BTreeSet<String> =
        super::routes().list().iter().map(|route| nameless(route.method.as_str(), &route.path)).collect();
    let specified: BTreeSet<String> = SPECIFIED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .map(|(method, rest)| nameless(method, rest.split('\t').next().unwrap_or_default()))
        .collect();
    let missing: BTreeSet<String> = specified.difference(&served).cloned().collect();
    let listed: BTreeSet<String> = MISSING.lines().map(ToOwned::to_owned).collect();
    let unlisted: Vec<_> = missing.difference(&listed).collect();
    assert!(unlisted.is_empty(), "neither served nor in spec/missing.txt: {unlisted:#?}");
    let outdated: Vec<_> = listed.difference(&missing).collect();
    assert!(outdated.is_empty(), "served, or not of the specification; remove from spec/missing.txt: {outdated:#?}");
}
