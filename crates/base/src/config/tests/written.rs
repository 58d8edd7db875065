//! The places where options are set, and the readable parts of broken files.

use super::*;

const BROKEN: &str = "\
server_name: example.com
pid_file: /run/plexus.pid
report_stats: [no
listeners:
  - port: 8008
    bind_addresses: ['127.0.0.1']
    type: http
    resources:
      - names: [client]
  - port: many
    type: http
- stray
media_store_path: 'media
registration_shared_secret: first
enable_registration: perhaps
";

#[test]
fn what_is_readable_of_a_broken_file_is_read() {
    let folder = tempfile("salvage");
    let file = folder.join("homeserver.yaml");
    std::fs::write(&file, BROKEN).expect("writable");
    assert!(load(std::slice::from_ref(&file), Options::default()).is_err());
    let written = Written::salvage(&[folder.join("missing.yaml"), folder.clone()]);
    assert_eq!(written.config_dir(), folder);
    assert_eq!(written.path("pid_file").expect("it is set"), PathBuf::from("/run/plexus.pid"));
    assert_eq!(written.path("media_store_path"), None);
    assert_eq!(written.secret("registration_shared_secret").expect("it is set").expose(), "first");
    assert_eq!(written.place("registration_shared_secret"), Some(format!("{}:14", file.display())));

    // In a file that is YAML, one wrong listener does not hide the others.
    std::fs::write(&file, BROKEN.replace("[no", "no").replace("- stray\n", "").replace("'media", "media"))
        .expect("writable");
    assert!(load(std::slice::from_ref(&file), Options::default()).is_err());
    let written = Written::salvage(std::slice::from_ref(&file));
    let ports: Vec<_> = written.listeners().iter().map(|listener| listener.port).collect();
    assert_eq!(ports, [Some(8008)]);
    assert_eq!(written.path("media_store_path").expect("it is set"), PathBuf::from("media"));
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn a_secret_may_be_in_a_file_of_its_own() {
    let folder = tempfile("salvage-secret");
    let (file, secret) = (folder.join("homeserver.yaml"), folder.join("secret"));
    std::fs::write(&secret, "second\n").expect("writable");
    let text = format!("server_name: [\nregistration_shared_secret_path: {}\n", secret.display());
    std::fs::write(&file, text).expect("writable");
    let written = Written::salvage(&[file]);
    assert_eq!(written.secret("registration_shared_secret").expect("it is set").expose(), "second");
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn places_and_changes() {
    let folder = tempfile("written");
    let (first, second) = (folder.join("1.yaml"), folder.join("2.yaml"));
    let yaml = "server_name: example.com\nlisteners:\n  - port: 8008\n    type: http\n  - type: http\n    port: 8009\n";
    std::fs::write(&first, yaml).expect("writable");
    std::fs::write(&second, "\nreport_stats: no\ndatabase:\n  name: sqlite3\n  args: {database: x.db}\n")
        .expect("writable");
    let read = || load(std::slice::from_ref(&folder), Options::default()).expect("valid").written;
    let written = read();
    let place = |file: &PathBuf, line: u32| Some(format!("{}:{line}", file.display()));
    assert_eq!(written.place("listeners[0].port"), place(&first, 3));
    assert_eq!(written.place("listeners[1].port"), place(&first, 6));
    assert_eq!(written.place("listeners[1].tls"), place(&first, 5), "the listener that does not set it");
    assert_eq!(written.place("database.args.database"), place(&second, 5));
    assert_eq!(written.place("pid_file"), None);

    std::fs::write(&second, "database:\n  name: sqlite3\n  args: {database: x.db}\npid_file: /run/x\n")
        .expect("writable");
    assert_eq!(written.changed(&read()), ["pid_file", "report_stats"], "and not what is on another line now");
    assert_eq!(written.changed(&written), Vec::<String>::new());
    assert!(!format!("{written:?}").contains("sqlite3"), "secrets are among the options");
    std::fs::remove_dir_all(folder).expect("removable");
}
