use super::*;

#[test]
fn a_name_is_enough() {
    let config = parse("server_name: example.com\n").expect("valid");
    assert_eq!(config.server.server_name, "example.com");
    assert_eq!(config.server.base_url(), "https://example.com/");
    assert_eq!(config.ratelimits.rc_message, RateLimit::new(0.2, 10));
    assert_eq!(
        config.signing_key_path(),
        std::path::Path::new("example.com.signing.key")
    );
}
