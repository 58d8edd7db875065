//! Server ACLs: which servers may take part in a room
//! ([`m.room.server_acl`](https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl)).

use std::net::Ipv4Addr;

use crate::{
    glob::Pattern,
    id::{ServerName, split_host_port},
    json::{Object, Value},
};

/// The parsed `m.room.server_acl` of a room. A room without the event allows every server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAcl {
    allow_ip_literals: bool,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

impl ServerAcl {
    /// Reads the content of the event. Members that are missing or of the wrong type have their defaults: no allowed
    /// servers, no denied servers, IP literals allowed.
    pub fn from_content(content: &Object) -> Self {
        let patterns = |key| {
            let entries = content.get_array(key).unwrap_or_default();
            entries.iter().filter_map(Value::as_str).map(Pattern::whole).collect()
        };
        Self {
            allow_ip_literals: content.get_bool("allow_ip_literals").unwrap_or(true),
            allow: patterns("allow"),
            deny: patterns("deny"),
        }
    }

    /// Whether `server` may take part. Its port is ignored.
    pub fn allows(&self, server: &ServerName) -> bool {
        let (host, _) = split_host_port(server.as_str());
        if !self.allow_ip_literals && (host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()) {
            return false;
        }
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(host));
        !matches(&self.deny) && matches(&self.allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(content: &str, server: &str) -> bool {
        ServerAcl::from_content(&Object::parse(content).unwrap()).allows(&server.parse().unwrap())
    }

    #[test]
    fn order_of_the_rules() {
        let acl = r#"{"allow":["*"],"deny":["*.evil.com","evil.com"],"allow_ip_literals":false}"#;
        for (server, expected) in [
            ("good.org", true),
            ("evil.com", false),
            ("EVIL.com:8448", false),
            ("www.evil.com:1234", false),
            ("notevil.com", true),
            ("1.2.3.4", false),
            ("1.2.3.4:80", false),
            ("[::1]:80", false),
            ("1.2.3", true),
            ("1.2.3.4.example", true),
        ] {
            assert_eq!(allowed(acl, server), expected, "{server}");
        }
    }

    #[test]
    fn globs() {
        let acl = r#"{"allow":["*.example.org","h?st","[2001:*]"]}"#;
        for (server, expected) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            ("axexample.org", false),
            ("host", true),
            ("hst", false),
            ("hoost", false),
            ("[2001:db8::1]:8448", true),
            ("[fe80::1]", false),
        ] {
            assert_eq!(allowed(acl, server), expected, "{server}");
        }
    }

    #[test]
    fn defaults_and_wrong_types() {
        assert!(!allowed("{}", "good.org"));
        assert!(!allowed(r#"{"allow":"*"}"#, "good.org"));
        assert!(allowed(r#"{"allow":["*",1,null],"deny":"*"}"#, "good.org"));
        assert!(allowed(r#"{"allow":["*"],"allow_ip_literals":"no"}"#, "1.2.3.4"));
        assert!(allowed(r#"{"allow":["*"],"deny":[7]}"#, "good.org"));
    }
}
