//! Threads.

mod get_thread_subscriptions_changes;
mod subscribe_thread;

use plexus_testkit::server::{TestServer, TestUser};
use serde_json::{Value, json};

use crate::client::send;

/// The option that lets users subscribe to threads.
pub(crate) const ENABLED: &str = "experimental_features: {msc4306_enabled: true}";

pub(crate) fn subscription(room: &str, root: &str) -> String {
    format!("/_matrix/client/unstable/io.element.msc4306/rooms/{room}/thread/{root}/subscription")
}

/// Replies in a thread; returns the id of the reply. `more` is further content.
pub(crate) async fn reply(server: &TestServer, user: &TestUser, room: &str, root: &str, more: Value) -> String {
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let mut content = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": relation });
    if let (Some(content), Value::Object(more)) = (content.as_object_mut(), more) {
        content.extend(more);
    }
    let sent = send(server, user, room, "m.room.message", content).await;
    sent.ok()["event_id"].as_str().expect("an id").to_owned()
}
