//! Real bridges, unmodified, as `tests/clients/install.sh` installs them, do their work.

mod heisenbridge;
mod irc_server;
mod mautrix;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::clients::scripts;
use crate::kill::{call, text};

/// How long something that a bridge does may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the Python of the bridges, if `tests/clients/install.sh` has been run; otherwise `None`, said aloud.
fn python(what: &str) -> Option<PathBuf> {
    let python = Some(scripts().join("bridges/.venv/bin/python")).filter(|python| python.exists());
    if python.is_none() {
        plexus_testkit::skip(what, &"tests/clients/install.sh has not been run");
    }
    python
}

/// A running bridge. If the test fails, what it has printed is printed.
struct Bridge {
    _process: Child,
    log: PathBuf,
}

impl Bridge {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        let process = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("the bridge does not start: {error}"));
        Self { _process: process, log }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test fails anyway.
            drop(std::io::stderr().write_all(&std::fs::read(&self.log).unwrap_or_default()));
        }
    }
}

/// A user with a client that syncs.
struct Person {
    url: String,
    id: String,
    token: String,
    since: String,
    /// All events that the syncs have brought, each with its `room_id`.
    seen: Vec<Value>,
}

impl Person {
    /// Registers a user. `url` is that of the client-server API.
    async fn register(url: &str, name: &str) -> Self {
        let body = json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } });
        let made = call(Method::POST, format!("{url}/register"), "", body).await.unwrap();
        let (id, token) = (text(&made["user_id"]), text(&made["access_token"]));
        Self { url: url.to_owned(), id, token, since: String::new(), seen: Vec::new() }
    }

    async fn sync(&mut self) {
        let Self { url, since, token, .. } = self;
        let path = format!("{url}/sync?timeout=5000{since}");
        let answer = call(Method::GET, path, token, json!({})).await.unwrap();
        self.since = format!("&since={}", text(&answer["next_batch"]));
        for (section, parts) in
            [("invite", vec!["invite_state"]), ("join", vec!["state", "timeline"]), ("leave", vec!["timeline"])]
        {
            for (room, data) in answer["rooms"][section].as_object().into_iter().flatten() {
                for event in parts.iter().filter_map(|part| data[part]["events"].as_array()).flatten() {
                    let mut event = event.clone();
                    event["room_id"] = room.as_str().into();
                    self.seen.push(event);
                }
            }
        }
    }

    /// Syncs until an event comes that is looked for, and returns it. Also finds one that has come already.
    async fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let search = async {
            loop {
                if let Some(event) = self.seen.iter().find(|event| is_it(event)) {
                    return event.clone();
                }
                self.sync().await;
            }
        };
        match plexus_testkit::within(PATIENCE, search).await {
            Ok(event) => event,
            Err(_) => panic!("{what} has not come, but {:#?}", self.seen),
        }
    }

    async fn wait_for_body(&mut self, sender: &str, body: &str) -> Value {
        self.wait_for(body, |event| {
            event["sender"] == sender && event["content"]["body"].as_str().is_some_and(|found| found.contains(body))
        })
        .await
    }

    /// Waits for an invite to a room other than these, and accepts it. Returns the room.
    async fn accept_invite(&mut self, except: &[&str]) -> String {
        let own = self.id.clone();
        let is_invite = |event: &Value| {
            event["content"]["membership"] == "invite"
                && event["state_key"] == own.as_str()
                && !except.contains(&event["room_id"].as_str().unwrap_or_default())
        };
        let room = text(&self.wait_for("an invite", is_invite).await["room_id"]);
        call(Method::POST, format!("{}/join/{room}", self.url), &self.token, json!({})).await.unwrap();
        room
    }

    async fn say(&self, room: &str, body: &str) {
        let path = format!("{}/rooms/{room}/send/m.room.message/{}", self.url, plexus_testkit::unique_name());
        call(Method::PUT, path, &self.token, json!({ "msgtype": "m.text", "body": body })).await.unwrap();
    }
}
