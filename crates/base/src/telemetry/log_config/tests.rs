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
        name: "file".to_owned(),
        level: LevelFilter::TRACE,
        format: Format::Pattern(Pattern::new("%(asctime)s - %(name)s", None)),
    };
    let console = Output {
        name: "console".to_owned(),
        destination: Destination::Stdout,
        level: LevelFilter::WARN,
        format: Format::Json(JsonKeys::Terse),
    };
    let remote = Output { name: "remote".to_owned(), ..Output::stderr(LevelFilter::TRACE) };
    assert_eq!(config.outputs, [file, console, remote]);
    assert_eq!(
        config.not_in_effect,
        [
            "handlers.remote: the class synapse.logging.RemoteHandler is not known here; its records go to the \
             standard error",
            "loggers.twisted.handlers: records go to the handlers of root",
            "loggers.twisted: nothing here logs under that name",
        ]
    );
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
        let found = LogConfig::parse(text).expect_err(text);
        assert_eq!((found.len(), found[0].0), (1, line), "{found:?}");
    }
    let many = "root:\n  handlers:\n    - a\n    - b\nhandlers:\n  a:\n    class: logging.FileHandler\n  b:\n    \
    class: logging.StreamHandler\n    formatter: none\nloggers:\n  synapse:\n    level: LOUD\n";
    let lines: Vec<u32> = LogConfig::parse(many).expect_err("wrong").iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [7, 10, 13], "all of them");
}

fn handler(text: &str) -> (Output, Vec<String>) {
    let text =
        format!("root: {{handlers: [h]}}\nformatters: {{f: {{format: '%(message)s'}}}}\nhandlers: {{h: {text}}}\n");
    let mut config = LogConfig::parse(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    (config.outputs.remove(0), config.not_in_effect)
}

#[test]
fn services_of_the_system() {
    let journal = |identifier: &str, more: &[(&str, &str)]| {
        let mut fields: Vec<_> = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        fields.push(("SYSLOG_IDENTIFIER".to_owned(), identifier.to_owned()));
        Destination::Journal { socket: "/run/systemd/journal/socket".into(), fields }
    };
    let syslog = |address, facility| Destination::Syslog { address, facility };
    let udp = |host: &str, port| SyslogAddress::Udp(host.to_owned(), port);
    let facility = |name| Facility::named(name).expect("known");
    for (text, expected) in [
        ("{class: systemd.journal.JournalHandler}", journal("plexus", &[])),
        ("{class: logging_journald.JournaldLogHandler, identifier: x}", journal("x", &[])),
        ("{(): systemd.journal.JournalHandler, SYSLOG_IDENTIFIER: y, UNIT: z}", {
            let fields = [("SYSLOG_IDENTIFIER", "y"), ("UNIT", "z")].map(|(a, b)| (a.to_owned(), b.to_owned()));
            Destination::Journal { socket: "/run/systemd/journal/socket".into(), fields: fields.into() }
        }),
        ("{class: logging.handlers.SysLogHandler}", syslog(udp("localhost", 514), facility("user"))),
        (
            "{class: logging.handlers.SysLogHandler, address: /dev/log, facility: local3}",
            syslog(SyslogAddress::Unix("/dev/log".into()), facility("local3")),
        ),
        (
            "{class: logging.handlers.SysLogHandler, address: [logs.example, 5514]}",
            syslog(udp("logs.example", 5514), facility("user")),
        ),
    ] {
        let (output, not_in_effect) = handler(text);
        assert_eq!((output.destination, not_in_effect), (expected, Vec::<String>::new()), "{text}");
    }
}

#[test]
fn formatters_act_or_are_named() {
    let format = |formatter: &str| {
        let text = format!(
            "root: {{handlers: [h]}}\nformatters: {{f: {formatter}}}\n\
             handlers: {{h: {{class: logging.StreamHandler, formatter: f}}}}\n"
        );
        let mut config = LogConfig::parse(&text).expect("valid");
        (config.outputs.remove(0).format, config.not_in_effect)
    };
    let pattern = |format: &str, date| Format::Pattern(Pattern::new(format, date));
    assert_eq!(format("{format: '%(name)s'}"), (pattern("%(name)s", None), vec![]));
    assert_eq!(format("{format: x, datefmt: '%H'}"), (pattern("x", Some("%H")), vec![]));
    assert_eq!(format("{}"), (pattern("%(message)s", None), vec![]));
    for (class, keys) in [
        ("synapse.logging.JsonFormatter", JsonKeys::Plain),
        ("synapse.logging.TerseJsonFormatter", JsonKeys::Terse),
        ("synapse.logging.GcpJsonFormatter", JsonKeys::GoogleCloud),
    ] {
        assert_eq!(format(&format!("{{(): {class}}}")), (Format::Json(keys), vec![]));
    }
    for (formatter, named) in [
        ("{class: colorlog.ColoredFormatter}", "the class colorlog.ColoredFormatter"),
        ("{format: '{message}', style: '{'}", "the style {"),
        ("{format: '%(ip_address)s'}", "%(ip_address)s is not known"),
    ] {
        let (_, not_in_effect) = format(formatter);
        assert!(not_in_effect.len() == 1 && not_in_effect[0].contains(named), "{formatter}: {not_in_effect:?}");
    }
}

#[test]
fn without_a_handler_warnings_go_to_the_standard_error() {
    let config = LogConfig::parse("version: 1\n").expect("valid");
    assert_eq!(config.outputs, [Output::stderr(LevelFilter::WARN)]);
    let silent =
        LogConfig::parse("root: {handlers: [n]}\nhandlers: {n: {class: logging.NullHandler}}\n").expect("valid");
    assert_eq!(silent.outputs, []);
}
