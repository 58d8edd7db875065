//! GET /_matrix/static/client/login/: the page on which a user logs in for a client that cannot log in by itself
//! (client-server API, "Login Fallback"). The client shows it in a view of its own and replaces
//! `window.matrixLogin.onLogin`, which is called with the response of `POST /login`.

use http::StatusCode;
use plexus_http::Page;

const SCRIPT: &str = include_str!("login_fallback/login.js");

const BODY: &str = r#"<h1>Log in</h1>
<p id="feedback" role="alert"></p>
<form id="password_flow" hidden>
<p><label>User name or Matrix ID <input id="user_id" autocapitalize="off" autocorrect="off" required></label></p>
<p><label>Password <input id="password" type="password" required></label></p>
<p><button type="submit">Log in</button></p>
</form>
<noscript><p>This page needs JavaScript.</p></noscript>
"#;

/// The script sends requests to this server. It notifies old clients of a login through a frame whose URL has their own
/// scheme, `js:`.
const ALLOWED: &str = "connect-src 'self'; frame-src js:";

pub(crate) async fn handle() -> Page {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Log in</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\n\
         <body>{BODY}<script>{SCRIPT}</script></body></html>\n"
    );
    Page { status: StatusCode::OK, html, script: Some(SCRIPT), allowed: Some(ALLOWED) }
}
