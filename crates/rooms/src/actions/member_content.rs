//! The content of member events: what clients may set, and what only this server sets.

use plexus_protocol::json::{Object, Value};
use plexus_store::repo::profiles;

use crate::write::error::SendError;

/// The fields that only the server sets. Clients send them back when they change a name in a room, or make them up:
/// other servers drop a join that names an authorising user whose server has not signed it, and with it all later
/// events of the user.
const SERVER_FIELDS: [&str; 4] = ["join_authorised_via_users_server", "kind", "membership", "third_party_invite"];
/// The fields that are copied from the user's profile. Only users themselves may show another name or avatar in a room.
const PROFILE_FIELDS: [&str; 2] = ["avatar_url", "displayname"];

/// Adds to `content` the fields of `by_client` that a client may set. `own`: whether the event is about its sender.
///
/// # Errors
/// When a name or avatar is not a string, or too long.
pub(crate) fn checked_content(mut content: Object, by_client: &Object, own: bool) -> Result<Object, SendError> {
    for (key, value) in by_client.iter() {
        if SERVER_FIELDS.contains(&key) || (PROFILE_FIELDS.contains(&key) && !own) {
            continue;
        }
        check_profile_field(key, value)?;
        content.insert(key, value.clone());
    }
    Ok(content)
}

/// Checks that a name or avatar is a string or null, and no longer than in a profile.
fn check_profile_field(key: &str, value: &Value) -> Result<(), SendError> {
    let Some(longest) = profiles::longest(key).filter(|_| PROFILE_FIELDS.contains(&key)) else { return Ok(()) };
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
