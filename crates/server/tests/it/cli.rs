//! Commands that need no server.

use std::fs;

use serde_json::{Value, json};

use crate::binary::{Installation, plexus, stderr, stdout, temporary_folder};

#[test]
fn signing_keys() {
    let folder = temporary_folder();
    let path = folder.join("test.signing.key");
    let made = plexus().args(["generate-signing-key", "-o"]).arg(&path).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(fs::read_to_string(&path).unwrap().starts_with("ed25519 a_"));
    let again = plexus().args(["generate-signing-key", "-o"]).arg(&path).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "a key is never overwritten");

    // The same key, in Synapse's own tests: seed and public half.
    fs::write(&path, "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n").unwrap();
    let plain = plexus().arg("export-signing-key").arg(&path).output().unwrap();
    assert_eq!(stdout(&plain), "ed25519:1 XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI\n");
    let config = plexus().args(["export-signing-key", "-x", "--expiry-ts", "5"]).arg(&path).output().unwrap();
    let line = "  \"ed25519:1\": { key: \"XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI\", expired_ts: 5 }\n";
    assert_eq!(stdout(&config), line);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn password_hashes() {
    let hash = plexus().args(["hash-password", "-p", "secret"]).output().unwrap();
    assert!(stdout(&hash).starts_with("$argon2id$"), "{}", stderr(&hash));
}

#[test]
fn config_check_looks_into_the_database() {
    let installation = Installation::new();
    let check = || plexus().args(["config", "check", "-c"]).arg(installation.yaml()).output().unwrap();
    let database = installation.folder.join("homeserver.db");
    assert!(check().status.success(), "{}", stdout(&check()));
    assert!(!database.exists(), "it is only read");
    fs::write(&database, "this is no database, and long enough to have a head ".repeat(100)).unwrap();
    let found = check();
    assert_eq!(found.status.code(), Some(1));
    assert!(stdout(&found).contains("homeserver.db"), "{}", stdout(&found));
}

#[test]
fn a_port_that_another_listener_has() {
    let installation = Installation::new();
    let other = crate::binary::free_port();
    installation.edit(
        "listeners:\n",
        &format!("listeners:\n  - {{type: metrics, port: {other}, bind_addresses: ['127.0.0.1']}}\n"),
    );
    installation.add("\nenable_metrics: true\n");
    let output = installation.command("serve").args(["--port", &other.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&format!("--port {other}")) && said.contains("listeners["), "{said}");
}

#[test]
fn config_check() {
    let installation = Installation::new();
    let check = || plexus().args(["config", "check", "-c"]).arg(installation.yaml()).output().unwrap();
    assert!(check().status.success(), "{}", stdout(&check()));
    installation.add("\nenable_registratoin: true\n");
    let found = check();
    assert_eq!(found.status.code(), Some(1));
    assert!(stdout(&found).contains("did you mean enable_registration"), "{}", stdout(&found));

    let json = || {
        let output = plexus().args(["config", "check", "--json", "-c"]).arg(installation.yaml()).output().unwrap();
        (output.status.code(), serde_json::from_str::<Value>(&stdout(&output)).unwrap())
    };
    let (code, report) = json();
    assert_eq!((code, &report["ok"]), (Some(1), &json!(false)));
    let unknown = &report["unknown"][0];
    assert_eq!(
        (&unknown["option"], &unknown["did_you_mean"]),
        (&json!("enable_registratoin"), &json!("enable_registration"))
    );
    assert_eq!(unknown["file"], json!(installation.yaml()));
    assert!(unknown["line"].as_u64().is_some_and(|line| line > 50), "{unknown}");
    installation.edit("enable_registratoin: true", "enable_registration: perhaps");
    let (code, report) = json();
    assert_eq!((code, &report["errors"][0]["option"]), (Some(1), &json!("enable_registration")));
    let unusable = "old_signing_keys: {ed25519:a_old: {key: notakey, expired_ts: 1}}";
    installation.edit("enable_registration: perhaps", unusable);
    let (code, report) = json();
    assert_eq!((code, &report["errors"][0]["option"]), (Some(1), &json!("old_signing_keys.ed25519:a_old")));
    installation.edit(unusable, "enable_registration: false");
    assert_eq!(json().0, Some(0));
}

#[test]
fn the_database() {
    let installation = Installation::new();
    let db = |name: &str| plexus().args(["db", name, "-c"]).arg(installation.yaml()).output().unwrap();
    let migrated = db("migrate");
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    assert!(stdout(&db("migrate")).contains("up to date"));
    assert!(stdout(&db("check")).contains("no damage"));
    let stats = stdout(&db("stats"));
    assert!(stats.contains("  schema_version\n") && !stats.contains("  users\n"), "empty tables are left out: {stats}");
    let more = |arguments: &[&str]| {
        stdout(&plexus().arg("db").args(arguments).arg("-c").arg(installation.yaml()).output().unwrap())
    };
    assert!(more(&["stats", "--all"]).contains("  users\n"));
    let stats: Value = serde_json::from_str(&more(&["stats", "--json"])).unwrap();
    let tables = stats["tables"].as_array().unwrap();
    assert!(
        tables.iter().all(|table| table["rows"].as_u64() > Some(0) && table["bytes"].as_u64() > Some(0)),
        "{stats}"
    );
    let check: Value = serde_json::from_str(&more(&["check", "--json"])).unwrap();
    assert_eq!(check, json!({ "ok": true, "problems": [] }));
}

#[test]
fn shells_and_manual_pages() {
    for (shell, begins) in [("bash", "_plexus()"), ("zsh", "#compdef plexus"), ("fish", "# Print an optspec")] {
        let script = plexus().args(["completion", shell]).output().unwrap();
        assert!(stdout(&script).starts_with(begins), "{}", stdout(&script));
        assert!(stdout(&script).contains("deactivate"), "{shell}");
    }
    assert_eq!(plexus().args(["completion", "tcsh"]).output().unwrap().status.code(), Some(2));

    let page = |command: &[&str]| plexus().arg("man").args(command).output().unwrap();
    assert!(stdout(&page(&[])).contains(".TH plexus 1"), "{}", stdout(&page(&[])));
    let lock = stdout(&page(&["user", "lock"]));
    assert!(lock.contains(".TH plexus-user-lock 1") && lock.contains("plexus user lock"), "{lock}");
    assert!(stderr(&page(&["user", "unplug"])).contains("no command `plexus user unplug`"));
    let folder = temporary_folder();
    assert!(plexus().args(["man", "--output-dir"]).arg(&folder).output().unwrap().status.success());
    for name in ["plexus.1", "plexus-serve.1", "plexus-user-deactivate.1"] {
        assert!(folder.join(name).exists(), "{name}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn registration_tokens() {
    let installation = Installation::new();
    let token =
        |arguments: &[&str]| plexus().arg("token").args(arguments).arg("-c").arg(installation.yaml()).output().unwrap();
    assert!(token(&["list"]).status.code() == Some(1), "there is no database yet");
    // Beside a running server, and without one.
    let server = installation.start();
    let made = token(&["create", "welcome", "--uses", "3", "--expires-in", "7d"]);
    assert_eq!(stdout(&made), "welcome\n", "{}", stderr(&made));
    drop(server);
    let generated = stdout(&token(&["create", "--length", "20"]));
    assert_eq!(generated.trim_end().len(), 20);
    let again = token(&["create", "welcome"]);
    assert_eq!((again.status.code(), stderr(&again).contains("Token already exists: welcome")), (Some(1), true));
    let list = stdout(&token(&["list"]));
    assert!(list.contains("welcome") && list.contains("never") && list.contains("GMT"), "{list}");
    let json = |arguments: &[&str]| serde_json::from_str::<Value>(&stdout(&token(arguments))).unwrap();
    assert_eq!(json(&["list", "--json"])["registration_tokens"].as_array().map(Vec::len), Some(2));
    assert_eq!(json(&["show", "welcome", "--json"])["uses_allowed"], 3);
    let updated = json(&["update", "welcome", "--uses", "0", "--never-expires", "--json"]);
    assert_eq!((&updated["uses_allowed"], &updated["expiry_time"]), (&0.into(), &Value::Null));
    assert_eq!(json(&["list", "--valid", "no", "--json"])["registration_tokens"][0]["token"], "welcome");
    assert_eq!(json(&["update", "welcome", "--unlimited", "--json"])["uses_allowed"], Value::Null);
    assert_eq!(token(&["update", "welcome"]).status.code(), Some(2), "nothing to change");
    assert_eq!(token(&["create", "--expires-in", "soon"]).status.code(), Some(2));
    assert!(stdout(&token(&["delete", "welcome"])).contains("Deleted welcome"));
    let gone = token(&["show", "welcome"]);
    assert_eq!((gone.status.code(), stderr(&gone).contains("No such registration token")), (Some(1), true));
    let made =
        plexus().args(["token", "create", "-c"]).arg(installation.yaml()).args(["--", "-like-an-option"]).output();
    assert_eq!(stdout(&made.unwrap()), "-like-an-option\n");
    assert_eq!(json(&["show", "-like-an-option", "--json"])["token"], "-like-an-option");
    assert!(stdout(&token(&["delete", "-like-an-option"])).contains("Deleted -like-an-option"));
}

#[test]
fn commands_end_well_when_their_output_is_read_no_further() {
    let installation = Installation::new();
    drop(installation.start());
    for command in [["man", "serve"], ["user", "list"], ["token", "list"], ["db", "stats"], ["config", "check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command_line = plexus();
        command_line.args(command).stdout(writer);
        if command[0] != "man" {
            command_line.arg("-c").arg(installation.yaml());
        }
        let output = command_line.output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{command:?}");
    }
}
