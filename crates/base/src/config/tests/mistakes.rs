//! The messages about mistakes in values.

use super::super::parse;
use super::values::errors;

#[test]
fn mistakes_are_named_with_line_option_and_what_is_allowed() {
    let cases = [
        (
            "max_upload_size: lots\n",
            "homeserver.yaml:2: max_upload_size: found the string \"lots\"; allowed is a size: a whole number with or \
             without K, M, G or T",
        ),
        (
            "listeners:\n  - port: 70000\n    type: http\n",
            "homeserver.yaml:3: listeners[0].port: found the number 70000; allowed is an integer from 0 to 65535",
        ),
        (
            "listeners:\n  - port: 80\n",
            "homeserver.yaml:3: listeners[0].type: required, but not set; allowed is one of \"http\", \"manhole\", \
             \"metrics\"",
        ),
        (
            "listeners:\n  - port: 80\n    type: tcp\n",
            "homeserver.yaml:4: listeners[0].type: found the string \"tcp\"; allowed is one of \"http\", \"manhole\", \
             \"metrics\"",
        ),
        (
            "server_name: no\n",
            "homeserver.yaml:2: server_name: found no, which YAML reads as the boolean false; allowed is a string: put \
             it in quotes",
        ),
        (
            "rc_message: {per_second: 1e6}\n",
            "homeserver.yaml:2: rc_message.per_second: found the string \"1e6\"; allowed is a number: without quotes, \
             and with a dot and a sign when it has an exponent, as in 1.0e+6",
        ),
        (
            "presence: on\n",
            "homeserver.yaml:2: presence: found on, which YAML reads as the boolean true; allowed is an object",
        ),
        (
            "public_baseurl: matrix.example.com\n",
            "homeserver.yaml:2: public_baseurl: found \"matrix.example.com\"; allowed is an http or https address \
             without query",
        ),
        (
            "default_room_version: 13\n",
            "homeserver.yaml:2: default_room_version: found \"13\"; allowed is a room version from 1 to 12",
        ),
        (
            "ip_range_blacklist: [10.0.0.0/33]\n",
            "homeserver.yaml:2: ip_range_blacklist[0]: found the string \"10.0.0.0/33\"; allowed is an IP address or \
             range such as 10.0.0.0/8",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn options_that_need_another_one_are_refused_without_it() {
    let cases = [
        (
            "url_preview_enabled: true\n",
            "homeserver.yaml: url_preview_ip_range_blacklist: required when url_preview_enabled is true, but not set; \
             otherwise users could look into this server's network",
        ),
        (
            "url_preview_url_blacklist: [{netloc: '*.example', path: '^('}]\n",
            "homeserver.yaml:2: url_preview_url_blacklist[0].path: not a regular expression: error: unclosed group",
        ),
        (
            "enable_registration: yes\n",
            "homeserver.yaml:2: enable_registration: true without any verification, which spammers look for; allowed \
             is true together with registration_requires_token, enable_registration_captcha or \
             registrations_require_3pid, or, for a server that strangers cannot reach, with \
             enable_registration_without_verification",
        ),
        ("bind_port: 8448\n", "homeserver.yaml:2: bind_port: replaced by listeners; describe the port there"),
        (
            "account_threepid_delegates: {email: https://example.com}\n",
            "homeserver.yaml:2: account_threepid_delegates.email: identity servers no longer validate mail addresses; \
             set email instead",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = errors("max_upload_size: x\nenable_registration: 5\nrc_login: {address: 3}\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    let report = parse("report_stats: yes\n").expect_err("no server_name");
    assert_eq!(report.errors[0].to_string(), "homeserver.yaml: server_name: required, but not set; allowed is string");
}
