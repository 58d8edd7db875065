use std::io::Write as _;

use tracing_subscriber::fmt::MakeWriter as _;

use super::*;

/// The only test that may set up logging for the whole test process.
#[test]
fn levels_change_while_the_process_runs() {
    let folder = std::env::temp_dir().join(format!("plexus-telemetry-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let (config, log) = (folder.join("log.config"), folder.join("log"));
    let write_config = |level: &str| {
        let text = format!(
            "root: {{level: WARNING, handlers: [f]}}\nloggers: {{plexus_base.telemetry: {{level: {level}}}}}\n\
             handlers: {{f: {{class: logging.FileHandler, filename: {:?}}}, n: {{class: x}}}}\n",
            log.to_string_lossy()
        );
        std::fs::write(&config, text).expect("writable");
    };
    write_config("INFO");
    let (telemetry, ignored) = start(Some(&config), &Clock::system()).expect("starts");
    assert!(ignored.is_empty(), "{ignored:?}");
    tracing::debug!("before");
    tracing::info!("said");
    write_config("DEBUG");
    telemetry.reload_levels().expect("valid");
    tracing::debug!("after");
    let text = std::fs::read_to_string(&log).expect("readable");
    assert!(!text.contains("before"), "{text}");
    assert!(text.contains("said") && text.contains("after"), "{text}");
    write_config("LOUD");
    telemetry.reload_levels().expect_err("no such level");
    tracing::debug!("still");
    let text = std::fs::read_to_string(&log).expect("readable");
    assert!(text.contains("still"), "{text}");
    start(None, &Clock::system()).expect_err("set up already");
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn the_log_configuration_that_is_generated_acts_wholly() {
    let folder = std::env::temp_dir().join(format!("plexus-log-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let path = folder.join("log.config");
    std::fs::write(&path, crate::config::generate_log_config(&folder.join("the \"log\""))).expect("writable");
    let config = LogConfig::read(&path).expect("valid");
    assert_eq!(config.not_in_effect, Vec::<String>::new());
    let destination = &config.outputs[0].destination;
    assert!(matches!(destination, Destination::File { path, .. } if path.ends_with("the \"log\"")), "{destination:?}");
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn json_has_the_keys_of_synapse() {
    let logged = |keys: JsonKeys| {
        let folder = std::env::temp_dir().join(format!("plexus-json-{keys:?}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        let destination = Destination::File { path: folder.join("log"), rotation: Rotation::Never };
        let output = Output { name: "f".to_owned(), destination, level: LevelFilter::INFO, format: Format::Json(keys) };
        let clock = Clock::manual(1_795_995_208_123);
        let mut opened = Opened { clock: &clock, files: Vec::new(), not_in_effect: Vec::new() };
        let subscriber = tracing_subscriber::registry().with(RequestIds).with(opened.layer(&output).expect("opens"));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", id = "GET-1");
            span.in_scope(|| tracing::warn!(target: "plexus_x::y", count = 3, name = "n", "one\n\"two\""));
        });
        let text = std::fs::read_to_string(folder.join("log")).expect("readable");
        std::fs::remove_dir_all(folder).expect("removable");
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let plain = serde_json::json!({
        "log": "one\n\"two\"", "namespace": "plexus_x.y", "level": "WARNING",
        "request": "GET-1", "count": 3, "name": "n",
    });
    assert_eq!(logged(JsonKeys::Plain), plain);
    let mut terse = plain;
    terse["time"] = 1_795_995_208.12.into();
    assert_eq!(logged(JsonKeys::Terse), terse);
    let google = serde_json::json!({
        "message": "one\n\"two\"", "logger": "plexus_x.y", "severity": "WARNING", "time": "2026-11-29T23:33:28.123Z",
        "request": "GET-1", "count": 3, "name": "n",
    });
    assert_eq!(logged(JsonKeys::GoogleCloud), google);
}

/// Returns the datagram that arrives at `name` in a new folder when a record is logged to `destination`.
fn datagram(name: &str, destination: impl FnOnce(PathBuf) -> Destination) -> Vec<u8> {
    datagram_of(name, Format::Usual, destination, || tracing::warn!(target: "plexus_x", "one\ntwo"))
}

/// Like [`datagram`], for the record that `log` logs.
fn datagram_of(
    name: &str,
    format: Format,
    destination: impl FnOnce(PathBuf) -> Destination,
    log: impl FnOnce(),
) -> Vec<u8> {
    let folder = std::env::temp_dir().join(format!("plexus-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let path = folder.join("socket");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a new socket");
    let output = Output { name: name.to_owned(), destination: destination(path), level: LevelFilter::TRACE, format };
    let clock = Clock::system();
    let mut opened = Opened { clock: &clock, files: Vec::new(), not_in_effect: Vec::new() };
    let subscriber = tracing_subscriber::registry().with(RequestIds).with(opened.layer(&output).expect("opens"));
    tracing::subscriber::with_default(subscriber, log);
    assert_eq!(opened.not_in_effect, Vec::<String>::new());
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    std::fs::remove_dir_all(folder).expect("removable");
    buffer
}

#[test]
fn the_journal_gets_fields() {
    let fields = vec![("SYSLOG_IDENTIFIER".to_owned(), "plexus".to_owned())];
    let record = datagram("journal", |socket| Destination::Journal { socket, fields });
    let text = String::from_utf8_lossy(&record).into_owned();
    assert!(text.starts_with("SYSLOG_IDENTIFIER=plexus\nPRIORITY=4\nCODE_FILE="), "{text:?}");
    assert!(text.ends_with("\nLOGGER=plexus_x\nMESSAGE=one\\ntwo\n"), "{text:?}");
}

#[test]
fn the_journal_names_loggers_as_python_does() {
    let pattern = Format::Pattern(Pattern::new("%(name)s\n%(message)s", None));
    for format in [Format::Usual, Format::Json(JsonKeys::Terse), pattern] {
        let name = "journal-access";
        let record = datagram_of(
            name,
            format,
            |socket| Destination::Journal { socket, fields: Vec::new() },
            || tracing::info!(target: "plexus.access", "203.0.113.7 - 8008 - said"),
        );
        let text = String::from_utf8_lossy(&record).into_owned();
        assert!(text.contains("\nLOGGER=synapse.access.http.8008\nMESSAGE"), "{text:?}");
        assert!(text.contains("203.0.113.7 - 8008 - said"), "{text:?}");
    }
}

#[test]
fn syslog_gets_priority_and_message() {
    let facility = Facility::named("daemon").expect("known");
    let record = datagram("syslog", |path| Destination::Syslog { address: SyslogAddress::Unix(path), facility });
    assert_eq!(String::from_utf8_lossy(&record), "<28>plexus: one\\ntwo");
}

#[test]
fn a_service_that_is_not_there_is_named() {
    let destination = Destination::Journal { socket: "/nowhere/socket".into(), fields: Vec::new() };
    let output = Output { name: "j".to_owned(), destination, level: LevelFilter::INFO, format: Format::Usual };
    let clock = Clock::system();
    let mut opened = Opened { clock: &clock, files: Vec::new(), not_in_effect: Vec::new() };
    let _layer: BoxedLayer<Registry> = opened.layer(&output).expect("the standard error is there");
    assert!(opened.not_in_effect[0].starts_with("handlers.j: no journal listens at /nowhere/socket"));
}

#[test]
fn a_service_that_is_stuck_is_not_waited_for() {
    let folder = std::env::temp_dir().join(format!("plexus-stuck-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let path = folder.join("socket");
    let stuck = std::os::unix::net::UnixDatagram::bind(&path).expect("a new socket");
    let syslog = Syslog::open(&SyslogAddress::Unix(path.clone()), Facility::USER).expect("listens");
    let journal = Journal::open(&path, &[]).expect("listens");
    // More than the system buffers for a socket.
    for _ in 0..5_000 {
        syslog.make_writer().write_all(b"a record\n").expect("not waited for");
        journal.make_writer().write_all(b"logger\na record\n").expect("not waited for");
    }
    stuck.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 256];
    while stuck.recv(&mut buffer).is_ok() {}
    syslog.make_writer().write_all(b"the next\n").expect("room again");
    stuck.recv(&mut buffer).expect("the record");
    let length = stuck.recv(&mut buffer).expect("how many were lost");
    let notice = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(notice.contains("log records were lost"), "{notice}");
    std::fs::remove_dir_all(folder).expect("removable");
}
