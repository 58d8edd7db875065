//! Files, pages and logs that must not reveal anything to other users of the machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::{Installation, Server, plexus, stderr, stdout, temporary_folder};

/// The command where new files are everybody's unless who makes them says otherwise.
fn with_open_umask(command: &Command) -> Command {
    let mut open = Command::new("sh");
    open.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    open.stdin(Stdio::null()).env_remove("NOTIFY_SOCKET");
    open
}

/// All below a folder, with their permission bits.
fn below(folder: &Path) -> Vec<(PathBuf, fs::FileType, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), metadata.file_type(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            found.extend(below(&path));
        }
    }
    found
}

fn exchange(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Makes a user; returns an access token.
fn logged_in(installation: &Installation) -> String {
    let made = installation.register(&["-u", "alice", "-p", "secret", "--admin"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let body = r#"{"type":"m.login.password","identifier":{"type":"m.id.user","user":"alice"},"password":"secret"}"#;
    let head = "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let answer = exchange(installation.port, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let token = answer.split("\"access_token\":\"").nth(1).unwrap_or_else(|| panic!("{answer}"));
    token.split('"').next().unwrap().to_owned()
}

#[test]
fn files_are_their_owners_alone_whatever_the_umask() {
    let installation = Installation::new();
    let log = installation.folder.join("logs.yaml");
    let log_file = installation.folder.join("plexus.log");
    fs::write(
        &log,
        format!(
            "version: 1\nhandlers: {{file: {{class: logging.handlers.RotatingFileHandler, filename: '{}', maxBytes: \
             300, backupCount: 2}}}}\nroot: {{level: DEBUG, handlers: [file]}}\n",
            log_file.display()
        ),
    )
    .unwrap();
    let socket = installation.folder.join("socket");
    let unix =
        format!("\n  - {{path: '{}', mode: 0o666, type: http, resources: [{{names: [client]}}]}}", socket.display());
    installation.edit("listeners:", &format!("log_config: '{}'\nlisteners:{unix}", log.display()));
    let server = Server::spawn(with_open_umask(&installation.command("serve")), &installation.folder);
    let token = logged_in(&installation);
    let png = [
        0x89, b'P', b'N', b'G', 0xd, 0xa, 0x1a, 0xa, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 6,
        0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0xd, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0, 1, 0, 0, 5, 0, 1,
        0xd, 0xa, 0x2d, 0xb4, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
    ];
    let mut stream = TcpStream::connect(("127.0.0.1", installation.port)).unwrap();
    let head = "POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: image/png\r\n";
    write!(stream, "{head}Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n", png.len()).unwrap();
    stream.write_all(&png).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("content_uri"), "{answer}");

    let found = below(&installation.folder);
    let named = |part: &str| found.iter().filter(|(path, ..)| path.to_string_lossy().contains(part)).count();
    for part in [".signing.key", ".db", ".db-wal", ".db-shm", ".lock", "plexus.log", "plexus.log.1", "media_store"] {
        assert!(named(part) > 0, "there is no {part}: {found:?}");
    }
    assert!(
        found
            .iter()
            .filter(|(path, kind, _)| path.starts_with(installation.folder.join("media_store")) && kind.is_file())
            .count()
            > 0
    );
    for (path, kind, mode) in &found {
        // What the test itself made is not what it is about.
        if *path == log || (kind.is_socket() && *path != socket) {
            continue;
        }
        let wanted = match kind {
            kind if kind.is_dir() => 0o700,
            kind if kind.is_socket() => 0o666,
            _ => 0o600,
        };
        assert_eq!(*mode, wanted, "{} has {mode:o}", path.display());
    }
    server.stop();
}

#[test]
fn a_first_start_makes_a_private_folder() {
    let parent = temporary_folder();
    let folder = parent.join("plexus-data");
    let mut command = plexus();
    command.args(["serve", "--generate-config", "--server-name", "it.example", "--data-dir"]).arg(&folder);
    let made = with_open_umask(&command).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let found = below(&parent);
    assert!(found.len() >= 3, "{found:?}");
    for (path, kind, mode) in found {
        assert_eq!(mode, if kind.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn a_key_that_everybody_can_read_is_said() {
    let installation = Installation::new();
    let key = installation.folder.join("it.example.signing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = installation.start().stop();
    let warning = format!("every user of this machine has access to {}", key.display());
    assert!(stderr(&output).contains(&warning), "{}", stderr(&output));
}

#[test]
fn secrets_in_addresses_do_not_reach_the_log() {
    let installation = Installation::new();
    let server = installation.start();
    let token = logged_in(&installation);
    let paths = [
        format!("/_matrix/client/v3/account/whoami?access_token={token}"),
        "/_matrix/client/v1/register/m.login.registration_token/validity?token=SECRET".to_owned(),
        "/_matrix/client/v3/login/sso/redirect?redirectUrl=http://a/?loginToken=SECRET&loginToken=SECRET".to_owned(),
        "/_matrix/client/v3/auth/m.login.dummy/fallback/web?session=SECRET".to_owned(),
        "/_matrix/client/v3/nothing?password=SECRET&client_secret=SECRET&sid=SECRET&code=SECRET&state=SECRET"
            .to_owned(),
        "/_matrix/client/v3/nothing?refresh%5Ftoken=SECRET&ACCESS_TOKEN=SECRET&next_link=SECRET&%73id=SECRET"
            .to_owned(),
        "/_synapse/admin/v1/registration_tokens/SECRET".to_owned(),
        "/_matrix/client/v3/sync?since=harmless&SECRET".to_owned(),
    ];
    for path in &paths {
        let referer = "Referer: http://a/?loginToken=SECRET\r\nCookie: session=SECRET";
        exchange(
            installation.port,
            &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{referer}\r\n\r\n"),
        );
    }
    let output = server.stop();
    let said = stdout(&output) + &stderr(&output);
    // `plexus register` asks for a nonce first.
    assert_eq!(said.matches("\"GET /").count(), 1 + paths.len(), "{said}");
    assert!(said.contains("since=harmless") && said.contains("access_token=<redacted>"), "{said}");
    assert!(!said.contains("SECRET") && !said.contains(&token), "{said}");
}
