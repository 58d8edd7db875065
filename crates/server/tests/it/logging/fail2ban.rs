//! fail2ban itself, with the filter and the jail of docs/logging.md.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;

use super::{log_in, logging, place};

const DOCUMENT: &str = include_str!("../../../../../docs/logging.md");

/// Returns the blocks of configuration in the document: the filter and the jail.
fn documented() -> [String; 2] {
    let blocks = DOCUMENT.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect::<Vec<_>>().try_into().expect("two blocks")
}

/// Writes a configuration of fail2ban whose only action writes banned addresses to `bans`.
fn configure(folder: &Path, log: &Path, bans: &Path) {
    let [filter, jail] = documented();
    let jail = jail.replace("/var/log/plexus/homeserver.log", log.to_str().unwrap());
    for (name, text) in [
        ("fail2ban.conf", "[Definition]\ndbfile = None\nlogtarget = STDERR\n".to_owned()),
        ("filter.d/plexus.conf", filter),
        ("jail.conf", "[DEFAULT]\nbackend = polling\naction = note\nignoreself = false\n".to_owned()),
        ("jail.d/plexus.conf", jail),
        ("action.d/note.conf", format!("[Definition]\nactionban = echo <ip> >> {}\n", bans.display())),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_jail_bans_who_guesses_passwords() {
    if Command::new("fail2ban-server").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        plexus_testkit::skip("fail2ban", &"it is not installed");
        return;
    }
    let installation =
        logging(|log| format!("class: logging.FileHandler, formatter: precise, filename: {}", json!(log)));
    installation.edit("x_forwarded: false", "x_forwarded: true");
    let server = installation.start();
    assert!(installation.register(&["-u", "alice", "-p", "secret", "--no-admin"]).status.success());
    assert_eq!(log_in(&installation, "v3", "alice", "secret", ["x-forwarded-for", "2001:db8::9"]).await, 200);
    for version in ["v3", "r0", "unstable"] {
        assert_eq!(log_in(&installation, version, "alice", "wrong", ["x-forwarded-for", "203.0.113.7"]).await, 403);
    }
    server.stop();

    let (folder, bans) = (installation.folder.join("fail2ban"), installation.folder.join("bans"));
    configure(&folder, &place(&installation), &bans);
    assert!(Command::new("mkfifo").arg(&bans).status().await.unwrap().success());
    let banned = pipe::OpenOptions::new().read_write(true).open_receiver(&bans).unwrap();
    let fail2ban = Command::new("fail2ban-server")
        .arg("-c")
        .arg(&folder)
        .arg("-s")
        .arg(folder.join("socket"))
        .arg("-p")
        .arg(folder.join("pid"))
        .args(["-f", "start"])
        // Not the zone of the log's times.
        .env("TZ", "America/New_York")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut banned = BufReader::new(banned).lines();
    let first =
        plexus_testkit::within(Duration::from_secs(60), banned.next_line()).await.expect("a ban within a minute");
    assert_eq!(first.unwrap().as_deref(), Some("203.0.113.7"));
    drop(fail2ban);
}
