//! `GET /thumbnail/{server_name}/{media_id}`.

use plexus_testkit::server::TestServer;

use crate::client::media::create_content::WEBP;
use crate::client::media::{GIF, place, upload};

#[tokio::test(flavor = "multi_thread")]
async fn thumbnails_are_made_of_images_and_of_nothing_else() {
    let server = TestServer::sqlite().await;
    let alice = server.register("alice").await;
    let thumbnail = async |place: &str, query: &str| {
        server.get(&format!("/_matrix/client/v1/media/thumbnail/{place}?{query}"), &alice.token).await
    };
    for (content_type, bytes) in [("image/gif", GIF), ("image/webp", WEBP)] {
        let place = place(&upload(&server, &alice, "", content_type, bytes).await);
        let answer = thumbnail(&place, "width=32&height=32&method=crop").await;
        assert_eq!(
            (answer.status, answer.headers["content-type"].as_bytes()),
            (200, &b"image/png"[..]),
            "{content_type}"
        );
        assert!(answer.bytes.starts_with(b"\x89PNG"));
        assert_eq!(thumbnail(&place, "width=32").await.refusal(), (400, "M_MISSING_PARAM"));
        assert_eq!(thumbnail(&place, "width=32&height=-1").await.refusal(), (400, "M_INVALID_PARAM"));
        assert_eq!(thumbnail(&place, "width=32&height=32&method=twist").await.refusal(), (400, "M_INVALID_PARAM"));
    }
    for (content_type, bytes) in [("text/plain", &b"hello"[..]), ("image/png", b"no png at all")] {
        let place = place(&upload(&server, &alice, "", content_type, bytes).await);
        let answer = thumbnail(&place, "width=32&height=32").await;
        assert_eq!(answer.refusal(), (400, "M_UNKNOWN"), "{content_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn animated_thumbnails_are_for_those_who_ask_for_them() {
    let (head, frame) = (&GIF[..25], &GIF[25..GIF.len() - 1]);
    let control = b"\x21\xf9\x04\x00\x0a\x00\x00\x00";
    let twice = [head, control, frame, control, frame, b";"].concat().leak();
    for server in TestServer::on_each().await {
        let alice = server.register("alice").await;
        let thumbnail = async |place: &str, query: &str| {
            let path = format!("/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32&{query}");
            server.get(&path, &alice.token).await
        };
        let moving = place(&upload(&server, &alice, "", "image/gif", twice).await);
        let still = place(&upload(&server, &alice, "", "image/gif", GIF).await);
        for (place, query, content_type) in [
            (&moving, "animated=true", "image/gif"),
            (&moving, "animated=true&method=crop", "image/gif"),
            (&moving, "animated=true", "image/gif"),
            (&moving, "animated=false", "image/png"),
            (&moving, "", "image/png"),
            (&still, "animated=true", "image/png"),
            (&still, "animated=true", "image/png"),
        ] {
            let answer = thumbnail(place, query).await;
            assert_eq!(
                (answer.status, &answer.headers["content-type"]),
                (200, &content_type.parse().unwrap()),
                "{query}"
            );
            let frames = answer.bytes.windows(3).filter(|bytes| *bytes == b"\x21\xf9\x04").count();
            assert_eq!(frames, if content_type == "image/gif" { 2 } else { 0 }, "{query}");
        }
        assert_eq!(thumbnail(&moving, "animated=x").await.refusal(), (400, "M_INVALID_PARAM"));
    }
}
