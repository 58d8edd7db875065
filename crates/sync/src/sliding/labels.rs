//! How a user has labelled rooms: direct conversations and tags.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use plexus_protocol::id::UserId;
use plexus_store::{Database, DbError, Position, RoomNid, Tx, repo};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::notifier::{MaybeChanged, Notifier};

/// The most users whose labels are in memory.
const MAX_USERS: usize = 5_000;

/// A user's labels at some position.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// The rooms in `m.direct`.
    pub direct: HashSet<RoomNid>,
    /// `m.tag`
    pub tags: HashMap<RoomNid, BTreeSet<String>>,
    /// Everything the user wrote at or before this is in here.
    read_at: Position,
}

/// The labels of users. Owned by this process: they are read again after a change.
pub(super) struct LabelsCache(Cache<UserId, Arc<Labels>>);

impl LabelsCache {
    pub(super) fn new() -> Self {
        Self(Cache::new(MAX_USERS))
    }

    /// Returns a user's labels.
    pub(super) async fn of(&self, db: &Database, notifier: &Notifier, user: &UserId) -> Result<Arc<Labels>, DbError> {
        if let Some(labels) = self.0.get(user)
            && notifier.index().account_data_changed(user, labels.read_at) == MaybeChanged::Known(false)
        {
            return Ok(labels);
        }
        let (read_at, key) = (db.committed(), user.to_string());
        let labels = Arc::new(Labels { read_at, ..db.read(move |tx| read(tx, &key)).await? });
        self.0.insert(user.clone(), Arc::clone(&labels));
        Ok(labels)
    }
}

fn read(tx: &mut Tx<'_>, user: &str) -> Result<Labels, DbError> {
    let direct = repo::account_data::get(tx, user, "", "m.direct")?;
    let direct = direct.as_deref().map(direct_rooms).unwrap_or_default();
    let tags = repo::account_data::of_type_in_rooms(tx, user, "m.tag")?;
    let mut ids: Vec<&str> = direct.iter().map(String::as_str).collect();
    ids.extend(tags.iter().map(|row| row.room_id.as_str()));
    let nids: HashMap<String, RoomNid> = repo::rooms::nids(tx, &ids)?.into_iter().collect();
    let tags = tags.iter().filter_map(|row| Some((*nids.get(&row.room_id)?, tag_names(&row.content))));
    Ok(Labels {
        direct: direct.iter().filter_map(|id| nids.get(id).copied()).collect(),
        tags: tags.collect(),
        read_at: 0,
    })
}

/// Returns the rooms in the content of `m.direct`; whatever has the wrong shape names none.
fn direct_rooms(content: &str) -> BTreeSet<String> {
    let users: HashMap<String, serde_json::Value> = serde_json::from_str(content).unwrap_or_default();
    let rooms = users.into_values().filter_map(|rooms| serde_json::from_value::<Vec<String>>(rooms).ok());
    rooms.flatten().collect()
}

fn tag_names(content: &str) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Content {
        tags: HashMap<String, IgnoredAny>,
    }
    serde_json::from_str::<Content>(content).map(|content| content.tags.into_keys().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_labels_are_ignored() {
        let content = r#"{"@a:x":["!1:x","!2:x"],"@b:x":"!3:x","@c:x":[4],"@d:x":["!1:x"]}"#;
        assert_eq!(direct_rooms(content), BTreeSet::from(["!1:x".to_owned(), "!2:x".to_owned()]));
        assert_eq!(tag_names(r#"{"tags":{"m.favourite":{"order":1},"u.x":1}}"#).len(), 2);
        assert!(direct_rooms("[]").is_empty() && tag_names(r#"{"tags":[]}"#).is_empty());
    }
}
