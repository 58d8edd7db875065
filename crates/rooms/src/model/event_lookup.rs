//! Which events this server has, and where they stand.

use std::collections::HashMap;

use plexus_protocol::id::EventId;
use plexus_store::repo::events::Known;
use plexus_store::{DbError, event_key, repo};

use crate::model::registry::Rooms;

impl Rooms {
    /// Those of the events that are stored, outliers and rejected ones too.
    pub(crate) async fn known(&self, ids: &[EventId]) -> Result<HashMap<EventId, Known>, DbError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<Vec<u8>> = ids.iter().map(event_key::encode).collect();
        let wanted = keys.clone();
        let rows = self.db.read(move |tx| repo::events::known(tx, &wanted)).await?;
        let mut rows: HashMap<Vec<u8>, Known> = rows.into_iter().map(|row| (row.event_id.clone(), row)).collect();
        Ok(ids.iter().zip(keys).filter_map(|(id, key)| Some((id.clone(), rows.remove(&key)?))).collect())
    }
}
