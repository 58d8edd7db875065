use super::*;

mod acts;
mod docs;
mod mistakes;
mod names;
mod refused;
mod values;
mod written;

#[test]
fn a_name_is_enough() {
    let config = parse("server_name: example.com\n").expect("valid");
    assert_eq!(config.server.server_name, "example.com");
    assert_eq!(config.server.base_url(), "https://example.com/");
    assert_eq!(config.ratelimits.rc_message, RateLimit::new(0.2, 10));
    assert_eq!(config.signing_key_path(), std::path::Path::new("example.com.signing.key"));
}

#[test]
fn what_is_generated_is_valid_and_wholly_known() {
    let folder = tempfile("generate");
    let new = Generate {
        server_name: "example.com:8448",
        report_stats: false,
        config_dir: &folder,
        data_dir: &folder.join("data"),
        port: 8048,
    };
    let text = generate(&new, &crate::Random::seeded(1));
    let path = folder.join("homeserver.yaml");
    std::fs::write(&path, &text).expect("writable");
    let loaded = load(std::slice::from_ref(&folder), Options::default()).expect("valid");
    assert!(loaded.report.unknown.is_empty(), "{}", loaded.report);
    assert!(loaded.report.warnings.is_empty(), "{}", loaded.report);
    let config = loaded.config;
    assert_eq!(config.server.server_name, "example.com:8448");
    assert_eq!(config.signing_key_path(), folder.join("example.com:8448.signing.key"));
    assert_eq!(config.server.listeners.len(), 1);
    assert_eq!(config.server.listeners[0].port, Some(8048));
    assert!(config.server.listeners[0].serves(ResourceName::Federation));
    let secret = config.api.macaroon_secret_key.expect("generated");
    assert_eq!(secret.expose().len(), 50);
    std::fs::remove_dir_all(folder).expect("removable");
}

/// A new folder for one test.
fn tempfile(name: &str) -> PathBuf {
    let name = format!("plexus-config-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}
