//! Media of one server, fetched through the other.

use super::{both_ways, text};

#[tokio::test(flavor = "multi_thread")]
async fn media_both_ways() {
    both_ways(async |ann, ben| {
        let bytes = vec![7; 100_000];
        let headers = [("Content-Type", "application/octet-stream")];
        let upload = ann.client.send(
            http::Method::POST,
            "/_matrix/media/v3/upload?filename=seven.bin",
            Some(&ann.user.token),
            &headers,
            bytes.clone().into(),
        );
        let uri = text(&upload.await.ok()["content_uri"]);
        let place = uri.strip_prefix("mxc://").expect("media has an mxc URI");
        let download = ben.get(&format!("v1/media/download/{place}")).await;
        assert_eq!(download.status, 200);
        assert!(download.bytes == bytes);
        assert_eq!(download.headers["content-type"], "application/octet-stream");
        let disposition = download.headers["content-disposition"].to_str().expect("it is text");
        assert!(disposition.contains("seven.bin"), "{disposition}");
        let missing = ben.get(&format!("v1/media/download/{}/missing", ann.server)).await;
        assert_eq!(missing.refusal(), (404, "M_NOT_FOUND"));
    })
    .await;
}
