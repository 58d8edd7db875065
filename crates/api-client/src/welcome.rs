//! GET /: the page for a browser that opens the server's own URL.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use plexus_base::config::Config;
use plexus_http::{Page, State};

const PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><title>Plexus is running</title></head>
<body>
<h1>It works! Plexus is running</h1>
<p>This is a Matrix homeserver. To use it, give its address to a <a href=\"https://matrix.org/ecosystem/clients/\">Matrix
client</a>.</p>
</body>
</html>
";

/// Redirects to `web_client_location` when there is one, or says that the server is up.
pub(crate) async fn handle(State(config): State<Arc<Config>>) -> Response {
    let location = config.server.web_client_location.as_deref();
    if let Some(location) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        return (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    }
    Page::new(PAGE).into_response()
}
