//! GET, POST /_matrix/client/v3/auth/{auth_type}/fallback/web

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use plexus_accounts::UserInteractiveAuth;
use plexus_accounts::uia::{DUMMY, REGISTRATION_TOKEN, UiaError};
use plexus_http::{ApiError, ClientIp, Page, Path, Query, State};
use serde::Deserialize;

use super::uia_error;

#[derive(Debug, Deserialize)]
pub(crate) struct PageQuery {
    session: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PageForm {
    session: String,
    token: Option<String>,
}

/// Returns the page for a stage, which is a form.
pub(crate) async fn handle(
    Path(stage): Path<String>,
    Query(query): Query<PageQuery>,
    State(uia): State<UserInteractiveAuth>,
) -> Result<Response, ApiError> {
    check_stage(&stage)?;
    uia.registered_user(&query.session).await.map_err(uia_error)?;
    Ok(page(StatusCode::OK, &form(&stage, &query.session, None)))
}

/// Handles the form.
pub(crate) async fn submit(
    Path(stage): Path<String>,
    ClientIp(ip): ClientIp,
    State(uia): State<UserInteractiveAuth>,
    request: Request,
) -> Result<Response, ApiError> {
    check_stage(&stage)?;
    let body = plexus_http::body::read(request).await?;
    let data: PageForm =
        serde_html_form::from_bytes(&body.bytes).map_err(|error| ApiError::invalid_param(error.to_string()))?;
    let completed = uia.complete_by_page(&data.session, &stage, data.token.as_deref(), ip).await;
    let failure = completed.map_err(uia_error)?;
    Ok(match failure {
        None => page(StatusCode::OK, &done()),
        Some(failure) => page(StatusCode::UNAUTHORIZED, &form(&stage, &data.session, Some(&failure.to_string()))),
    })
}

fn check_stage(stage: &str) -> Result<(), ApiError> {
    match stage {
        DUMMY | REGISTRATION_TOKEN => Ok(()),
        _ => Err(uia_error(UiaError::UnknownStage)),
    }
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Authentication</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head><body>{body}</body></html>\n"
    );
    Page { status, html, script: Some(DONE_SCRIPT), allowed: None }.into_response()
}

fn form(stage: &str, session: &str, error: Option<&str>) -> String {
    let error = error.map(|error| format!("<p role=\"alert\">{}</p>", escaped(error))).unwrap_or_default();
    let session = escaped(session);
    let field = match stage {
        REGISTRATION_TOKEN => {
            "<p>Please enter a registration token.</p><label>Token <input name=\"token\" autofocus required></label>"
        }
        _ => "<p>Press continue to go on.</p>",
    };
    format!(
        "<form method=\"post\">{error}{field}<input type=\"hidden\" name=\"session\" value=\"{session}\">\
         <button type=\"submit\">Continue</button></form>"
    )
}

/// Notifies the client that opened the page (client-server API, "Fallback").
const DONE_SCRIPT: &str = "if (window.onAuthDone) { window.onAuthDone(); } \
    else if (window.opener && window.opener.postMessage) { window.opener.postMessage(\"authDone\", \"*\"); }";

fn done() -> String {
    format!("<p>You may now close this window and return to the application.</p><script>{DONE_SCRIPT}</script>")
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(c),
        }
    }
    html
}
