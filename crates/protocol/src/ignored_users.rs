//! The users whose events a user does not want to see: the account data `m.ignored_user_list`
//! (<https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>).

use std::collections::HashSet;

use crate::json::Object;

/// The type of the account data.
pub const IGNORED_USERS_TYPE: &str = "m.ignored_user_list";

/// Returns the users that the content names; content of the wrong shape ignores nobody.
pub fn ignored_users(content: &str) -> HashSet<String> {
    let content = Object::parse(content).ok();
    let users = content.as_ref().and_then(|content| content.get_object("ignored_users"));
    users.into_iter().flat_map(Object::iter).map(|(user, _)| user.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_are_the_keys() {
        let ignored = ignored_users(r#"{"ignored_users":{"@a:x":{},"@b:x":{"reason":1}}}"#);
        assert_eq!(ignored, ["@a:x".to_owned(), "@b:x".to_owned()].into());
        for odd in [r#"{"ignored_users":[]}"#, "{}", "[]", "x"] {
            assert!(ignored_users(odd).is_empty(), "{odd}");
        }
    }
}
