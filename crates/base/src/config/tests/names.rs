//! The schema compared with a list of Synapse's options: names, and literal defaults.

use std::collections::BTreeMap;

use super::super::{Field, sections};
use crate::schema::{parse_duration, parse_size};

/// Each line: the dotted path, and optionally a tab and the default.
const OPTIONS: &str = include_str!("../../../tests/data/synapse-options.tsv");

/// Every option by its dotted path; members of lists and of maps are listed under the path of the list or map.
fn known() -> BTreeMap<String, Field> {
    fn add(known: &mut BTreeMap<String, Field>, before: &str, fields: Vec<Field>) {
        for field in fields {
            let path = format!("{before}{}", field.name);
            let members = field.members.map(|members| members()).unwrap_or_default();
            add(known, &format!("{path}."), members);
            assert!(known.insert(path.clone(), field).is_none(), "{path} is declared twice");
        }
    }
    let mut known = BTreeMap::new();
    for section in sections() {
        add(&mut known, "", section.fields);
    }
    known
}

#[test]
fn every_option_of_synapse_is_known() {
    let known = known();
    // Members of an object with arbitrary content are not declared.
    let free = |name: &str| {
        let parent = name.rsplit_once('.').and_then(|(parent, _)| known.get(parent));
        parent.is_some_and(|parent| parent.kind == "object" && parent.members.is_none())
    };
    let missing: Vec<&str> = OPTIONS
        .lines()
        .map(|line| line.split('\t').next().unwrap_or(line))
        .filter(|name| !known.contains_key(*name) && !free(name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(OPTIONS.lines().count() > 640);
}

#[test]
fn defaults_are_those_of_synapse() {
    let known = known();
    let mut compared = 0;
    let mut different = Vec::new();
    for line in OPTIONS.lines() {
        let Some((name, expected)) = line.split_once('\t') else {
            continue;
        };
        let Some(field) = known.get(name) else {
            continue;
        };
        compared += 1;
        let found = field.default.as_deref().unwrap_or("null");
        if normal(&field.kind, found) != normal(&field.kind, expected) {
            different.push(format!("{name}: {found}, not {expected}"));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(compared > 300, "{compared}");
}

/// Durations in milliseconds, sizes in bytes, words without quotes, so that equal values compare equal.
fn normal(kind: &str, text: &str) -> String {
    let bare = text.trim_matches('"');
    match kind {
        "duration" => match parse_duration(bare) {
            Some(duration) => duration.as_millis().to_string(),
            None => bare.to_owned(),
        },
        "size" => parse_size(bare).map_or(bare.to_owned(), |bytes| bytes.to_string()),
        "number" | "integer" => bare.parse::<f64>().map_or(bare.to_owned(), |n| n.to_string()),
        _ => bare.to_lowercase(),
    }
}
