use super::*;
use crate::config::parse;

fn hooks(yaml: &str) -> Result<Vec<PolicyHookSettings>, String> {
    let config = parse(&format!("server_name: a.example\n{yaml}\n")).map_err(|report| report.to_string())?;
    config.policy_hooks()
}

#[test]
fn the_configuration_of_the_module_is_read_as_it_stands() {
    let yaml = "
modules:
  - module: synapse_http_antispam.HTTPAntispam
    config:
      base_url: http://localhost:8080/api/1/spam_check
      authorization: random string
      do_ping: true
      enabled_callbacks:
        - user_may_invite
        - user_may_join_room
        - check_event_for_spam
      async:
        user_may_join_room: true
      fail_open:
        user_may_invite: true
        check_event_for_spam: false
        should_drop_federated_event: false";
    let [hook] = &hooks(yaml).expect("read")[..] else { panic!("one hook") };
    assert_eq!(hook.base_url, "http://localhost:8080/api/1/spam_check");
    assert_eq!(hook.authorization.as_ref().map(Secret::expose), Some("random string"));
    use PolicyCallback::{CheckEventForSpam, UserMayInvite, UserMayJoinRoom};
    assert_eq!(hook.callbacks, [UserMayInvite, UserMayJoinRoom, CheckEventForSpam]);
    assert_eq!((&hook.in_background[..], &hook.fail_open[..]), (&[UserMayJoinRoom][..], &[UserMayInvite][..]));
    assert!(hook.do_ping);
    assert_eq!(hook.timeout, DEFAULT_TIMEOUT);
}

#[test]
fn the_module_asks_everything_by_default_and_lets_events_pass() {
    let yaml = "modules: [{module: synapse_http_antispam.HTTPAntispam, config: {base_url: 'https://h/'}}]";
    let [hook] = &hooks(yaml).expect("read")[..] else { panic!("one hook") };
    assert_eq!(hook.callbacks, ANTISPAM_CALLBACKS);
    assert_eq!((hook.base_url.as_str(), &hook.fail_open[..]), ("https://h", &OPEN_BY_DEFAULT[..]));
    assert!(hook.authorization.is_none() && !hook.do_ping && hook.in_background.is_empty());
}

#[test]
fn a_token_can_be_in_a_file() {
    let file = std::env::temp_dir().join(format!("plexus-policy-hook-{}", std::process::id()));
    fs::write(&file, "secret\n").expect("written");
    for yaml in [
        format!(
            "policy_hooks: [{{base_url: 'http://h', authorization_path: '{}', enabled_callbacks: [user_may_invite]}}]",
            file.display()
        ),
        format!(
            "modules: [{{module: synapse_http_antispam.HTTPAntispam, config: {{base_url: 'http://h', authorization_path: '{}'}}}}]",
            file.display()
        ),
    ] {
        let [hook] = &hooks(&yaml).expect("read")[..] else { panic!("one hook") };
        assert_eq!(hook.authorization.as_ref().map(Secret::expose), Some("secret"));
    }
    fs::remove_file(file).expect("removed");
}

#[test]
fn what_cannot_be_used_is_an_error_with_its_option() {
    let module =
        |config: &str| format!("modules: [{{module: synapse_http_antispam.HTTPAntispam, config: {{{config}}}}}]");
    let own = |config: &str| format!("policy_hooks: [{{{config}}}]");
    for (yaml, reason) in [
        ("modules: [{module: a.B}]".to_owned(), "modules[0].module: \"a.B\" is not supported"),
        (module("base_urls: x"), "modules[0].config: base_urls is no parameter"),
        (module("do_ping: true"), "base_url is required"),
        (module("base_url: localhost"), "begins with http://"),
        (module("base_url: 'http://h', enabled_callbacks: [check_event_allowed]"), "is no callback of"),
        (module("base_url: 'http://h', async: {user_may: true}"), "\"user_may\" is no callback"),
        (module("base_url: 'http://h', fail_open: true"), "fail_open: allowed is an object"),
        (module("base_url: 'http://h', authorization_path: /nowhere"), "cannot read /nowhere"),
        (own("base_url: 'http://h'"), "policy_hooks[0].enabled_callbacks"),
        (own("base_url: 'http://h?a=b', enabled_callbacks: [user_may_invite]"), "policy_hooks[0].base_url"),
        (own("base_url: 'http://h', enabled_callbacks: [user_may_invite], timeout: 5m"), "policy_hooks[0].timeout"),
        (own("base_url: 'http://h', enabled_callbacks: [fly]"), "policy_hooks[0].enabled_callbacks"),
    ] {
        let error = hooks(&yaml).expect_err(&yaml);
        assert!(error.contains(reason), "{yaml}: {error}");
    }
}

#[test]
fn every_callback_is_listed() {
    for (at, callback) in PolicyCallback::ALL.into_iter().enumerate() {
        assert_eq!(callback as usize, at);
        assert_eq!(PolicyCallback::named(callback.as_str()), Ok(callback));
    }
}
