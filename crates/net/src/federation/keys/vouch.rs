//! Answering for other servers' keys, as a notary (server-server API, "Querying Keys Through Another Server").

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use plexus_protocol::id::ServerName;
use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::server_keys;

use super::KeyRing;
use super::fetch::Wanted;
use crate::federation::call::Patience;

impl KeyRing {
    /// What `server` said of its keys, signed by this server too. `wanted` says which keys, and until when (unix ms)
    /// they must at least be valid: what is stored does if it is, otherwise the server is asked first, and what is
    /// stored does if it does not answer, or if too many searches are under way that strangers such as the one at
    /// `source` caused. An empty `wanted` means whatever keys are valid now. Empty when nothing is known of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vouch_for(
        &self,
        server: &ServerName,
        wanted: &HashMap<String, u64>,
        source: Option<IpAddr>,
    ) -> Result<Vec<Object>, DbError> {
        if *server == self.server_name || !self.client.is_allowed(server) {
            return Ok(Vec::new());
        }
        let now = self.clock.now_ms();
        let mut stored = self.stored(server).await?;
        let fresh = if wanted.is_empty() {
            stored.iter().any(|key| key.valid_until_ts >= now)
        } else {
            wanted.iter().all(|(id, until)| stored.iter().any(|key| key.key_id == *id && key.valid_until_ts >= *until))
        };
        if !fresh && !self.was_missing(server, wanted) {
            // The turn first: nobody may keep others out of a server's gate who does not search himself.
            if let Ok(_turn) = self.strangers.turn(source).await {
                let _pass = self.searching.enter(server.as_str()).await;
                self.ask_itself(server, Patience::Background).await;
                self.note_missing(&Wanted::from([(server.clone(), wanted.clone())]));
                stored = self.stored(server).await?;
            }
        }
        let matching = stored.iter().filter(|key| wanted.is_empty() || wanted.contains_key(&key.key_id));
        // Keys that came together are in one response.
        let responses: BTreeSet<&str> = matching.map(|key| key.response.as_str()).collect();
        let signed = responses.into_iter().filter_map(|response| {
            let mut response = Object::parse(response).ok()?;
            self.signing_key.sign_object(&mut response, self.server_name.as_str()).ok()?;
            Some(response)
        });
        Ok(signed.collect())
    }

    async fn stored(&self, server: &ServerName) -> Result<Vec<server_keys::StoredServerKey>, DbError> {
        let names = vec![server.as_str().to_owned()];
        self.db.read(move |tx| server_keys::of_servers(tx, &names)).await
    }

    fn was_missing(&self, server: &ServerName, wanted: &HashMap<String, u64>) -> bool {
        let missing = |(id, until): (&String, &u64)| self.memory.is_missing(server.as_str(), id, *until);
        !wanted.is_empty() && wanted.iter().all(missing)
    }
}
