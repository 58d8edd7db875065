//! `POST /create`.

use axum::body::Bytes;
use http::Method;
use plexus_testkit::server::TestServer;
use serde_json::json;

use crate::client::media::place;

#[tokio::test(flavor = "multi_thread")]
async fn an_id_can_be_had_before_its_content() {
    for server in TestServer::on_each().await {
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let created = server.post("/_matrix/media/v1/create", &alice.token, json!({})).await;
        let place = place(&created);
        assert!(created.body["unused_expires_at"].as_u64().is_some_and(|at| at > server.clock().now_ms()));

        let download = format!("/_matrix/client/v1/media/download/{place}?timeout_ms=0");
        assert_eq!(server.get(&download, &bob.token).await.refusal(), (504, "M_NOT_YET_UPLOADED"));
        let fill = format!("/_matrix/media/v3/upload/{place}");
        let put = async |token| {
            server
                .send(Method::PUT, &fill, Some(token), &[("Content-Type", "text/plain")], Bytes::from_static(b"late"))
                .await
        };
        assert_eq!(put(&bob.token).await.refusal(), (403, "M_FORBIDDEN"));
        put(&alice.token).await.ok();
        assert_eq!(put(&alice.token).await.refusal(), (409, "M_CANNOT_OVERWRITE_MEDIA"));
        assert_eq!(&*server.get(&download, &bob.token).await.bytes, b"late");
    }
}
