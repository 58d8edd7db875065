use super::*;

/// As Synapse generates it.
const USUAL: &str = "
version: 1
formatters:
    precise:
        format: '%(asctime)s - %(name)s'
    structured:
        class: synapse.logging.TerseJsonFormatter
handlers:
    file:
        class: logging.handlers.TimedRotatingFileHandler
        formatter: precise
        filename: /var/log/homeserver.log
        when: midnight
        backupCount: 3
        encoding: utf8
    buffer:
        class: synapse.logging.handlers.PeriodicallyFlushingMemoryHandler
        target: file
        capacity: 10
    console:
        class: logging.StreamHandler
        formatter: structured
        level: WARNING
        stream: ext://sys.stdout
    remote:
        class: synapse.logging.RemoteHandler
loggers:
    synapse.storage.SQL:
        level: INFO
    synapse.storage:
        level: DEBUG
    plexus_net.federation:
        level: ERROR
    twisted:
        handlers: [file]
        level: DEBUG
root:
    level: INFO
    handlers: [buffer, console, remote]
disable_existing_loggers: false
";

#[test]
fn the_usual_file_is_understood() {
    let config = LogConfig::parse(USUAL).expect("valid");
    assert_eq!(config.root, LevelFilter::INFO);
    assert_eq!(
        config.targets,
        [("plexus_store".to_owned(), LevelFilter::DEBUG), ("plexus_net::federation".to_owned(), LevelFilter::ERROR),]
    );
    let file = Output {
        destination: Destination::File {
            path: "/var/log/homeserver.log".into(),
            rotation: Rotation::Daily { backups: 3 },
        },
        level: LevelFilter::TRACE,
        json: false,
    };
    let console = Output { destination: Destination::Stdout, level: LevelFilter::WARN, json: true };
    assert_eq!(config.outputs, [file, console]);
    assert_eq!(config.not_in_effect.len(), 3, "{:?}", config.not_in_effect);
    let targets = config.targets();
    let enabled = |target, level| targets.would_enable(target, &level);
    assert!(enabled("plexus_store::repo", tracing::Level::DEBUG));
    assert!(!enabled("plexus_rooms", tracing::Level::DEBUG));
    assert!(!enabled("plexus_net::federation", tracing::Level::WARN));
}

#[test]
fn mistakes_are_named_with_their_line() {
    let cases = [
        ("version: 1\nroot:\n  level: LOUD\n", 3),
        ("root:\n  level: INFO\n  handlers: [missing]\n", 3),
        ("structured: true\n", 1),
        ("root: [", 1),
    ];
    for (text, line) in cases {
        let (found, message) = LogConfig::parse(text).expect_err(text);
        assert_eq!(found, line, "{message}");
    }
}
