//! `m.device_list_update` and `m.signing_key_update`: users of other servers changed their devices or keys. Clients are told
//! and ask for them anew; nothing is kept of what other servers say.

use plexus_protocol::id::{ServerName, UserId};
use plexus_store::repo::device_lists;
use plexus_store::{Change, DbError};
use serde::Deserialize;

use super::{EduError, EduReceiver, speaks_for};

#[derive(Deserialize)]
struct Update {
    user_id: UserId,
}

impl EduReceiver {
    pub(super) async fn device_list(&self, origin: &ServerName, content: &str) -> Result<(), EduError> {
        let Update { user_id } = serde_json::from_str(content)?;
        self.changed(origin, user_id).await
    }

    pub(super) async fn signing_keys(&self, origin: &ServerName, content: &str) -> Result<(), EduError> {
        let Update { user_id } = serde_json::from_str(content)?;
        self.changed(origin, user_id).await
    }

    async fn changed(&self, origin: &ServerName, user: UserId) -> Result<(), EduError> {
        speaks_for(origin, &user)?;
        if !self.is_met(&user).await? {
            return Err(EduError::Unrelated);
        }
        let write = self.0.db.write(move |tx| {
            let position = tx.next_position()?;
            // One row a user of another server, whichever of the devices it was.
            device_lists::record(tx, user.as_str(), device_lists::CROSS_SIGNING, position)?;
            tx.announce(Change::DeviceList { user, position });
            Ok::<_, DbError>(())
        });
        Ok(write.await?)
    }
}
