use plexus_accounts::Identifier;
use serde_json::{Value, json};

use super::{Request, named};

/// What a body names, or the status and errcode of the refusal.
fn identified(body: Value) -> Result<Identifier, (u16, String)> {
    let request: Request = serde_json::from_value(body).expect("the body of a login");
    named(&request).map_err(|error| (error.status().as_u16(), error.errcode().unwrap_or_default().to_owned()))
}

fn third_party(medium: &str, address: &str) -> Identifier {
    Identifier::ThirdParty { medium: medium.to_owned(), address: address.to_owned() }
}

#[test]
fn each_type_of_identifier_is_read() {
    let user = Identifier::User("alice".to_owned());
    for (identifier, expected) in [
        (json!({ "type": "m.id.user", "user": "alice" }), user),
        (
            json!({ "type": "m.id.thirdparty", "medium": "email", "address": "Alice@Example.ORG" }),
            third_party("email", "alice@example.org"),
        ),
        (
            json!({ "type": "m.id.thirdparty", "medium": "msisdn", "address": "+44 7700 900000" }),
            third_party("msisdn", "447700900000"),
        ),
        (
            json!({ "type": "m.id.thirdparty", "medium": "other", "address": "As It Is" }),
            third_party("other", "As It Is"),
        ),
        (
            json!({ "type": "m.id.phone", "country": "GB", "phone": "07700 900000" }),
            third_party("msisdn", "07700900000"),
        ),
        (json!({ "type": "m.id.phone", "country": "GB", "number": "1" }), third_party("msisdn", "1")),
    ] {
        assert_eq!(identified(json!({ "identifier": identifier })), Ok(expected), "{identifier}");
    }
}

#[test]
fn deprecated_identifiers_are_read_unless_there_is_a_new_one() {
    let alice = || Identifier::User("alice".to_owned());
    assert_eq!(identified(json!({ "user": "alice" })), Ok(alice()));
    let body = json!({ "medium": "email", "address": "A@b.org" });
    assert_eq!(identified(body), Ok(third_party("email", "a@b.org")));
    let both = json!({ "user": "bob", "identifier": { "type": "m.id.user", "user": "alice" } });
    assert_eq!(identified(both), Ok(alice()));
}

#[test]
fn incomplete_identifiers_are_refused() {
    let missing = (400, "M_MISSING_PARAM".to_owned());
    for body in [
        json!({}),
        json!({ "medium": "email" }),
        json!({ "identifier": { "type": "m.id.user" } }),
        json!({ "identifier": { "type": "m.id.thirdparty", "medium": "email" } }),
        json!({ "identifier": { "type": "m.id.thirdparty", "address": "a@b.org" } }),
        json!({ "identifier": { "type": "m.id.phone", "phone": "1" } }),
        json!({ "identifier": { "type": "m.id.phone", "country": "GB" } }),
    ] {
        assert_eq!(identified(body.clone()), Err(missing.clone()), "{body}");
    }
    let unknown = json!({ "user": "alice", "identifier": { "type": "org.example.other" } });
    assert_eq!(identified(unknown), Err((400, "M_UNKNOWN".to_owned())));
}
