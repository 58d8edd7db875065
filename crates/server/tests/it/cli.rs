//! Commands that need no server.

use std::fs;

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
fn config_check() {
    let installation = Installation::new();
    let check = || plexus().args(["config", "check", "-c"]).arg(installation.yaml()).output().unwrap();
    assert!(check().status.success(), "{}", stdout(&check()));
    installation.add("\nenable_registratoin: true\n");
    let found = check();
    assert_eq!(found.status.code(), Some(1));
    assert!(stdout(&found).contains("did you mean enable_registration"), "{}", stdout(&found));
}

#[test]
fn the_database() {
    let installation = Installation::new();
    let db = |name: &str| plexus().args(["db", name, "-c"]).arg(installation.yaml()).output().unwrap();
    let migrated = db("migrate");
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    assert!(stdout(&db("migrate")).contains("up to date"));
    assert!(stdout(&db("check")).contains("no damage"));
    assert!(stdout(&db("stats")).contains("users"));
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
    let json = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&stdout(&token(arguments))).unwrap();
    assert_eq!(json(&["list", "--json"])["registration_tokens"].as_array().map(Vec::len), Some(2));
    assert_eq!(json(&["show", "welcome", "--json"])["uses_allowed"], 3);
    let updated = json(&["update", "welcome", "--uses", "0", "--never-expires", "--json"]);
    assert_eq!((&updated["uses_allowed"], &updated["expiry_time"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(json(&["list", "--valid", "no", "--json"])["registration_tokens"][0]["token"], "welcome");
    assert_eq!(json(&["update", "welcome", "--unlimited", "--json"])["uses_allowed"], serde_json::Value::Null);
    assert_eq!(token(&["update", "welcome"]).status.code(), Some(2), "nothing to change");
    assert_eq!(token(&["create", "--expires-in", "soon"]).status.code(), Some(2));
    assert!(stdout(&token(&["delete", "welcome"])).contains("Deleted welcome"));
    let gone = token(&["show", "welcome"]);
    assert_eq!((gone.status.code(), stderr(&gone).contains("No such registration token")), (Some(1), true));
}
