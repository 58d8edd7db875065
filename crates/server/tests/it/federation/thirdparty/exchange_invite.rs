//! `PUT /exchange_third_party_invite/{room_id}`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use http::Method;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::json::Object;
use plexus_testkit::server::{Answer, TestServer, TestUser};
use plexus_testkit::{Client, Peer, TestPlace, places};
use serde_json::{Value, json};

use crate::client::{create, room_path};
use crate::federation::{membership, path};

/// An identity server: it knows who owns an address, and says whether its key is still good.
struct Identity {
    key: SigningKey,
    url: String,
    stands_by_its_key: Arc<AtomicBool>,
}

impl Identity {
    async fn start() -> Self {
        let key = SigningKey::generate(&[3; 32], "i_1");
        let stands_by_its_key = Arc::new(AtomicBool::new(true));
        let (public, stands) = (key.public_key_base64(), Arc::clone(&stands_by_its_key));
        let is_valid = async move |Query(asked): Query<std::collections::HashMap<String, String>>| {
            let valid = asked.get("public_key") == Some(&public) && stands.load(Ordering::Relaxed);
            json!({ "valid": valid }).to_string()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}/isvalid", listener.local_addr().expect("a bound socket has an address"));
        tokio::spawn(async { axum::serve(listener, Router::new().route("/isvalid", get(is_valid))).await });
        Self { key, url, stands_by_its_key }
    }

    /// Its word that `user` owns the address that was invited with `token`.
    fn word_for(&self, user: &str, token: &str) -> Value {
        let mut word = Object::from([("mxid", user), ("token", token)]);
        self.key.sign_object(&mut word, "identity.example").expect("it is canonical");
        serde_json::from_str(&word.to_json()).expect("it is JSON")
    }

    /// Alice invites an address.
    async fn invite(&self, server: &TestServer, alice: &TestUser, room: &str, token: &str) {
        let public_key = self.key.public_key_base64();
        let listed = json!([{ "public_key": public_key, "key_validity_url": self.url }]);
        let content = json!({
            "display_name": "b...@e...", "public_key": public_key, "key_validity_url": self.url, "public_keys": listed,
        });
        let path = room_path(room, &format!("state/m.room.third_party_invite/{token}"));
        server.put(&path, &alice.token, content).await.ok();
    }
}

/// What an identity server tells the owner's server.
fn bound(user: &str, room: &str, sender: &str, signed: Value) -> Value {
    let invite = json!({
        "medium": "email", "address": "bob@example.org", "mxid": user, "room_id": room, "sender": sender,
        "signed": signed,
    });
    json!({ "medium": "email", "address": "bob@example.org", "mxid": user, "invites": [invite] })
}

async fn tell(server: &Client, body: Value) -> Answer {
    server.request(Method::PUT, "/_matrix/federation/v1/3pid/onbind", None, Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_an_invited_address_is_invited() {
    for place in places() {
        let here = TestServer::on(place).federating().start().await;
        let there = TestServer::on(TestPlace::sqlite()).federating().start().await;
        let identity = Identity::start().await;
        let (alice, carol) = (here.register("alice").await, here.register("carol").await);
        let bob = there.register("bob").await;
        let room = create(&here, &alice, json!({ "name": "Addresses" })).await;
        for (server, user) in [(&there, &bob), (&here, &carol)] {
            let token = format!("for-{}", user.id.trim_start_matches('@').replace(':', "-"));
            identity.invite(&here, &alice, &room, &token).await;
            let listener = Client::new(format!("https://{}", server.name()));
            tell(&listener, bound(&user.id, &room, &alice.id, identity.word_for(&user.id, &token))).await.ok();
            let answer = here.get(&room_path(&room, &format!("state/m.room.member/{}", user.id)), &alice.token).await;
            assert_eq!(answer.ok()["membership"], "invite");
            assert_eq!(answer.ok()["third_party_invite"]["display_name"], "b...@e...");
            let sync = server.get("/_matrix/client/v3/sync", &user.token).await;
            assert!(sync.ok()["rooms"]["invite"][&room].is_object(), "{}", sync.body);
            server.post(&room_path(&room, "join"), &user.token, json!({})).await.ok();
        }
        let joined = here.get(&room_path(&room, "joined_members"), &alice.token).await;
        assert_eq!(joined.ok()["joined"].as_object().map(serde_json::Map::len), Some(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_server_is_asked_through_the_forward_proxy() {
    let mut identity = Identity::start().await;
    let proxy = identity.url.replace("/isvalid", "");
    // Nobody else knows that name.
    identity.url = "http://identity.example/isvalid".to_owned();
    let config = format!("http_proxy: {proxy}\n");
    let server = TestServer::on(TestPlace::sqlite()).config(&config).start().await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = create(&server, &alice, json!({})).await;
    identity.invite(&server, &alice, &room, "token").await;
    tell(&server, bound(&bob.id, &room, &alice.id, identity.word_for(&bob.id, "token"))).await.ok();
    assert_eq!(membership(&server, &alice, &room, &bob.id).await.as_deref(), Some("invite"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_does_not_invite_somebody_else() {
    for server in TestServer::on_each().await {
        let (identity, peer) = (Identity::start().await, Peer::start().await);
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = create(&server, &alice, json!({})).await;
        identity.invite(&server, &alice, &room, "token").await;
        let exchange = async |sender: &str, signed: Value| {
            let proof = json!({ "display_name": "b", "signed": signed });
            let body = json!({
                "type": "m.room.member", "room_id": room, "sender": sender, "state_key": bob.id,
                "content": { "membership": "invite", "third_party_invite": proof },
            });
            peer.put(&server, &path("v1/exchange_third_party_invite", &[&room]), body).await
        };
        let word = identity.word_for(&bob.id, "token");
        let mut forged = word.clone();
        forged["signatures"]["identity.example"]["ed25519:i_1"] = json!("AAAA");
        assert_eq!(exchange(&alice.id, forged).await.refusal(), (403, "M_FORBIDDEN"));
        let unknown = identity.word_for(&bob.id, "another");
        assert_eq!(exchange(&alice.id, unknown).await.refusal(), (403, "M_FORBIDDEN"));
        let of_other = identity.word_for("@carol:else.example", "token");
        assert_eq!(exchange(&alice.id, of_other).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(exchange(&bob.id, word.clone()).await.refusal(), (403, "M_FORBIDDEN"), "he has invited nobody");
        assert_eq!(exchange(&peer.user("eve"), word.clone()).await.refusal(), (403, "M_FORBIDDEN"));
        assert_eq!(exchange("nobody", word.clone()).await.status, 400);
        identity.stands_by_its_key.store(false, Ordering::Relaxed);
        assert_eq!(exchange(&alice.id, word.clone()).await.refusal(), (403, "M_FORBIDDEN"), "the key was withdrawn");

        // Of users there are not, and too many at once.
        let nobody = bound("@nobody:test.example", &room, &alice.id, word.clone());
        assert_eq!(tell(&server, nobody).await.refusal(), (404, "M_NOT_FOUND"));
        let mut many = bound(&bob.id, &room, &alice.id, word.clone());
        many["invites"] = vec![many["invites"][0].clone(); 101].into();
        assert_eq!(tell(&server, many.clone()).await.refusal(), (400, "M_INVALID_PARAM"));
        // One that fails is no concern of who brings it.
        tell(&server, bound(&bob.id, &room, &alice.id, word.clone())).await.ok();
        assert_eq!(membership(&server, &alice, &room, &bob.id).await, None);
        identity.stands_by_its_key.store(true, Ordering::Relaxed);
        exchange(&alice.id, word).await.ok();
        assert_eq!(membership(&server, &alice, &room, &bob.id).await.as_deref(), Some("invite"));

        // Anybody may bring invites, but not without end.
        many["invites"].as_array_mut().expect("a list").truncate(60);
        tell(&server, many.clone()).await;
        assert_eq!(tell(&server, many).await.refusal(), (429, "M_LIMIT_EXCEEDED"));
    }
}
