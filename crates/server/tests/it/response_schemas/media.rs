//! Uploads and downloads.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::Stage;
use crate::client::authenticated_media::get_media_preview::Site;
use crate::client::media::GIF;

pub(super) async fn use_all(stage: &Stage) {
    let (server, token) = (&stage.server, stage.alice.token.as_str());
    let headers = [("Content-Type", "image/gif")];
    let upload = "/_matrix/media/v3/upload?filename=red.gif";
    let uploaded = server.send(Method::POST, upload, Some(token), &headers, Bytes::from_static(GIF)).await;
    let place = uploaded.ok()["content_uri"].as_str().expect("a URI").replace("mxc://", "");
    let created = stage.post("/_matrix/media/v1/create", json!({})).await;
    let fill = created["content_uri"].as_str().expect("a URI").replace("mxc://", "/_matrix/media/v3/upload/");
    server.send(Method::PUT, &fill, Some(token), &headers, Bytes::from_static(GIF)).await.ok();
    let site = Site::start().await;
    for media in ["/_matrix/media/v3", "/_matrix/client/v1/media"] {
        stage.get(&format!("{media}/config")).await;
        stage.get(&format!("{media}/preview_url?url={}", site.url("/"))).await;
        stage.get(&format!("{media}/download/{place}")).await;
        stage.get(&format!("{media}/download/{place}/other.gif")).await;
        stage.get(&format!("{media}/thumbnail/{place}?width=2&height=2")).await;
        server.get(&format!("{media}/download/test.example/nothinghere"), token).await;
    }
}
