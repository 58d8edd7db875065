//! An option that is declared as implemented is read somewhere: its name appears, as a field, outside this crate.

use std::collections::HashSet;
use std::path::Path;

use regex::Regex;

use super::super::{Field, Status, sections};

/// Options with an effect in this crate: old forms, and files with secrets.
const MADE_HERE: &[&str] = &[
    "use_presence",
    "bind_address",
    "disable_registration",
    "enable_registration_without_verification",
    "allow_underscore_prefixed_registration",
    "rc_messages_per_second",
    "rc_message_burst_count",
    "federation_rc_window_size",
    "federation_rc_sleep_limit",
    "federation_rc_sleep_delay",
    "federation_rc_reject_limit",
    "federation_rc_concurrent",
    "metrics_port",
    "metrics_bind_host",
    "databases",
    "data_stores",
    "registration_shared_secret_path",
    "macaroon_secret_key_path",
    "form_secret_path",
    "turn_shared_secret_path",
    // It has no effect, and nothing is missing: see its doc comment.
    "macaroon_secret_key",
    // Its effect, links to terms, comes with user_consent.
    "form_secret",
    // Read by `StorageProvider::location`.
    "module",
    // Read by `Config::policy_hooks`.
    "modules",
    "authorization_path",
    "enabled_callbacks",
    // Read by `ServerSection::forward_proxies`.
    "http_proxy",
    "https_proxy",
    "no_proxy_hosts",
];

#[test]
fn options_that_act_are_read() {
    let mut words = HashSet::new();
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let field = Regex::new(r"\.\s*(?:r#)?([a-z][a-z0-9_]*)").expect("a valid pattern");
    for entry in std::fs::read_dir(crates).expect("crates is readable") {
        let folder = entry.expect("crates is readable").path();
        if !folder.ends_with("base") {
            collect(&folder.join("src"), &field, &mut words);
        }
    }
    let mut unread = Vec::new();
    for section in sections() {
        find_unread(&section.fields, "", &words, &mut unread);
    }
    assert!(unread.is_empty(), "said to act, but read nowhere: {unread:#?}");
}

fn collect(folder: &Path, field: &Regex, words: &mut HashSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, field, words);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("readable");
            words.extend(field.captures_iter(&text).map(|found| found[1].to_owned()));
        }
    }
}

fn find_unread(fields: &[Field], before: &str, words: &HashSet<String>, unread: &mut Vec<String>) {
    for field in fields {
        let acts = field.status == Status::Acts;
        if acts && !words.contains(field.name) && !MADE_HERE.contains(&field.name) {
            unread.push(format!("{before}{}", field.name));
        }
        if let Some(members) = field.members.filter(|_| acts) {
            let before = format!("{before}{}.", field.name);
            find_unread(&members(), &before, words, unread);
        }
    }
}
