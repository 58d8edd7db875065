//! First start, second start, signals, and what a start refuses.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use plexus_store::{Database, Options};
use plexus_testkit::{TestPlace, TestServer};
use rustix::process::Signal;

use crate::binary::{Installation, Server, plexus, stderr, stdout, temporary_folder};

#[test]
fn a_first_start_makes_everything_and_a_second_reuses_it() {
    let installation = Installation::new();
    let server = installation.start();
    let made = installation.register(&["-u", "alice", "-p", "secret", "--admin"]);
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stdout(&made).contains("@alice:it.example"));
    let output = server.stop();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains(&format!("http://127.0.0.1:{}", installation.port)), "{said}");
    let yaml = installation.yaml();
    let command = format!("register --admin -c {} http://127.0.0.1:{}", yaml.display(), installation.port);
    assert!(said.contains(&command), "{said}");
    let key = fs::read(installation.folder.join("it.example.signing.key")).unwrap();

    let server = installation.start();
    let again = installation.register(&["-u", "alice", "-p", "secret", "--no-admin"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("exists already"), "{}", stderr(&again));
    assert!(installation.register(&["-u", "alice", "-p", "secret", "--exists-ok"]).status.success());
    assert_eq!(server.stop().status.code(), Some(0));
    assert_eq!(fs::read(installation.folder.join("it.example.signing.key")).unwrap(), key);
}

#[test]
fn without_a_configuration_one_is_made() {
    let folder = temporary_folder();
    let data = folder.join("data");
    // The port that a made configuration has may be taken on this machine: what is asked here is that the files are
    // there before, and the server's own sentence if so.
    let taken = TcpListener::bind("127.0.0.1:8008");
    let output = plexus().args(["serve", "--server-name", "new.example", "--data-dir"]).arg(&data).output().unwrap();
    drop(taken);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("127.0.0.1:8008"), "{}", stderr(&output));
    assert!(data.join("new.example.signing.key").exists());
    let yaml = fs::read_to_string(data.join("homeserver.yaml")).unwrap();
    assert!(yaml.contains("new.example"));
    let check = plexus().args(["config", "check", "-c"]).arg(data.join("homeserver.yaml")).output().unwrap();
    assert!(check.status.success(), "{}", stdout(&check));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn sigint_ends_it_too() {
    let installation = Installation::new();
    let server = installation.start();
    server.signal(Signal::INT);
    assert_eq!(server.notification(), "STOPPING=1");
    assert_eq!(server.wait().status.code(), Some(0));
}

#[test]
fn sighup_reloads() {
    let installation = Installation::new();
    let server = installation.start();
    server.signal(Signal::HUP);
    assert!(server.notification().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(server.notification(), "READY=1");
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let installation = Installation::new();
    let server = installation.start();
    let mut stream = TcpStream::connect(("127.0.0.1", installation.port)).unwrap();
    write!(stream, "POST /_synapse/admin/v1/register HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n").unwrap();
    write!(stream, "Expect: 100-continue\r\n\r\n").unwrap();
    // Asking for the body shows that the handler runs.
    let mut asked = [0_u8; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal(Signal::TERM);
    assert_eq!(server.notification(), "STOPPING=1");
    stream.write_all(b"{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("M_MISSING_PARAM"), "{answer}");
    assert_eq!(server.wait().status.code(), Some(0));
}

#[test]
fn a_taken_port() {
    let installation = Installation::new();
    let taken = TcpListener::bind(("127.0.0.1", installation.port)).unwrap();
    let sentence = installation.refused();
    assert!(sentence.contains(&format!("127.0.0.1:{}", installation.port)), "{sentence}");
    assert!(sentence.contains("in use"), "{sentence}");
    assert!(!installation.folder.join("homeserver.db").exists());
    drop(taken);
    installation.start().stop();
}

#[test]
fn a_folder_that_cannot_be_written_to() {
    let folder = temporary_folder();
    fs::write(folder.join("file"), "").unwrap();
    let output = plexus().args(["serve", "--data-dir"]).arg(folder.join("file/data")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("cannot write to the folder") && said.contains("file/data"), "{said}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_database_newer_than_the_binary() {
    let installation = Installation::new();
    installation.start().stop();
    let path = installation.folder.join("homeserver.db");
    let before = || fs::read(&path).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = Database::open(&Options::sqlite(&path)).unwrap();
        let newer = "INSERT INTO schema_version (number, name) VALUES (9999, 'future')";
        let written: Result<u64, plexus_store::DbError> = database.write(|tx| tx.execute(newer, &[])).await;
        assert_eq!(written.unwrap(), 1);
        database.close().await;
    });
    let bytes = before();
    let sentence = installation.refused();
    assert!(sentence.contains("9999") && sentence.contains("newer"), "{sentence}");
    assert_eq!(before(), bytes);
}

#[test]
fn a_changed_server_name() {
    let installation = Installation::new();
    installation.start().stop();
    installation.edit("server_name: \"it.example\"", "server_name: \"other.example\"");
    let sentence = installation.refused();
    assert!(sentence.contains("it.example") && sentence.contains("other.example"), "{sentence}");
    installation.edit("server_name: \"other.example\"", "server_name: \"it.example\"");
    installation.start().stop();
}

#[test]
fn a_broken_key() {
    let installation = Installation::new();
    let path = installation.folder.join("it.example.signing.key");
    fs::write(&path, "ed25519 a_abcd not-base64!\n").unwrap();
    let sentence = installation.refused();
    assert!(sentence.contains(path.to_str().unwrap()), "{sentence}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "ed25519 a_abcd not-base64!\n");
    assert!(!installation.folder.join("homeserver.db").exists());
}

#[test]
fn a_missing_key_is_not_replaced_behind_the_operators_back() {
    let installation = Installation::new();
    let path = installation.folder.join("it.example.signing.key");
    fs::remove_file(&path).unwrap();
    assert!(installation.refused().contains(path.to_str().unwrap()));
    let output = installation.command("serve").arg("--generate-missing-configs").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    installation.start().stop();
}

#[test]
fn two_servers_on_one_database() {
    let installation = Installation::new();
    let server = installation.start();
    let port = crate::binary::free_port();
    installation.edit(&format!("port: {}", installation.port), &format!("port: {port}"));
    let sentence = installation.refused();
    assert!(sentence.contains("homeserver.db"), "{sentence}");
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn an_option_that_is_wrong() {
    let installation = Installation::new();
    installation.add("\nenable_registration: perhaps\n");
    let output = installation.command("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("homeserver.yaml") && said.contains("enable_registration"), "{said}");
}

#[test]
fn in_the_background() {
    let installation = Installation::new();
    let control = |name: &str| installation.command(name).output().unwrap();
    assert_eq!(control("status").status.code(), Some(3));
    let started = control("start");
    assert_eq!(started.status.code(), Some(0), "{}", stderr(&started));
    assert_eq!(control("status").status.code(), Some(0));
    assert!(installation.register(&["-u", "bob", "-p", "secret"]).status.success());
    let again = control("start");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("already running"), "{}", stderr(&again));
    assert_eq!(control("restart").status.code(), Some(0));
    assert_eq!(control("stop").status.code(), Some(0));
    assert_eq!(control("status").status.code(), Some(3));
    let taken = TcpListener::bind(("127.0.0.1", installation.port)).unwrap();
    let failed = control("start");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("in use"), "{}", stderr(&failed));
    drop(taken);
}

#[test]
fn a_restart_says_that_the_foreground_is_left() {
    let installation = Installation::new();
    let server = installation.start();
    let restarted = installation.command("restart").output().unwrap();
    assert_eq!(restarted.status.code(), Some(0), "{}", stderr(&restarted));
    assert!(stdout(&restarted).contains("starts again in the background"), "{}", stdout(&restarted));
    server.wait();
    // Now it is there, and nothing has to be said.
    let again = installation.command("restart").output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(!stdout(&again).contains("foreground"), "{}", stdout(&again));
    assert_eq!(installation.command("stop").output().unwrap().status.code(), Some(0));
}

#[test]
fn killed_and_started_again() {
    let installation = Installation::new();
    let server = installation.start();
    assert!(installation.register(&["-u", "carol", "-p", "secret"]).status.success());
    server.signal(Signal::KILL);
    server.wait();
    let server: Server = installation.start();
    assert_eq!(installation.register(&["-u", "carol", "-p", "secret"]).status.code(), Some(1));
    server.stop();
}

#[test]
fn a_second_signal_ends_a_server_that_waits_for_a_request() {
    let installation = Installation::new();
    let server = installation.start();
    let mut connection = TcpStream::connect(("127.0.0.1", installation.port)).unwrap();
    let head = "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: it.example\r\nContent-Length: 100\r\nExpect: \
                100-continue\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    // The request has begun.
    connection.read_exact(&mut [0; 12]).unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.notification(), "STOPPING=1");
    let output = server.stop();
    assert!(output.status.success());
    assert!(stderr(&output).contains("stopped at once by a second signal"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_waiting_sync_is_answered_before_the_end() {
    // On a clock that stands still the sync would wait for ever.
    let clock = plexus_base::Clock::manual(1_700_000_000_000);
    let mut server = TestServer::on(TestPlace::sqlite()).clock(clock).start().await;
    let alice = server.register("alice").await;
    let since = server.get("/_matrix/client/v3/sync", &alice.token).await.ok()["next_batch"].clone();
    let offline = serde_json::json!({ "presence": "offline" });
    let status = format!("/_matrix/client/v3/presence/{}/status", alice.id);
    server.put(&status, &alice.token, offline).await.ok();

    let since = since.as_str().unwrap_or_default();
    let url = format!("{}/_matrix/client/v3/sync?since={since}&timeout=30000&set_presence=online", server.url());
    let request = http::Request::get(url).header("Authorization", format!("Bearer {}", alice.token));
    let request = request.body(bytes::Bytes::new()).unwrap();
    let sync = tokio::spawn(plexus_net::http::send_operator_command(request));
    // Who syncs is online: the sync has begun.
    while server.get(&status, &alice.token).await.ok()["presence"] != "online" {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    let answer = sync.await.unwrap().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_signing_key_that_everybody_has_is_refused() {
    let leaked = "AZT9wvov/MBB0/8SBFtzyG5P+V/2YqXu6Cq99EotC3U=";
    let installation = Installation::new();
    let path = installation.folder.join("it.example.signing.key");
    let own = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("ed25519 0 {leaked}\n")).unwrap();
    let output = installation.command("serve").output().unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains("it.example.signing.key must not be used"), "{said}");
    assert!(said.contains("plexus generate-signing-key"), "{said}");
    // Nor is it published as one of earlier times.
    fs::write(&path, own).unwrap();
    let public = "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og";
    installation.add(&format!("\nold_signing_keys: {{'ed25519:0': {{key: '{public}', expired_ts: 1}}}}\n"));
    let output = installation.command("serve").output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("old_signing_keys.ed25519:0: cannot be used"), "{}", stderr(&output));
}
