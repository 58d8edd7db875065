//! How values are read.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{
    Config, EncryptionByDefault, FileMode, ListenerType, Options, PasswordLogin, PresenceMode, RateLimit, Report, load,
    load_with_errors, parse,
};
use super::tempfile;

const NAME: &str = "server_name: example.com\n";

fn config(text: &str) -> Config {
    parse(&format!("{NAME}{text}")).unwrap_or_else(|report| panic!("{text}: {report}"))
}

/// The errors of a text that begins at line 2.
pub(super) fn errors(text: &str) -> Vec<String> {
    let report = match parse(&format!("{NAME}{text}")) {
        Ok(_) => Report::default(),
        Err(report) => report,
    };
    report.errors.iter().map(ToString::to_string).collect()
}

#[test]
fn booleans() {
    for (text, expected) in [
        ("true", true),
        ("yes", true),
        ("On", true),
        ("NO", false),
        ("off", false),
        ("'true'", true),
        ("1", true),
        ("0", false),
        ("2", true),
        ("0.0", false),
        ("''", false),
        ("y", true),
        ("~", false),
    ] {
        let config = config(&format!("block_non_admin_invites: {text}\n"));
        assert_eq!(config.server.block_non_admin_invites, expected, "{text}");
    }
    // Text is true in Python, whatever it says.
    let found = report("block_non_admin_invites: 'false'\n");
    assert!(found.warnings.iter().any(|it| it.message.contains("counts as true, as in Synapse")), "{found}");
    assert!(config("block_non_admin_invites: 'false'\n").server.block_non_admin_invites);
    assert!(!errors("block_non_admin_invites: [1]\n").is_empty());
    // Synapse interprets these words.
    for (text, expected) in [("'yes'", true), ("T", true), ("1", true), ("'off'", false), ("n", false), ("0", false)] {
        let config = config(&format!("enable_registration: {text}\nenable_registration_without_verification: 1\n"));
        assert_eq!(config.registration.enable_registration, expected, "{text}");
    }
    for text in ["''", "2", "maybe"] {
        assert_eq!(errors(&format!("enable_registration: {text}\n")).len(), 1, "{text}");
    }
    for (text, expected) in [
        ("untracked", PresenceMode::Untracked),
        ("0", PresenceMode::Disabled),
        ("''", PresenceMode::Disabled),
        ("1", PresenceMode::Enabled),
        ("'false'", PresenceMode::Enabled),
    ] {
        assert_eq!(config(&format!("presence: {{enabled: {text}}}\n")).server.presence.enabled, expected, "{text}");
    }
}

#[test]
fn databases() {
    let sqlite = "name: sqlite3, args: {database: a.db}";
    let one = config(&format!("databases: {{main: {{{sqlite}}}}}\n")).database.database.expect("one is enough");
    assert_eq!(one.args["database"], "a.db");
    let same = format!("databases: {{a: {{{sqlite}, data_stores: [main]}}, b: {{{sqlite}, data_stores: [state]}}}}\n");
    assert_eq!(config(&same).database.database.expect("both are one").args["database"], "a.db");
    let unused = format!("databases: {{a: {{{sqlite}}}, b: {{args: {{database: b.db}}, data_stores: []}}}}\n");
    assert_eq!(config(&unused).database.database.expect("a has all").args["database"], "a.db");
    let b = "b: {args: {database: b.db}, data_stores: [state]}";
    for (text, expected) in [
        (format!("{{a: {{{sqlite}, data_stores: [main]}}, {b}}}"), "room state is in b and everything else in a"),
        (format!("{{a: {{{sqlite}}}, {b}}}"), "a and b both have the data store state"),
        (format!("{{{b}}}"), "no database has the data store main"),
        ("{a: {name: sqlite3}}".to_owned(), "the member database is missing"),
    ] {
        let found = errors(&format!("databases: {text}\n"));
        assert!(found.first().is_some_and(|it| it.contains(expected)), "{text}: {found:?}");
        assert!(found[0].starts_with("homeserver.yaml:2: databases"), "{found:?}");
    }
    let both = errors(&format!("database: {{{sqlite}}}\ndatabases: {{a: {{{sqlite}}}}}\n"));
    assert!(both[0].starts_with("homeserver.yaml:3: databases: set together with database"), "{both:?}");
}

#[test]
fn a_misspelt_place_of_data_is_an_error() {
    for text in ["databse: {name: psycopg2}", "media_store_pth: /x", "signing_key_pth: /x", "databasess: {}"] {
        let found = errors(&format!("{text}\n"));
        assert!(found.len() == 1 && found[0].contains("no such option; is "), "{text}: {found:?}");
    }
    assert!(errors("media_store_path: /y\nmedia_store_pth: /x\n").is_empty());
}

#[test]
fn a_report_is_in_the_order_of_lines() {
    let found = report(
        "whatever: 1\nlisteners: [{port: 1, type: http}]\nretention: {enabled: true}\n\
         hs_disabled_message: x\nhs_disabled: 1\n",
    );
    let lines: Vec<String> = found.to_string().lines().map(|line| line.split(':').nth(2).unwrap().to_owned()).collect();
    assert_eq!(lines, ["2", "4", "4", "5", "6"], "{found}");
}

#[test]
fn durations() {
    for (text, millis) in [
        ("5000", 5_000),
        ("'5000'", 5_000),
        ("0", 0),
        ("30s", 30_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("3d", 259_200_000),
        ("1w", 604_800_000),
        ("1y", 31_536_000_000),
    ] {
        let config = config(&format!("session_lifetime: {text}\nrefreshable_access_token_lifetime: 0\n"));
        let lifetime = config.sessions.session_lifetime;
        assert_eq!(lifetime, Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["1.5h", "5 minutes", "-1", "true", "''", "99999999999y", "[]"] {
        assert_eq!(errors(&format!("session_lifetime: {text}\n")).len(), 1, "{text}");
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("100", 100),
        ("1K", 1 << 10),
        ("50M", 50 << 20),
        ("2G", 2 << 30),
        ("1T", 1 << 40),
        ("500MiB", 500 << 20),
        ("87KiB", 87 << 10),
    ] {
        let config = config(&format!("max_upload_size: {text}\n"));
        assert_eq!(config.media.max_upload_size, bytes, "{text}");
    }
    for text in ["1.5M", "50MB", "-1", "no", "{a: 1}", "99999999999T"] {
        assert_eq!(errors(&format!("max_upload_size: {text}\n")).len(), 1, "{text}");
    }
}

#[test]
fn numbers_strings_and_words() {
    let read = config(
        "rc_message: {per_second: 5}\nrc_joins: {local: {burst_count: 3}}\ndefault_room_version: 11\n\
         presence: {enabled: no}\nencryption_enabled_by_default_for_room_type: off\n\
         password_config: {enabled: only_for_reauth}\nfederation_client_minimum_tls_version: 1.2\n",
    );
    assert_eq!(read.ratelimits.rc_message, RateLimit::new(5.0, 10));
    assert_eq!(read.ratelimits.rc_joins.local, RateLimit::new(0.1, 3));
    assert_eq!(read.ratelimits.rc_joins.remote, RateLimit::new(0.01, 10));
    assert_eq!(read.server.default_room_version, "11");
    assert_eq!(read.server.presence.enabled, PresenceMode::Disabled);
    let encryption = read.rooms.encryption_enabled_by_default_for_room_type;
    assert_eq!(encryption, EncryptionByDefault::Off);
    let passwords = read.passwords.password_config.enabled;
    assert_eq!(passwords, PasswordLogin::OnlyForReauth);
}

#[test]
fn null_is_the_default_except_where_it_means_something() {
    let read = config("presence:\nmax_upload_size: null\nrefreshable_access_token_lifetime: ~\n");
    assert_eq!(read.server.presence.enabled, PresenceMode::Enabled);
    assert_eq!(read.media.max_upload_size, 50 << 20);
    assert_eq!(read.sessions.refreshable_access_token_lifetime, None);
    let default = config("").sessions.refreshable_access_token_lifetime;
    assert_eq!(default, Some(Duration::from_secs(300)));
}

#[test]
fn listeners() {
    let read = config(
        "listeners:\n\
         - {port: 8008, type: http, resources: [{names: [client, federation]}]}\n\
         - {path: /run/plexus.sock, mode: 660, type: http}\n\
         - {path: /run/other.sock, mode: 0o640, type: http}\n\
         - {path: /run/other.sock, mode: 0600, type: http}\n",
    );
    let [tcp, unix, other, last] = read.server.listeners.as_slice() else {
        panic!("four listeners");
    };
    assert_eq!(tcp.r#type, ListenerType::Http);
    assert_eq!(tcp.bind_addresses, ["::", "0.0.0.0"]);
    assert!(!tcp.trusts_forwarded() && unix.trusts_forwarded());
    let modes = [tcp.mode, unix.mode, other.mode, last.mode];
    assert_eq!(modes, [0o666, 0o660, 0o640, 0o600].map(FileMode));
}

#[test]
fn server_names() {
    for name in ["example.com", "localhost:8448", "1.2.3.4", "'[::1]:8448'", "'[::1]'"] {
        parse(&format!("server_name: {name}\n")).unwrap_or_else(|report| panic!("{report}"));
    }
    for name in ["''", "https://example.com", "example.com:x", "'[::1'", "ex ample", "a_b"] {
        parse(&format!("server_name: {name}\n")).expect_err(name);
    }
}

#[test]
fn secrets_come_from_files_too_and_never_show() {
    let folder = tempfile("secrets");
    let file = folder.join("secret");
    std::fs::write(&file, " hidden \n").expect("writable");
    let path = format!("macaroon_secret_key_path: {:?}\n", file.to_string_lossy());
    let read = config(&path);
    let secret = read.api.macaroon_secret_key.clone().expect("read");
    assert_eq!(secret.expose(), "hidden");
    assert!(!format!("{read:?}").contains("hidden"));
    let both = errors(&format!("macaroon_secret_key: x\n{path}"));
    assert_eq!(
        both,
        ["homeserver.yaml:3: macaroon_secret_key_path: set together with macaroon_secret_key; allowed is one of \
          the two"]
    );
    let missing = errors("form_secret_path: /nowhere/at/all\n");
    assert!(missing[0].contains("cannot read /nowhere/at/all"), "{missing:?}");
    let nested = errors(&format!(
        "oidc_providers:\n- issuer: x\n  client_id: y\n  client_secret: z\n  client_secret_path: {:?}\n",
        file.to_string_lossy()
    ));
    assert!(nested[0].starts_with("homeserver.yaml:6: oidc_providers[0].client_secret_path:"), "{nested:?}");
    let forbidding = Options { forbid_secrets: true };
    let main = folder.join("homeserver.yaml");
    std::fs::write(&main, format!("{NAME}form_secret: x\n{path}")).expect("writable");
    let report = check(&main, forbidding);
    assert_eq!(report.errors.len(), 1, "{report}");
    assert_eq!((report.errors[0].line, report.errors[0].option.as_str()), (2, "form_secret"));
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn a_missing_registration_secret_is_made() {
    let folder = tempfile("made");
    let file = folder.join("secret");
    let mut read = config(&format!("registration_shared_secret_path: {:?}\n", file.to_string_lossy()));
    assert_eq!(read.registration.registration_shared_secret, None);
    let random = crate::Random::seeded(1);
    let made = read.generate_missing_secrets(&random).expect("writable");
    assert_eq!(made.as_ref(), Some(&file));
    let secret = read.registration.registration_shared_secret.clone().expect("made");
    let written = std::fs::read_to_string(&file).expect("readable");
    assert_eq!(written.trim(), secret.expose());
    assert_eq!(read.generate_missing_secrets(&random).expect("nothing to do"), None);
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn a_later_file_replaces_whole_options() {
    let folder = tempfile("merge");
    let files = folder.join("conf.d");
    std::fs::create_dir_all(&files).expect("writable");
    let write = |name: &str, text: &str| std::fs::write(files.join(name), text).expect("writable");
    write("a.yaml", "server_name: a.example\nrc_message: {per_second: 9, burst_count: 9}\nmax_upload_size: 1M\n");
    write("b.yaml", "rc_message: {per_second: 1}\nmax_upload_size: x\n");
    write("c.yaml", "max_upload_size: 3M\n");
    write("ignored.txt", "server_name: wrong\n");
    let loaded = load(std::slice::from_ref(&files), Options::default()).expect("valid");
    assert_eq!(loaded.written.files().len(), 3);
    assert_eq!(loaded.config.ratelimits.rc_message, RateLimit::new(1.0, 10));
    assert_eq!(loaded.config.media.max_upload_size, 3 << 20);
    assert_eq!(loaded.config.config_dir, files);
    write("c.yaml", "max_upload_size: [\n");
    let report = load(std::slice::from_ref(&files), Options::default()).expect_err("not YAML");
    assert_eq!(report.errors[0].file, Some(files.join("c.yaml")));
    write("c.yaml", "\nmax_upload_size: y\n");
    let report = load(std::slice::from_ref(&files), Options::default()).expect_err("not a size");
    assert_eq!((report.errors[0].file.clone(), report.errors[0].line), (Some(files.join("c.yaml")), 2));
    std::fs::remove_dir_all(folder).expect("removable");
    let gone = load(&[PathBuf::from("/nowhere.yaml")], Options::default()).expect_err("missing");
    assert!(gone.to_string().contains("/nowhere.yaml: cannot be read"), "{gone}");
    load(&[], Options::default()).expect_err("no file");
}

/// The report about a file, whether or not it can be used.
fn check(file: &std::path::Path, options: Options) -> Report {
    match load_with_errors(&[file.to_owned()], options) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    }
}

fn report(text: &str) -> Report {
    let folder = tempfile(&format!("report-{}", text.len()));
    let file = folder.join("homeserver.yaml");
    std::fs::write(&file, format!("{NAME}{text}")).expect("writable");
    let report = check(&file, Options::default());
    std::fs::remove_dir_all(folder).expect("removable");
    report
}

#[test]
fn unknown_options_get_a_suggestion() {
    let found = report("max_uplaod_size: 5M\npresence: {enabld: yes}\nwhatever: 1\n");
    let unknown: Vec<(String, Option<String>)> =
        found.unknown.iter().map(|setting| (setting.option.clone(), setting.nearest.clone())).collect();
    let expected = [
        ("presence.enabld", Some("presence.enabled")),
        ("max_uplaod_size", Some("max_upload_size")),
        ("whatever", None),
    ];
    let expected = expected.map(|(option, nearest)| (option.to_owned(), nearest.map(str::to_owned)));
    assert_eq!(unknown, expected);
    assert!(!found.is_clean() && !found.has_errors());
}

#[test]
fn unknown_experimental_features_are_called_so() {
    let text = report("experimental_features: {msc9999_enabled: true, msc3026_enabld: true}\n").to_string();
    let kinds: Vec<_> = text.lines().filter_map(|line| line.split_once(": ")).map(|(kind, _)| kind).collect();
    assert_eq!(kinds[1..], ["experimental feature that this server does not have", "unknown option"], "{text}");
}

/// As in the configuration of Synapse's Docker image.
#[test]
fn options_that_synapse_had_once_are_explained() {
    let found = report("web_client: False\nenable_group_creation: true\nuploads_path: /data/uploads\n");
    for option in ["web_client", "enable_group_creation", "uploads_path"] {
        assert!(found.warnings.iter().any(|warning| warning.option == option), "{found}");
    }
    assert!(found.is_clean(), "{found}");
}

#[test]
fn options_without_effect_are_listed_once_unless_they_change_nothing() {
    let found = report(
        "saml2_config: {idp_name: x}\ncas_config: {enabled: false}\nstats: {enabled: true}\n\
         event_cache_size: 5K\ngc_thresholds: [1, 2]\nrc_reports: {per_second: 1, burst_count: 5}\n",
    );
    let names =
        |list: &[super::super::Setting]| -> Vec<String> { list.iter().map(|setting| setting.option.clone()).collect() };
    assert_eq!(names(&found.not_in_effect), ["saml2_config", "cas_config"]);
    assert_eq!(names(&found.moot), ["gc_thresholds", "event_cache_size"]);
    assert!(!found.has_errors());
}

#[test]
fn a_name_set_twice_is_a_warning_and_the_last_counts() {
    let found = report("max_upload_size: 1M\nmax_upload_size: 2M\n");
    assert!(found.warnings.iter().any(|w| w.line == 3 && w.option == "max_upload_size"), "{found}");
    assert_eq!(config("max_upload_size: 1M\nmax_upload_size: 2M\n").media.max_upload_size, 2 << 20);
}

#[test]
fn old_forms_still_count() {
    let read = config(
        "use_presence: no\ndisable_registration: no\nregistration_requires_token: yes\nrc_messages_per_second: 4\n\
         rc_message_burst_count: 7\n",
    );
    assert_eq!(read.server.presence.enabled, PresenceMode::Disabled);
    assert!(read.registration.enable_registration);
    assert_eq!(read.ratelimits.rc_message, RateLimit::new(4.0, 7));
}

/// No content of a file causes a panic.
#[test]
fn broken_files_are_answered() {
    let random = crate::Random::seeded(11);
    let pieces = [
        "server_name: a\n",
        "listeners:\n",
        "  - port: 1\n",
        "    type: http\n",
        "*a",
        "&a ",
        "<<: ",
        "[",
        "]",
        "{",
        "}",
        "\t",
        "\r\n",
        "'",
        "\"",
        "\\x",
        "|",
        ">-\n",
        "---\n",
        "...\n",
        "!!str ",
        "!x ",
        "? ",
        ": ",
        "- ",
        "#",
        "%",
        "\u{feff}",
        "é",
        "0x",
        "1:2:3",
        "rc_login:\n",
        "  address: ",
        "database:\n",
        "~",
        "-",
        "+",
        ".5e-",
        "null",
    ];
    let bound = u64::try_from(pieces.len()).expect("small");
    for _ in 0..3_000 {
        let length = random.below(12) + 1;
        let text: String = (0..length).map(|_| pieces[usize::try_from(random.below(bound)).expect("small")]).collect();
        let _ = parse(&text);
    }
}
