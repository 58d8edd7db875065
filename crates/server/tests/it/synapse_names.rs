//! The commands under Synapse's names: symbolic links to the one binary.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::binary::{Installation, stderr, stdout, temporary_folder};

/// A folder of links, as a package would install them.
struct Links(PathBuf);

impl Links {
    fn new() -> Self {
        Self(temporary_folder())
    }

    fn run(&self, name: &str, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Output {
        let link = self.0.join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_plexus"), &link).unwrap();
        }
        let mut command = Command::new(link);
        // What makes files of its own makes them here.
        command.stdin(Stdio::null()).env_remove("NOTIFY_SOCKET").current_dir(&self.0);
        prepare(&mut command);
        command.output().unwrap()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // In the temporary folder anyway.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}

#[test]
fn hash_password() {
    let links = Links::new();
    let hash = links.run("hash_password", |it| it.args(["-p", "x"]));
    assert!(succeeded(&hash).starts_with("$argon2id$"));
}

#[test]
fn generate_and_export_signing_keys() {
    let links = Links::new();
    let key = succeeded(&links.run("generate_signing_key", |it| it));
    assert!(key.starts_with("ed25519 a_"), "{key}");
    succeeded(&links.run("generate_signing_key", |it| it.args(["-o", "signing.key"])));
    let name = fs::read_to_string(links.0.join("signing.key")).unwrap();
    let name = name.split(' ').nth(1).unwrap().to_owned();
    let public = succeeded(&links.run("export_signing_key", |it| it.arg("signing.key")));
    assert!(public.starts_with(&format!("ed25519:{name} ")), "{public}");
}

#[test]
fn generate_config() {
    let links = Links::new();
    let files = || fs::read_dir(&links.0).unwrap().count();
    let arguments = ["--server-name", "old.example", "--report-stats", "no", "--config-dir", "c", "--data-dir", "d"];
    let text = succeeded(&links.run("generate_config", |it| it.args(arguments)));
    assert_eq!(files(), 1, "only the link");
    let expected = ["server_name: \"old.example\"", "/c/old.example.signing.key", "/d/homeserver.db"];
    for part in expected {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    fs::write(links.0.join("header"), "# Made for old.example\n").unwrap();
    let to_file = ["--header-file", "header", "-o", "made.yaml"];
    let said = succeeded(&links.run("generate_config", |it| it.args(arguments).args(to_file)));
    assert_eq!((said.as_str(), files()), ("", 3));
    let made = fs::read_to_string(links.0.join("made.yaml")).unwrap();
    assert!(made.starts_with("# Made for old.example\n") && made.contains(expected[0]), "{made}");
    let again = links.run("generate_config", |it| it.args(["-o", "made.yaml"]));
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("made.yaml exists already"), "{}", stderr(&again));
    let wrong = links.run("generate_config", |it| it.args(["--server-name", "a b"]));
    assert!(stderr(&wrong).contains("is not a server name"), "{}", stderr(&wrong));
}

#[test]
fn synapse_homeserver() {
    let links = Links::new();
    let arguments = ["-H", "old.example", "--report-stats", "no", "--generate-config", "-c", "homeserver.yaml"];
    succeeded(&links.run("synapse_homeserver", |it| it.args(arguments)));
    assert!(fs::read_to_string(links.0.join("homeserver.yaml")).unwrap().contains("old.example"));
}

#[test]
fn synctl_and_register_new_matrix_user() {
    let (links, installation) = (Links::new(), Installation::new());
    let synctl = |verb: &str| links.run("synctl", |it| it.arg(verb).arg(installation.yaml()));
    let pid = |output: &Output| {
        let said = succeeded(output);
        said.split_once("process ").map(|(_, rest)| rest.trim().split(';').next().unwrap_or_default().to_owned())
    };
    assert_eq!(synctl("status").status.code(), Some(3));
    let first = pid(&synctl("start")).expect("a process");
    assert_eq!(pid(&synctl("status")).as_ref(), Some(&first));
    let twice = synctl("start");
    assert!(!twice.status.success() && stderr(&twice).contains("already running"), "{}", stderr(&twice));

    let register = |arguments: &[&str]| links.run("register_new_matrix_user", |it| it.args(arguments));
    let yaml = installation.yaml();
    let yaml = yaml.to_str().unwrap();
    let made = register(&["-u", "alice", "-p", "b", "-a", "-c", yaml]);
    assert!(succeeded(&made).contains("@alice:it.example, an administrator"), "{}", stdout(&made));
    let url = format!("http://127.0.0.1:{}", installation.port);
    let made = register(&["-u", "alice", "-p", "b", "--no-admin", "--exists-ok", "-c", yaml, &url]);
    assert!(succeeded(&made).contains("exists already"));

    let second = pid(&synctl("restart")).expect("a process");
    assert_ne!(first, second);
    succeeded(&synctl("stop"));
    assert_eq!(synctl("status").status.code(), Some(3));
    let refused = register(&["-u", "a", "-p", "b", "--no-admin", "-k", "s", &url]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("cannot connect to 127.0.0.1:"), "{}", stderr(&refused));
}
