//! A real Synapse as the other server: what users of both see of each other, through plain clients.

mod absence;
mod ephemeral;
mod history;
mod media;
mod membership;
mod rooms;
mod values;
mod versions;

use std::collections::BTreeSet;
use std::time::Duration;

use plexus_testkit::{Answer, Client, Synapse, TestPlace, TestServer, TestUser, unique_name};
use serde_json::{Value, json};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// What /sync shows of each room.
const FILTER: &str = "%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:100%7D%7D%7D";

/// A user of either server, with a client.
#[derive(Clone)]
pub(crate) struct Member {
    client: Client,
    pub(crate) user: TestUser,
    /// The name of the user's server.
    server: String,
}

impl Member {
    pub(crate) async fn register(client: &Client, server: &str, name: &str) -> Self {
        let user = client.register(&format!("{name}-{}", unique_name())).await;
        Self { client: client.clone(), user, server: server.to_owned() }
    }

    pub(crate) fn id(&self) -> &str {
        &self.user.id
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client.get(&format!("/_matrix/client/{path}"), &self.user.token).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.client.post(&format!("/_matrix/client/{path}"), &self.user.token, body).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.client.put(&format!("/_matrix/client/{path}"), &self.user.token, body).await
    }

    async fn create_room(&self, options: Value) -> String {
        text(&self.post("v3/createRoom", options).await.ok()["room_id"])
    }

    /// Joins a room, by its id or alias, that the other user is in.
    async fn join(&self, room: &str, other: &Self) {
        let room = room.replace('#', "%23");
        self.post(&format!("v3/join/{room}?via={}", other.server), json!({})).await.ok();
    }

    /// Invites, kicks, bans or unbans the other user.
    async fn act(&self, action: &str, room: &str, other: &Self) {
        self.post(&format!("v3/rooms/{room}/{action}"), json!({ "user_id": other.id() })).await.ok();
    }

    async fn leave(&self, room: &str) {
        self.post(&format!("v3/rooms/{room}/leave"), json!({})).await.ok();
    }

    /// Sends a message, and returns its id.
    async fn say(&self, room: &str, body: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": body });
        let path = format!("v3/rooms/{room}/send/m.room.message/{}", unique_name());
        text(&self.put(&path, content).await.ok()["event_id"])
    }

    async fn set_state(&self, room: &str, kind: &str, content: Value) -> String {
        text(&self.put(&format!("v3/rooms/{room}/state/{kind}"), content).await.ok()["event_id"])
    }

    /// Syncs until `look` finds something in an answer, of which the first is about everything.
    async fn sync_until<T>(&self, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        self.sync_from(String::new(), what, look).await
    }

    /// The query that has a sync tell what happens from now on.
    async fn now(&self) -> String {
        let answer = self.get(&format!("v3/sync?filter={FILTER}")).await;
        format!("&since={}", text(&answer.ok()["next_batch"]))
    }

    /// As [`Self::sync_until`], with only what happened since [`Self::now`].
    async fn sync_from<T>(&self, mut since: String, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        let search = async {
            loop {
                let path = format!("v3/sync?filter={FILTER}&timeout=30000{since}");
                let answer = self.get(&path).await;
                if let Some(found) = look(answer.ok()) {
                    return found;
                }
                since = format!("&since={}", text(&answer.body["next_batch"]));
            }
        };
        let found = plexus_testkit::within(PATIENCE, search).await;
        found.unwrap_or_else(|_| panic!("{} waited for {what}", self.id()))
    }

    /// Waits for an event in a room the user is in.
    async fn sees(&self, what: &str, room: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.sync_until(what, |sync| {
            let room = &sync["rooms"]["join"][room];
            let events = |part: &'static str| room[part]["events"].as_array().into_iter().flatten();
            events("timeline").chain(events("state")).chain(events("state_after")).find(|event| wanted(event)).cloned()
        })
        .await
    }

    async fn hears(&self, room: &str, event_id: &str) -> Value {
        self.sees(event_id, room, |event| event["event_id"] == event_id).await
    }

    /// Waits for the other user to have that membership.
    async fn sees_member(&self, room: &str, other: &Self, membership: &str) -> Value {
        let wanted = |event: &Value| {
            event["type"] == "m.room.member"
                && event["state_key"] == other.id()
                && event["content"]["membership"] == membership
        };
        self.sees(&format!("{membership} of {}", other.id()), room, wanted).await
    }

    /// Waits for the room to be in that part of the user's /sync: `invite`, `join`, `leave`, `knock`.
    async fn finds(&self, part: &str, room: &str) {
        let look = |sync: &Value| sync["rooms"][part].get(room).map(|_| ());
        self.sync_until(&format!("{room} in {part}"), look).await;
    }

    /// Types, state keys and ids of the room's state.
    async fn state(&self, room: &str) -> BTreeSet<[String; 3]> {
        let answer = self.get(&format!("v3/rooms/{room}/state")).await;
        let events = answer.ok().as_array().expect("the state is a list");
        events.iter().map(|event| ["type", "state_key", "event_id"].map(|field| text(&event[field]))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text")).to_owned()
}

/// A user on Plexus and one on Synapse; `None` when that is not installed.
async fn pair(place: TestPlace) -> Option<(TestServer, [Member; 2])> {
    let synapse = Synapse::shared().await?;
    let plexus = TestServer::on(place).federating().start().await;
    let paul = Member::register(&plexus, plexus.name(), "paul").await;
    let sara = Member::register(&synapse, &synapse.name(), "sara").await;
    Some((plexus, [paul, sara]))
}

/// Runs a test for a user of Plexus with one of Synapse, and for one of Synapse with one of Plexus.
async fn both_ways(test: impl AsyncFn(&Member, &Member)) {
    let Some((_plexus, [paul, sara])) = pair(TestPlace::sqlite()).await else { return };
    test(&paul, &sara).await;
    test(&sara, &paul).await;
}

/// A public room of the first user, which the second joined.
pub(crate) async fn shared_room(ann: &Member, ben: &Member) -> String {
    let room = ann.create_room(json!({ "preset": "public_chat" })).await;
    ben.join(&room, ann).await;
    room
}

/// Has each say something that the other hears, after which they see the same state.
pub(crate) async fn converse(room: &str, ann: &Member, ben: &Member) {
    for (speaker, listener) in [(ann, ben), (ben, ann), (ann, ben)] {
        let said = speaker.say(room, "is this thing on?").await;
        let heard = listener.hears(room, &said).await;
        assert_eq!(heard["content"]["body"], "is this thing on?");
        assert_eq!(heard["sender"], speaker.id());
    }
    assert_eq!(ann.state(room).await, ben.state(room).await, "{room}");
}
