//! Whole responses, compared with those in `snapshots/*.snap`. Both databases give the same.
//!
//! `INSTA_UPDATE=always cargo test -p plexus-server --test it snapshots::` writes them again.

mod errors;
mod federation;
mod refusals;
mod rooms;
mod sync;

use http::Method;
use plexus_base::Clock;
use plexus_testkit::places;
use plexus_testkit::server::{Answer, TestServer};
use regex::{Captures, Regex};
use serde_json::{Value, json};

/// The time at which everything happens, in Unix ms.
const NOW_MS: u64 = 1_700_000_000_000;

/// A server on each database, on which no time passes.
async fn servers(config: &str) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for place in places() {
        servers.push(TestServer::on(place).clock(Clock::manual(NOW_MS)).config(config).start().await);
    }
    servers
}

/// Compares responses with `snapshots/<name>.snap`: a title each, with the status and the body.
struct Snapshot {
    name: &'static str,
    text: String,
    /// Names that differ from run to run, and what stands for them.
    names: Vec<(String, &'static str)>,
}

impl Snapshot {
    fn new(name: &'static str) -> Self {
        Self { name, text: String::new(), names: Vec::new() }
    }

    /// The same, with `name` instead of a name that differs from run to run.
    fn naming(mut self, varying: &str, name: &'static str) -> Self {
        self.names.push((varying.to_owned(), name));
        self
    }

    /// Adds a response.
    fn add(&mut self, title: &str, answer: &Answer) {
        self.add_body(title, answer.status, &answer.body);
    }

    fn add_body(&mut self, title: &str, status: u16, body: &Value) {
        let body = serde_json::to_string_pretty(&with_sorted_state(body)).expect("JSON can be written");
        self.text.push_str(&format!("# {title}\n{status} {body}\n\n"));
    }

    /// Fails when the responses are not those of the snapshot.
    fn assert(self) {
        let names = self.names.iter().fold(self.text, |text, (varying, name)| text.replace(varying, name));
        let text = stable(&names);
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(self.name, text));
    }
}

/// `text` without what differs from run to run: ids are numbered in the order in which they occur.
fn stable(text: &str) -> String {
    let text = numbered(text, r"\$[\w-]{43}", "$event-");
    let text = numbered(&text, r"!(?:[\w-]{43}|[A-Za-z]{18}:test\.example)", "!room-");
    let mut text = text;
    for (varying, fixed) in [
        (r#""(next_batch|prev_batch|start|end)": "[^"]+""#, r#""$1": "<token>""#),
        (r#""ed25519:[\w]+": "[\w+/]{86}""#, r#""ed25519:<key>": "<signature>""#),
        (r#""sha256": "[\w+/]{43}""#, r#""sha256": "<hash>""#),
    ] {
        text = Regex::new(varying).expect("a regular expression").replace_all(&text, fixed).into_owned();
    }
    text
}

/// `text` with everything that matches `pattern` replaced by `name` and a number.
fn numbered(text: &str, pattern: &str, name: &str) -> String {
    let mut seen: Vec<String> = Vec::new();
    let pattern = Regex::new(pattern).expect("a regular expression");
    let replace = |found: &Captures<'_>| {
        let found = &found[0];
        let number = seen.iter().position(|it| it == found).unwrap_or_else(|| {
            seen.push(found.to_owned());
            seen.len() - 1
        });
        format!("{name}{}", number + 1)
    };
    pattern.replace_all(text, replace).into_owned()
}

/// The body with the events of each `state` sorted.
fn with_sorted_state(body: &Value) -> Value {
    match body {
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| match value {
                Value::Object(state) if name == "state" && state.contains_key("events") => {
                    (name.clone(), json!({ "events": sorted(&state["events"]) }))
                }
                _ => (name.clone(), with_sorted_state(value)),
            };
            Value::Object(members.iter().map(member).collect())
        }
        Value::Array(items) => items.iter().map(with_sorted_state).collect(),
        _ => body.clone(),
    }
}

/// The events of `list` in the order of their types and state keys: the specification gives them none.
fn sorted(list: &Value) -> Value {
    let mut events = list.as_array().cloned().unwrap_or_default();
    let key = |event: &Value| ["type", "state_key", "origin_server_ts"].map(|key| event[key].to_string());
    events.sort_by_key(key);
    json!(events)
}

/// Sends a request whose body is text.
async fn send_text(server: &TestServer, method: Method, path: &str, token: Option<&str>, body: &'static str) -> Answer {
    server.send(method, path, token, &[("Content-Type", "application/json")], body.into()).await
}

#[test]
fn what_varies_is_replaced() {
    let id = |c: &str| format!("${}", c.repeat(43));
    let text = format!(r#"{} {} {} "next_batch": "s1_2" "sha256": "{}""#, id("a"), id("b"), id("a"), "x".repeat(43));
    let expected = r#"$event-1 $event-2 $event-1 "next_batch": "<token>" "sha256": "<hash>""#;
    assert_eq!(stable(&text), expected);
}
