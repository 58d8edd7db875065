//! The path and query of a request, as they may be logged.
//!
//! Parameters hold access tokens, login tokens, session ids, passwords and addresses, and new endpoints add new names.
//! So only values are logged that are known to be harmless.

use std::borrow::Cow;

use http::Uri;

/// Stands for a value that is not logged.
const REDACTED: &str = "<redacted>";
/// The longest name of an unknown parameter that is logged: a secret without a name is longer.
const LONGEST_NAME: usize = 32;

/// Parameters whose values reveal nothing that can be used: of the specification's endpoints and of Synapse's admin
/// API.
const LOGGED: &[&str] = &[
    "action",
    "after",
    "alias",
    "animated",
    "archived",
    "at",
    "before",
    "before_ts",
    "deactivated",
    "destination",
    "dir",
    "event_id",
    "field",
    "filter",
    "format",
    "from",
    "full_state",
    "guests",
    "height",
    "include",
    "include_all_networks",
    "kind",
    "limit",
    "locked",
    "max_depth",
    "membership",
    "method",
    "minimum_valid_until_ts",
    "next_batch",
    "not_membership",
    "omit_members",
    "only",
    "order_by",
    "recurse",
    "room_alias",
    "room_id",
    "server",
    "server_name",
    "set_presence",
    "since",
    "size_gt",
    "suggested_only",
    "third_party_instance_id",
    "timeout",
    "timeout_ms",
    "to",
    "ts",
    "use_state_after",
    "user_id",
    "v",
    "ver",
    "version",
    "via",
    "width",
];

/// Path prefixes, not decoded, whose rest is a secret.
const SECRET_PATHS: &[&str] = &["/_synapse/admin/v1/registration_tokens/"];

/// Returns the path and query of `uri` without secrets.
pub(crate) fn loggable(uri: &Uri) -> String {
    let mut text = path(uri.path()).into_owned();
    for (at, pair) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if LOGGED.contains(&name) => text.push_str(pair),
            Some((name, _)) if is_name(name) => {
                text.push_str(name);
                text.push('=');
                text.push_str(REDACTED);
            }
            _ if LOGGED.contains(&pair) || pair.is_empty() => text.push_str(pair),
            _ => text.push_str(REDACTED),
        }
    }
    text
}

fn path(path: &str) -> Cow<'_, str> {
    for prefix in SECRET_PATHS {
        if path.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest != "new") {
            return Cow::Owned(format!("{prefix}{REDACTED}"));
        }
    }
    Cow::Borrowed(path)
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(uri: &str) -> String {
        loggable(&uri.parse().unwrap())
    }

    #[test]
    fn harmless_values_are_logged() {
        for uri in ["/_matrix/client/v3/sync?since=s1&timeout=30000&full_state", "/a?", "/a", "/a?via=b&via=c&dir=f"] {
            assert_eq!(logged(uri), uri);
        }
    }

    #[test]
    fn no_other_value_is() {
        let names = [
            "access_token",
            "token",
            "loginToken",
            "session",
            "password",
            "client_secret",
            "sid",
            "code",
            "state",
            "refresh_token",
            "next_link",
            "redirectUrl",
            "url",
            "address",
            "mac",
            "nonce",
            "SID",
            "Access_Token",
            "access%5Ftoken",
            "%74oken",
            "since%20",
            "what-comes-next",
        ];
        for name in names {
            assert_eq!(
                logged(&format!("/a?limit=1&{name}=SECRET&dir=b")),
                format!("/a?limit=1&{name}=<redacted>&dir=b")
            );
            assert_eq!(logged(&format!("/a?{name}=SECRET=SECRET")), format!("/a?{name}=<redacted>"));
        }
        for query in ["SECRET", "&SECRET", "=SECRET", "SECRET;token", "syt_SECRETSECRETSECRETSECRETSECRETSECRET="] {
            assert!(!logged(&format!("/a?{query}")).contains("SECRET"), "{query}");
        }
        assert_eq!(
            logged("/_synapse/admin/v1/registration_tokens/SECRET"),
            "/_synapse/admin/v1/registration_tokens/<redacted>"
        );
        assert_eq!(logged("/_synapse/admin/v1/registration_tokens/new"), "/_synapse/admin/v1/registration_tokens/new");
        assert_eq!(
            logged("/_synapse/admin/v1/registration_tokens?valid=1"),
            "/_synapse/admin/v1/registration_tokens?valid=<redacted>"
        );
    }
}
