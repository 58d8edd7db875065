//! A room with a user of another server, which takes note of what it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::put;
use parking_lot::Mutex;
use plexus_http::{JsonBody, Path};
use plexus_protocol::event::build::PduBuilder;
use plexus_protocol::id::{EventId, RoomId, ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_protocol::rules::RoomVersion;
use plexus_testkit::{Answer, AnyJson, Peer, TestServer, TestUser};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) const CLIENT: &str = "/_matrix/client/v3";

/// Another server with the user `bob`.
pub(crate) struct Away {
    pub peer: Peer,
    pub bob: String,
    seen: Arc<Seen>,
}

/// A transaction that was received.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub id: String,
    pub body: Value,
    /// Whether it was answered with 200.
    pub taken: bool,
}

#[derive(Default)]
struct Seen {
    transactions: Mutex<Vec<Transaction>>,
    more: Notify,
    failing: AtomicBool,
    refusing: Mutex<Option<Refusing>>,
}

/// The status with which a transaction is refused, if it is.
type Refusing = Box<dyn Fn(&Value) -> Option<StatusCode> + Send>;

impl Away {
    pub(crate) async fn start() -> Self {
        Self::answering(|_| Router::new()).await
    }

    /// As [`Self::start`]. Returns more.
    pub(crate) async fn answering(routes: impl FnOnce(&ServerName) -> Router) -> Self {
        let seen = Arc::new(Seen::default());
        let log = Arc::clone(&seen);
        let take = async move |Path(id): Path<String>, AnyJson(body): AnyJson| -> Response {
            let refusing = log.refusing.lock();
            let refused = if log.failing.load(Ordering::Acquire) {
                Some(StatusCode::INTERNAL_SERVER_ERROR)
            } else {
                refusing.as_ref().and_then(|refusing| refusing(&body))
            };
            drop(refusing);
            let taken = refused.is_none();
            log.transactions.lock().push(Transaction { id, body, taken });
            log.more.notify_waiters();
            match refused {
                None => JsonBody(json!({ "pdus": {} })).into_response(),
                Some(StatusCode::OK) => "<html></html>".into_response(),
                Some(status) => (status, r#"{"errcode":"M_UNKNOWN","error":""}"#).into_response(),
            }
        };
        let routes = |name: &ServerName| routes(name).route("/_matrix/federation/v1/send/{txn_id}", put(take));
        let peer = Peer::answering(routes).await;
        Self { bob: peer.user("bob"), peer, seen }
    }

    /// From now on transactions are answered with 500, or taken again.
    pub(crate) fn fail(&self, failing: bool) {
        self.seen.failing.store(failing, Ordering::Release);
    }

    /// From now on transactions are refused with the status that `refusing` returns for their body, if any; 200 stands
    /// for a page of HTML.
    pub(crate) fn refuse(&self, refusing: impl Fn(&Value) -> Option<StatusCode> + Send + 'static) {
        *self.seen.refusing.lock() = Some(Box::new(refusing));
    }

    /// Waits until the transactions so far satisfy `enough`. Returns them.
    pub(crate) async fn until(&self, enough: impl Fn(&[Transaction]) -> bool) -> Vec<Transaction> {
        loop {
            let more = self.seen.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            let so_far = self.seen.transactions.lock().clone();
            if enough(&so_far) {
                return so_far;
            }
            more.await;
        }
    }

    /// Waits for an EDU of a type that `wanted` accepts. Returns its content.
    pub(crate) async fn edu(&self, edu_type: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = |transactions: &[Transaction]| {
            let edus = transactions.iter().filter(|it| it.taken).flat_map(|it| it.body["edus"].as_array().unwrap());
            let mut contents = edus.filter(|edu| edu["edu_type"] == edu_type).map(|edu| edu["content"].clone());
            contents.find(|content| wanted(content))
        };
        find(&self.until(|transactions| find(transactions).is_some()).await).unwrap()
    }

    /// Returns the bodies of the accepted messages, in order, once there are `count`.
    pub(crate) async fn messages(&self, count: usize) -> Vec<String> {
        bodies(&self.until(|transactions| bodies(transactions).len() >= count).await)
    }

    /// Sends a transaction.
    pub(crate) async fn send(&self, server: &TestServer, id: &str, pdus: Vec<Value>, edus: Vec<Value>) -> Answer {
        let body = json!({ "origin": self.peer.name().as_str(), "origin_server_ts": 1, "pdus": pdus, "edus": edus });
        self.peer.put(server, &format!("/_matrix/federation/v1/send/{id}"), body).await
    }

    /// A public room of `alice`'s, joined by Bob.
    pub(crate) async fn room(&self, server: &TestServer, alice: &TestUser) -> String {
        let encryption = json!({ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } });
        let body = json!({ "preset": "public_chat", "room_version": "11", "initial_state": [encryption] });
        let created = server.post(&format!("{CLIENT}/createRoom"), &alice.token, body).await;
        let room = created.ok()["room_id"].as_str().unwrap().to_owned();
        self.member(server, alice, &room, "join").await;
        room
    }

    /// Sets Bob's membership by an event that Bob's server sends, and waits until Alice sees it.
    pub(crate) async fn member(&self, server: &TestServer, alice: &TestUser, room: &str, membership: &str) {
        let path = format!("{CLIENT}/rooms/{room}");
        let state = server.get(&format!("{path}/state"), &alice.token).await.ok().clone();
        let id = |event: &Value| EventId::try_from(event["event_id"].as_str().unwrap()).unwrap();
        let named = |event_type: &str, key: &str| {
            let mut events = state.as_array().unwrap().iter();
            events.find(|event| event["type"] == event_type && event["state_key"] == key).map(id)
        };
        let auth = [
            named("m.room.create", ""),
            named("m.room.join_rules", "").filter(|_| membership == "join"),
            named("m.room.power_levels", ""),
            named("m.room.member", &self.bob),
        ];
        let newest = server.get(&format!("{path}/messages?dir=b&limit=1"), &alice.token).await.ok().clone();
        let join = PduBuilder {
            room_id: Some(RoomId::try_from(room).unwrap()),
            sender: UserId::try_from(self.bob.as_str()).unwrap(),
            event_type: "m.room.member".to_owned(),
            state_key: Some(self.bob.clone()),
            content: Object::from([("membership", membership)]),
            unsigned: None,
            redacts: None,
            prev_events: vec![id(&newest["chunk"][0])],
            auth_events: auth.into_iter().flatten().collect(),
            depth: 100,
            origin_server_ts: 1_700_000_000_000,
        };
        let join = join.build(RoomVersion::V11, self.peer.key(), self.peer.name()).unwrap();
        let since = server.get(&format!("{CLIENT}/sync"), &alice.token).await.ok()["next_batch"].clone();
        let sent = self
            .send(
                server,
                join.event_id().as_str().trim_start_matches('$'),
                vec![serde_json::from_str(join.json()).unwrap()],
                Vec::new(),
            )
            .await;
        assert_eq!(sent.ok()["pdus"][join.event_id().as_str()], json!({}));
        synced(server, alice, since.as_str().unwrap(), |answer| {
            let timeline = answer["rooms"]["join"][room]["timeline"]["events"].as_array();
            timeline.is_some_and(|events| events.iter().any(|event| event["state_key"] == self.bob.as_str()))
        })
        .await;
    }
}

/// The bodies of the messages in transactions that were taken.
pub(crate) fn bodies(transactions: &[Transaction]) -> Vec<String> {
    let taken = transactions.iter().filter(|transaction| transaction.taken);
    let pdus = taken.flat_map(|transaction| transaction.body["pdus"].as_array().unwrap());
    pdus.filter_map(|pdu| Some(pdu["content"]["body"].as_str()?.to_owned())).collect()
}

/// Syncs from `since` on until an answer satisfies `enough`. Returns that.
pub(crate) async fn synced(
    server: &TestServer,
    user: &TestUser,
    since: &str,
    enough: impl Fn(&Value) -> bool,
) -> Value {
    let mut since = since.to_owned();
    loop {
        let answer = server.get(&format!("{CLIENT}/sync?since={since}&timeout=30000"), &user.token).await.ok().clone();
        if enough(&answer) {
            return answer;
        }
        since = answer["next_batch"].as_str().unwrap().to_owned();
    }
}

/// Says something.
pub(crate) async fn say(server: &TestServer, user: &TestUser, room: &str, body: &str) -> String {
    let path = format!("{CLIENT}/rooms/{room}/send/m.room.message/{body}");
    let sent = server.put(&path, &user.token, json!({ "msgtype": "m.text", "body": body })).await;
    sent.ok()["event_id"].as_str().unwrap().to_owned()
}
