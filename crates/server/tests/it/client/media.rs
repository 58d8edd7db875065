//! Media over HTTP.

pub(crate) mod create_content;
mod create_mxc_uri;
mod get_content_thumbnail;

use axum::body::Bytes;
use http::Method;
use plexus_testkit::server::{Answer, TestServer, TestUser};

pub(crate) async fn upload(
    server: &TestServer,
    user: &TestUser,
    query: &str,
    content_type: &str,
    bytes: &'static [u8],
) -> Answer {
    let headers = [("Content-Type", content_type)];
    let path = format!("/_matrix/media/v3/upload{query}");
    server.send(Method::POST, &path, Some(&user.token), &headers, Bytes::from_static(bytes)).await
}

/// The part of the address after `mxc://`.
pub(crate) fn place(answer: &Answer) -> String {
    let uri = answer.ok()["content_uri"].as_str().unwrap_or_default();
    uri.strip_prefix("mxc://").expect("an mxc URI").to_owned()
}

/// A red GIF of 4x2 pixels and a red WebP of 1x1.
pub(crate) const GIF: &[u8] = b"GIF87a\x04\x00\x02\x00\x81\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x04\x00\x02\x00\x00\x08\x07\x00\x01\x08\x1c(0 \x00;";
