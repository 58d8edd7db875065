//! Options that are refused because running without their effect would be unsafe.

use std::collections::BTreeSet;

use super::super::{Config, Field, Report, Status, parse, sections};

/// Each line: the dotted path of an option, a tab, and YAML that sets it to a value with an effect in Synapse.
const REFUSED: &str = include_str!("../../../tests/data/refused-options.tsv");

/// Refused only together with open registration.
const NEED_REGISTRATION: [&str; 1] = ["user_consent.require_at_registration"];

const NAME: &str = "server_name: example.com\n";
const OPEN: &str = "enable_registration: true\nenable_registration_without_verification: true\n";

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    REFUSED.lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{line}: no tab")))
}

fn declared(fields: Vec<Field>, before: &str, found: &mut BTreeSet<String>) {
    for field in fields {
        let path = format!("{before}{}", field.name);
        if let Status::Refused(reason) = field.status {
            assert!(reason.contains("; "), "{path}: {reason:?} does not say what to do");
            found.insert(path.clone());
        }
        let members = field.members.map(|members| members()).unwrap_or_default();
        declared(members, &format!("{path}."), found);
    }
}

#[test]
fn the_list_is_complete() {
    let mut found = BTreeSet::new();
    sections().into_iter().for_each(|section| declared(section.fields, "", &mut found));
    let listed: BTreeSet<String> = lines().map(|(option, _)| option.to_owned()).collect();
    assert_eq!(found, listed);
}

fn read(text: &str) -> Result<Config, Report> {
    parse(&format!("{NAME}{text}"))
}

#[test]
fn each_is_an_error_with_its_place_and_the_way_out() {
    for (option, yaml) in lines() {
        let open = if NEED_REGISTRATION.contains(&option) { OPEN } else { "" };
        let report = read(&format!("{open}{yaml}\n")).expect_err(option);
        let place = format!("homeserver.yaml:{}: {option}: not supported", 2 + open.lines().count());
        let of_it: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
        assert!(of_it.len() == 1 && of_it[0].starts_with(&place), "{option}: {of_it:?}");
    }
}

#[test]
fn none_is_an_error_when_it_has_no_effect() {
    for (option, yaml) in lines() {
        let name = option.rsplit('.').next().unwrap_or(option);
        // The value of the option is left out: null is the default of all options.
        let (before, _) = yaml.split_once(&format!("{name}:")).unwrap_or_else(|| panic!("{yaml} does not set {name}"));
        let close = "}".repeat(before.matches('{').count());
        let unset = format!("{before}{name}: null{close}\n");
        if !unset.contains("user_consent") {
            read(&unset).unwrap_or_else(|report| panic!("{unset}: {report}"));
        }
    }
    for text in [
        "spam_checker: []\nmodules: []\nhttp_proxy: ''\nmedia_storage_providers: []\nretention: {enabled: false}\n",
        "matrix_authentication_service: {enabled: false}\nenable_media_repo: true\nhs_disabled: 0\n",
        "worker_app: synapse.app.homeserver\n",
        "user_consent: {template_dir: x, version: '1', require_at_registration: true}\n",
        "experimental_features: {msc3861: {enabled: false}}\n",
        "media_retention: {remote_media_lifetime: 14d}\nbackup_media_store_path: /backup\n",
    ] {
        read(text).unwrap_or_else(|report| panic!("{text}: {report}"));
    }
}
