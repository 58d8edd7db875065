//! The events that are to allow an event, and those that allow them.

use std::collections::HashSet;
use std::sync::Arc;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::{EventId, ServerName};
use plexus_rooms::model::event_lookup;
use plexus_rooms::model::room::Room;
use plexus_rooms::write::outliers;
use plexus_store::DbError;

use super::{Deadline, PduReceiver, ReceiveError};

impl PduReceiver {
    /// Fetches and stores the auth events that are not known. What cannot be had is missed when the event is judged.
    pub(crate) async fn complete_auth_events(
        &self,
        origin: &ServerName,
        room: &Arc<Room>,
        pdus: &[Pdu],
        deadline: &Deadline,
    ) -> Result<(), ReceiveError> {
        let among: HashSet<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
        if self.unknown_auth_events(pdus, &among).await?.is_empty() {
            return Ok(());
        }
        for pdu in pdus {
            if self.unknown_auth_events(std::slice::from_ref(pdu), &among).await?.is_empty() {
                continue;
            }
            let asking = async {
                let _one_of_few = self.large_answers.acquire().await;
                self.peers.event_auth(origin, &room.id, pdu.event_id()).await
            };
            match deadline.ask(origin, Box::pin(asking)).await {
                Ok(chain) => {
                    let chain = self.open(room, chain).await;
                    outliers::store(&self.writer, room, chain).await?;
                }
                Err(error) => {
                    tracing::info!(event = %pdu.event_id(), room = %room.id, "its auth chain could not be fetched: {error}");
                }
            }
            self.fetch_singly((origin, deadline), room, pdu, &among).await?;
        }
        Ok(())
    }

    /// Asks for each auth event that is missing still.
    async fn fetch_singly(
        &self,
        (origin, deadline): (&ServerName, &Deadline),
        room: &Arc<Room>,
        pdu: &Pdu,
        among: &HashSet<EventId>,
    ) -> Result<(), ReceiveError> {
        for id in self.unknown_auth_events(std::slice::from_ref(pdu), among).await? {
            if let Ok(raw) = deadline.ask(origin, self.peers.event(origin, &id)).await {
                let events = self.open(room, vec![raw]).await;
                outliers::store(&self.writer, room, events).await?;
            }
        }
        Ok(())
    }

    /// The auth events of these that are neither `among` them nor stored.
    pub(super) async fn unknown_auth_events(
        &self,
        pdus: &[Pdu],
        among: &HashSet<EventId>,
    ) -> Result<Vec<EventId>, DbError> {
        let mut named: Vec<EventId> = pdus
            .iter()
            .flat_map(|pdu| pdu.auth_events().iter().cloned().chain(outliers::create_of(pdu)))
            .filter(|id| !among.contains(id))
            .collect();
        named.sort_unstable();
        named.dedup();
        let known = event_lookup::known(&self.writer.db, &named).await?;
        Ok(named.into_iter().filter(|id| !known.contains_key(id)).collect())
    }
}
