//! `plexus doctor` on one machine, without a proxy. What it says of proxies is tested with them: `reverse_proxy`,
//! `forward_proxy`.

use std::fs;

use serde_json::Value;

use crate::binary::{Installation, free_port, stdout};

/// An installation that asks no other server.
fn installation() -> Installation {
    let installation = Installation::new();
    installation.edit("trusted_key_servers:\n  - server_name: matrix.org\n", "trusted_key_servers: []\n");
    installation
}

/// Runs the doctor. Returns the outcomes and findings of a check.
fn found(installation: &Installation, name: &str) -> Vec<(String, String)> {
    let output = installation.command("doctor").arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
    let text = |check: &Value, member: &str| check[member].as_str().unwrap().to_owned();
    let is_explained = |check: &Value| check["outcome"] != "failed" || check["advice"].is_string();
    checks
        .inspect(|check| assert!(is_explained(check), "{check}"))
        .map(|it| (text(it, "outcome"), text(it, "found")))
        .collect()
}

#[test]
fn a_listener_that_was_added_since_the_start_does_not_respond() {
    let installation = installation();
    let (old, new) = (format!("port: {}", installation.port), free_port());
    let server = installation.start();
    let only = found(&installation, "listener");
    assert_eq!(only, [("ok".to_owned(), format!("http://127.0.0.1:{} responds", installation.port))]);
    installation.edit(&old, &format!("port: {new}"));
    let added = found(&installation, "listener");
    assert_eq!(added[0].0, "failed");
    assert!(added[0].1.starts_with(&format!("http://127.0.0.1:{new} does not respond: ")), "{added:?}");
    server.stop();
}

#[test]
fn a_public_address_that_nobody_is_at_cannot_be_reached() {
    let installation = installation();
    let address = format!("https://127.0.0.1:{}", free_port());
    installation.add(&format!("public_baseurl: {address}/\n"));
    let name = "public address";
    assert_eq!(found(&installation, name), [("skipped".to_owned(), "the server does not run".to_owned())]);
    let server = installation.start();
    let unreachable = found(&installation, name);
    assert_eq!(unreachable[0].0, "failed");
    assert!(unreachable[0].1.starts_with(&format!("{address} cannot be reached: ")), "{unreachable:?}");
    server.stop();
}

#[test]
fn a_database_that_is_none_fails() {
    let installation = installation();
    installation.start().stop();
    assert_eq!(found(&installation, "database")[0].0, "ok");
    fs::write(installation.folder.join("homeserver.db"), "not a database, however long it may be".repeat(200)).unwrap();
    assert_eq!(found(&installation, "database")[0].0, "failed");
}

#[test]
fn unknown_options_are_a_warning() {
    let installation = installation();
    installation.add("surprise: 1\n");
    let remarks = found(&installation, "configuration");
    assert_eq!(remarks[0].0, "warning");
    assert!(remarks[0].1.starts_with("1 remarks; the first: ") && remarks[0].1.contains("surprise"), "{remarks:?}");
}

#[test]
fn a_forward_proxy_is_not_asked_about_a_server_that_is_reached_without_it() {
    let installation = installation();
    let proxy = format!("http://127.0.0.1:{}", free_port());
    installation.add(&format!("https_proxy: {proxy}\nno_proxy_hosts: [it.example]\n"));
    let skipped = ("skipped".to_owned(), format!("{proxy}: this server itself is reached without it"));
    assert_eq!(found(&installation, "forward proxy"), [skipped]);
}

#[test]
fn clocks_are_compared_with_key_servers_only() {
    let installation = installation();
    let skipped = ("skipped".to_owned(), "no trusted key server could be asked for the time".to_owned());
    assert_eq!(found(&installation, "clock"), [skipped]);
}

#[test]
fn the_result_is_summed_up() {
    let installation = installation();
    let output = installation.command("doctor").output().unwrap();
    let said = stdout(&output);
    let (count, failed) =
        (said.lines().filter(|line| !line.starts_with(' ')).count() - 1, said.matches("FAILED").count());
    assert!(failed > 0 && said.ends_with(&format!("\n{failed} of {count} failed\n")), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
