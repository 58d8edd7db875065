//! HTML pages for browsers.

use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use sha2::{Digest as _, Sha256};

/// A page of this server. Other sites cannot frame it; it loads nothing, and sends forms only here. Browsers do not
/// send its URL, which may hold a session, to the sites it links to.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The document.
    pub html: String,
    /// The text of the only `<script>` element that may run.
    pub script: Option<&'static str>,
    /// Further directives of its content security policy.
    pub allowed: Option<&'static str>,
}

impl Page {
    /// A page without a script.
    pub fn new(html: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, html: html.into(), script: None, allowed: None }
    }

    fn policy(&self) -> String {
        let script = match self.script {
            Some(script) => format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes()))),
            None => "'none'".to_owned(),
        };
        let allowed = self.allowed.map(|directives| format!("; {directives}")).unwrap_or_default();
        format!(
            "default-src 'none'; script-src {script}; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'{allowed}"
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let policy = HeaderValue::from_str(&self.policy());
        let mut response = (self.status, Html(self.html)).into_response();
        let headers = response.headers_mut();
        // Base64 is legal in a header.
        if let Ok(policy) = policy {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        // For browsers that do not know `frame-ancestors`.
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}
