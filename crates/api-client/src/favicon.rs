//! GET /favicon.ico

use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

pub(crate) async fn handle() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "image/x-icon"), (CACHE_CONTROL, "public, max-age=86400")];
    (headers, include_bytes!("favicon/icon.ico").as_slice())
}
