//! Finding local users by id or display name.

use crate::{DbError, Tx};

/// A user with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub user_id: String,
    /// JSON.
    pub displayname: Option<String>,
    /// JSON.
    pub avatar_url: Option<String>,
}

/// Active users (with `locked` also those an administrator has locked) whose id or display name contains `term` (ASCII letters of either case), from `after` on in order of id.
pub fn containing(tx: &mut Tx<'_>, term: &str, after: &str, limit: u32, locked: bool) -> Result<Vec<Found>, DbError> {
    let mut pattern = String::from("%");
    for character in term.to_lowercase().chars().filter(|character| *character != '\0') {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    tx.query(
        "SELECT u.user_id, n.value, a.value FROM users u
         LEFT JOIN profile_fields n ON n.user_id = u.user_id AND n.field = 'displayname'
         LEFT JOIN profile_fields a ON a.user_id = u.user_id AND a.field = 'avatar_url'
         WHERE u.user_id > $2 AND u.deactivated = 0 AND (u.locked = 0 OR $4 = 1) AND u.is_guest = 0
             AND (lower(u.user_id) LIKE $1 ESCAPE '!' OR lower(n.value) LIKE $1 ESCAPE '!')
         ORDER BY u.user_id LIMIT $3",
        &[&pattern, &after, &limit, &locked],
        |row| Ok(Found { user_id: row.get(0)?, displayname: row.get(1)?, avatar_url: row.get(2)? }),
    )
}
