//! What the six `.../requestToken` endpoints share. This server cannot send text messages, and mail only to addresses
//! that an account is to get.

use plexus_base::config::{AllowedThreepid, Medium};
use plexus_http::{ApiError, Empty};
use plexus_protocol::json::Object;
use url::Url;

/// The longest URL to which a link may lead in the end, in bytes.
const MAX_NEXT_LINK: usize = 2_048;

/// Returns the error of an endpoint that would send an email.
pub(crate) fn without_email(body: &Object) -> ApiError {
    match check_present(body, &["client_secret", "email", "send_attempt"]) {
        Ok(()) => unsupported("Email validation is not available on this server"),
        Err(error) => error,
    }
}

/// Whether accounts may have this address of electronic mail: any, unless `allowed_local_3pids` has a list.
pub(crate) fn permits_email(allowed: Option<&[AllowedThreepid]>, address: &str) -> bool {
    let allowed = allowed.unwrap_or_default();
    allowed.is_empty() || allowed.iter().any(|allowed| allowed.matches(Medium::Email, address))
}

/// Returns the URL to which a link leads in the end, in ASCII: of a web page or an app, in one of the domains if there
/// is a list.
pub(crate) fn next_link(url: &str, domains: Option<&[String]>) -> Result<String, ApiError> {
    let refused = |message| Err(ApiError::invalid_param(message));
    if url.len() > MAX_NEXT_LINK {
        return refused("'next_link' is too long");
    }
    let Ok(parsed) = Url::parse(url) else { return refused("'next_link' is not a URL") };
    if matches!(parsed.scheme(), "file" | "javascript" | "data" | "blob") {
        return refused("'next_link' domain not included in whitelist");
    }
    let is_listed =
        |domains: &[String]| parsed.host_str().is_some_and(|host| domains.iter().any(|domain| domain == host));
    if domains.is_some_and(|domains| !is_listed(domains)) {
        return refused("'next_link' domain not included in whitelist");
    }
    Ok(parsed.into())
}

/// Returns the response of an endpoint that would send a text message.
pub(crate) fn without_text_messages(body: &Object) -> Result<Empty, ApiError> {
    check_present(body, &["client_secret", "country", "phone_number", "send_attempt"])?;
    Err(unsupported("Phone number validation is not available on this server"))
}

fn check_present(body: &Object, required: &[&str]) -> Result<(), ApiError> {
    let missing: Vec<&str> = required.iter().copied().filter(|field| !body.contains_key(field)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ApiError::missing_param(format!("Missing params: {}", missing.join(", "))))
    }
}

fn unsupported(message: &'static str) -> ApiError {
    ApiError::bad_request("M_THREEPID_MEDIUM_NOT_SUPPORTED", message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn links_lead_to_permitted_domains() {
        let domains = ["app.example".to_owned()];
        for (url, anywhere, listed) in [
            ("https://app.example/x?y#z", true, true),
            ("https://app.example.evil.example/", true, false),
            ("https://app.example@evil.example/", true, false),
            ("io.element.app:/done", true, false),
            ("https://äpp.example/\n\u{0}ö d?ü", true, false),
            ("app:ö d\u{0}", true, false),
            ("file:///etc/passwd", false, false),
            ("javascript:alert(1)", false, false),
            ("no url", false, false),
        ] {
            let checked = next_link(url, None);
            assert_eq!(checked.is_ok(), anywhere, "{url}");
            assert!(checked.is_ok_and(|url| HeaderValue::try_from(url).is_ok()) == anywhere, "{url}");
            assert_eq!(next_link(url, Some(&domains)).is_ok(), listed, "{url}");
        }
    }
}
