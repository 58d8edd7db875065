//! GET /.well-known/matrix/support

use std::sync::Arc;

use plexus_base::config::Config;
use plexus_http::{ApiError, JsonBody, State};
use serde::Serialize;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Response {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contacts: Vec<Contact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support_page: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Contact {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_address: Option<String>,
}

/// Returns what `admin_contact` says; 404 without it.
pub(crate) async fn handle(State(config): State<Arc<Config>>) -> Result<JsonBody<Response>, ApiError> {
    let support = config.blocking.admin_contact.as_deref().and_then(support);
    support.map(JsonBody).ok_or_else(|| ApiError::not_found("No support information available"))
}

/// Returns the support information that a contact comes to: the URL of a page, an email address or a user id. `None`
/// if it is none of them.
fn support(admin_contact: &str) -> Option<Response> {
    let of = |matrix_id: Option<&str>, email_address: Option<&str>| Response {
        contacts: vec![Contact {
            role: "m.role.admin",
            matrix_id: matrix_id.map(str::to_owned),
            email_address: email_address.map(str::to_owned),
        }],
        support_page: None,
    };
    if admin_contact.starts_with("https://") || admin_contact.starts_with("http://") {
        return Some(Response { contacts: Vec::new(), support_page: Some(admin_contact.to_owned()) });
    }
    let address = admin_contact.strip_prefix("mailto:").unwrap_or(admin_contact);
    match address.split_once('@') {
        Some(("", _)) if address.contains(':') => Some(of(Some(address), None)),
        Some((name, domain)) if !name.is_empty() && !domain.is_empty() => Some(of(None, Some(address))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn a_contact_is_a_page_an_address_or_a_user() {
        let of = |contact: &str| support(contact).map(|support| to_value(support).unwrap());
        let contact = |name: &str, value: &str| Some(json!({ "contacts": [{ "role": "m.role.admin", name: value }] }));
        assert_eq!(of("mailto:admin@example.org"), contact("email_address", "admin@example.org"));
        assert_eq!(of("admin@example.org"), contact("email_address", "admin@example.org"));
        assert_eq!(of("@admin:example.org"), contact("matrix_id", "@admin:example.org"));
        assert_eq!(of("https://example.org/help"), Some(json!({ "support_page": "https://example.org/help" })));
        for unknown in ["", "call me", "mailto:", "@", "x@", "+49 1"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
