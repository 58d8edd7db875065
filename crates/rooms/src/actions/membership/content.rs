//! What member events say: what a client may add, and what only the server does.

use plexus_protocol::json::{Object, Value};
use plexus_store::repo::profiles;

use super::MembershipChange;
use crate::write::error::SendError;

/// What only the server says. Clients send these back when they change a name in a room, or make them up: other servers
/// drop the join of a user that names an authoriser who has not signed it, and with it whatever the user sends
/// afterwards.
const DECIDED_BY_SERVER: [&str; 4] = ["join_authorised_via_users_server", "kind", "membership", "third_party_invite"];
/// Copied from the user's profile. Only users themselves show another name and avatar in a room.
const PROFILE: [&str; 2] = ["avatar_url", "displayname"];

/// The content of the member event that makes a change: `profile` (the membership, and the name and avatar that are
/// shown), what the client adds, and what the server has decided.
pub fn of_change(change: &MembershipChange, profile: Object, decided: &Object) -> Result<Object, SendError> {
    let mut content = checked_content(profile, &change.content, change.sender == change.target)?;
    if let Some(reason) = &change.reason {
        content.insert("reason", reason.as_str());
    }
    for (key, value) in decided.iter() {
        content.insert(key, value.clone());
    }
    Ok(content)
}

/// `content` with what a client may add to it. `own`: the event is about its sender.
pub(crate) fn checked_content(mut content: Object, by_client: &Object, own: bool) -> Result<Object, SendError> {
    for (key, value) in by_client.iter() {
        if DECIDED_BY_SERVER.contains(&key) || (PROFILE.contains(&key) && !own) {
            continue;
        }
        check_profile_field(key, value)?;
        content.insert(key, value.clone());
    }
    Ok(content)
}

/// Names and avatars are text or null, and no longer than in a profile.
fn check_profile_field(key: &str, value: &Value) -> Result<(), SendError> {
    let Some(longest) = profiles::longest(key).filter(|_| PROFILE.contains(&key)) else { return Ok(()) };
    match value.as_str() {
        Some(text) if text.chars().count() > longest => {
            Err(SendError::MemberContent("The display name or avatar URL is too long"))
        }
        None if !value.is_null() => Err(SendError::MemberContent("The display name and avatar URL must be strings")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_do_not_say_what_the_server_decides() {
        let object = |text: &str| Object::parse(text).unwrap();
        let content = object(r#"{"membership":"join","displayname":"Bob"}"#);
        let client = object(
            r#"{"membership":"ban","join_authorised_via_users_server":"@a:b","third_party_invite":{},"kind":"guest",
                "displayname":"Bobby","is_direct":true,"reason":"x","org.example.more":[1]}"#,
        );
        let own = checked_content(content.clone(), &client, true).unwrap();
        let expected =
            r#"{"displayname":"Bobby","is_direct":true,"membership":"join","org.example.more":[1],"reason":"x"}"#;
        assert_eq!(own.to_json(), expected);
        let of_other = checked_content(content, &client, false).unwrap();
        assert_eq!(of_other.get_str("displayname"), Some("Bob"));
    }

    #[test]
    fn names_are_text_of_some_length() {
        let with = |value: Value| {
            let mut client = Object::new();
            client.insert("displayname", value);
            checked_content(Object::new(), &client, true)
        };
        assert!(with(Value::Null).is_ok());
        let longest = profiles::longest("displayname").unwrap();
        assert!(with("\u{e9}".repeat(longest).into()).is_ok());
        assert!(with("x".repeat(longest + 1).into()).is_err());
        assert!(with(Value::Array(Vec::new())).is_err());
    }
}
