//! Connections are opened in few places, so that one table decides what may be connected to, and how.

use crate::source::{Source, Token};

use super::{Rule, Violation};

/// Where connections may be opened, or names looked up: outgoing ones, the database's, the log's, and tools.
const ALLOWED: &[&str] = &[
    "crates/net/src/",
    "crates/store/src/db/",
    "crates/base/src/telemetry/syslog.rs",
    "crates/testkit/",
    "crates/bench/",
    "crates/xtask/",
];

/// What opens a connection to another machine: a type and one of its functions.
const OPENERS: &[(&str, &str)] = &[("TcpStream", "connect"), ("UdpSocket", "bind"), ("TcpSocket", "connect")];
/// What looks up a name.
const LOOKUPS: &[&str] = &["lookup_host", "to_socket_addrs"];

/// Adds the places of a source file that open connections and must not.
pub(super) fn check(source: &Source<'_>, found: &mut Vec<Violation>) {
    if source.is_test() || ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)) {
        return;
    }
    let tokens = source.tokens_without_tests();
    for (at, token) in tokens.iter().enumerate() {
        let opens = |(name, function): &(&str, &str)| token.is(name) && calls(&tokens[at + 1..], function);
        if OPENERS.iter().any(opens) || LOOKUPS.iter().any(|name| token.is(name)) {
            let message = format!("{} is used outside net", token.text);
            let path = source.path.to_owned();
            found.push(Violation { rule: Rule::Sockets, path, line: token.line, count: 1, message });
        }
    }
}

/// Whether `after` begins with `::function`.
fn calls(after: &[Token<'_>], function: &str) -> bool {
    let mut after = after.iter().skip_while(|token| token.is(":") || token.is("::"));
    after.next().is_some_and(|token| token.is(function))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::broken_lines;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        broken_lines(check, path, text)
    }

    #[test]
    fn connections_are_opened_where_they_may_be() {
        let text =
            "fn a() {\n TcpStream::connect(b);\n net::UdpSocket::bind(c);\n TcpStream::peek();\n lookup_host(d);\n}";
        assert_eq!(lines("crates/rooms/src/a.rs", text), [2, 3, 5]);
        assert!(lines("crates/net/src/a.rs", text).is_empty());
        assert!(lines("crates/server/tests/it/a.rs", text).is_empty());
        assert!(
            lines("crates/media/src/a.rs", "#[cfg(test)] mod tests { fn a() { TcpStream::connect(b); } }").is_empty()
        );
    }
}
