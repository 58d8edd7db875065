//! Returns other servers' keys as a notary
//! (<https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>).

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
    /// Returns the responses in which `server` published its keys, signed by this server too; none if nothing is known
    /// about it. `wanted` has the ids of the keys, and until when (Unix ms) they must at least be valid; if it is
    /// empty, any keys that are valid now. The server is asked first if the stored ones are not valid for long enough,
    /// unless it was asked before, or too many searches for requests such as the one from `source` are under way.
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
            // The turn first: a search that waits for it must not keep others out of the server's gate.
            if let Ok(_turn) = self.search_limits.turn(source).await {
                let _pass = self.searching.enter(server.as_str()).await;
                if self.ask_server(server, Patience::Background).await {
                    self.note_missing(&Wanted::from([(server.clone(), wanted.clone())]));
                }
                stored = self.stored(server).await?;
            }
        }
        let matching = stored.iter().filter(|key| wanted.is_empty() || wanted.contains_key(&key.key_id));
        // Keys that were published together are in one response.
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
        let missing = |(id, until): (&String, &u64)| self.cache.is_missing(server.as_str(), id, *until);
        !wanted.is_empty() && wanted.iter().all(missing)
    }
}
