//! `POST /pushers/set`.

use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::CLIENT;

#[tokio::test]
async fn pushers_are_set_and_listed() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (set, list) = (format!("{CLIENT}/pushers/set"), format!("{CLIENT}/pushers"));
        let pusher = json!({
            "app_id": "app", "pushkey": "key", "kind": "http", "app_display_name": "App",
            "device_display_name": "Phone", "lang": "en",
            "data": { "url": "https://push.example/_matrix/push/v1/notify" },
        });
        server.post(&set, &bob.token, pusher.clone()).await.ok();
        assert_eq!(server.get(&list, &bob.token).await.ok(), &json!({ "pushers": [pusher] }));
        server.post(&set, &alice.token, pusher.clone()).await.ok();
        assert_eq!(server.get(&list, &bob.token).await.ok(), &json!({ "pushers": [] }));
        let delete = json!({ "app_id": "app", "pushkey": "key", "kind": null });
        server.post(&set, &alice.token, delete).await.ok();
        assert_eq!(server.get(&list, &alice.token).await.ok(), &json!({ "pushers": [] }));
        let wrong = [
            ("/data/url", json!("https://push.example/elsewhere")),
            // Nothing would be sent.
            ("/kind", json!("email")),
            ("/kind", json!("pigeon")),
        ];
        for (member, value) in wrong {
            let mut pusher = pusher.clone();
            *pusher.pointer_mut(member).expect("a member of the pusher") = value;
            assert_eq!(server.post(&set, &bob.token, pusher).await.refusal(), (400, "M_INVALID_PARAM"), "{member}");
        }
    }
}
