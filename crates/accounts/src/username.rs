//! The rules for the names of new users (appendices, "User Identifiers").

use plexus_protocol::id::{ServerName, UserId};

/// Why a username is refused: `M_INVALID_USERNAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// The name is empty.
    #[error("User ID cannot be empty")]
    Empty,
    /// The name has other characters than allowed.
    #[error("User ID can only contain characters a-z, 0-9, or '=_-./+'")]
    Characters,
    /// The user id is longer than 255 bytes.
    #[error("User ID may not be longer than 255 characters")]
    TooLong,
    /// The name begins with `_`, which is for application services.
    #[error("User ID may not begin with _")]
    Underscore,
    /// The name is a number, as those of guests are.
    #[error("Numeric user IDs are reserved for guest users.")]
    Numeric,
}

/// Returns the user id of a new user. Capital letters become lower case, as in Synapse.
///
/// # Errors
/// What is wrong with the name.
pub(crate) fn new_user_id(
    username: &str,
    server_name: &ServerName,
    allow_underscore: bool,
) -> Result<UserId, UsernameError> {
    let localpart = username.to_lowercase();
    if localpart.is_empty() {
        return Err(UsernameError::Empty);
    }
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'=' | b'_' | b'-' | b'.' | b'/' | b'+');
    if !localpart.bytes().all(allowed) {
        return Err(UsernameError::Characters);
    }
    if localpart.starts_with('_') && !allow_underscore {
        return Err(UsernameError::Underscore);
    }
    if localpart.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UsernameError::Numeric);
    }
    UserId::new(&localpart, server_name).map_err(|_| UsernameError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let server: ServerName = "example.org".parse().unwrap();
        let of = |name: &str| new_user_id(name, &server, false).map(String::from);
        assert_eq!(of("Alice.b-c=d/e+f_0").as_deref(), Ok("@alice.b-c=d/e+f_0:example.org"));
        assert_eq!(of(""), Err(UsernameError::Empty));
        assert_eq!(of("a b"), Err(UsernameError::Characters));
        assert_eq!(of("a:b"), Err(UsernameError::Characters));
        assert_eq!(of("a\0"), Err(UsernameError::Characters));
        assert_eq!(of("é"), Err(UsernameError::Characters));
        assert_eq!(of("_irc"), Err(UsernameError::Underscore));
        assert!(new_user_id("_irc", &server, true).is_ok());
        assert_eq!(of("123"), Err(UsernameError::Numeric));
        assert_eq!(of(&"a".repeat(250)), Err(UsernameError::TooLong));
    }
}
