//! logrotate itself, with the contributed configuration.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{get, logging, place};
use crate::binary::stderr;

const CONTRIBUTED: &str = include_str!("../../../../../contrib/logrotate/plexus");

#[tokio::test(flavor = "multi_thread")]
async fn logrotate_rotates_and_the_server_begins_a_new_file() {
    if Command::new("logrotate").arg("--version").output().is_err() {
        return plexus_testkit::skip("logrotate", &"it is not installed");
    }
    let installation = logging(|log| format!("class: logging.FileHandler, filename: {}", json!(log)));
    let log = place(&installation);
    let server = installation.start();

    let configuration = installation.folder.join("logrotate.conf");
    let text = CONTRIBUTED
        .replace("/var/log/plexus/*.log", log.to_str().unwrap())
        .replace("    su plexus plexus\n", "")
        .replace("systemctl kill --kill-whom=main --signal=HUP plexus.service", &format!("kill -HUP {}", server.id()));
    assert!(!text.contains("/var/log") && !text.contains("su plexus") && text.contains("kill -HUP"), "{text}");
    fs::write(&configuration, text).unwrap();
    let rotated = Command::new("logrotate")
        .arg("--force")
        .arg("--state")
        .arg(installation.folder.join("state"))
        .arg(&configuration)
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{}", stderr(&rotated));
    assert_eq!(server.notification().lines().next(), Some("RELOADING=1"));
    assert_eq!(server.notification().lines().next(), Some("READY=1"));
    get(&installation, "/_matrix/second").await;
    server.stop();

    let old = fs::read_to_string(installation.folder.join("log.1")).unwrap();
    let new = fs::read_to_string(&log).unwrap();
    assert!(!old.is_empty() && !old.contains("/second"), "{old}");
    assert!(new.contains("/second"), "{new}");
}
