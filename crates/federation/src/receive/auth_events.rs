//! Fetches auth events that are not stored
//! (<https://spec.matrix.org/v1.19/server-server-api/#retrieving-event-authorization-information>).

use std::collections::HashSet;

use plexus_protocol::event::Pdu;
use plexus_protocol::id::EventId;
use plexus_rooms::write::outliers;

use super::{ReceiveError, RemoteSource, lookup};

/// Fetches and stores the auth events of `pdus` that are not stored. An event whose auth events cannot be fetched fails
/// when it is added.
pub(crate) async fn fetch_auth_events(source: &RemoteSource<'_>, pdus: &[Pdu]) -> Result<(), ReceiveError> {
    let RemoteSource { receiver, room, server, .. } = *source;
    let db = &receiver.db;
    let among: HashSet<EventId> = pdus.iter().map(|pdu| pdu.event_id().clone()).collect();
    if lookup::unknown_auth_events(db, pdus, &among).await?.is_empty() {
        return Ok(());
    }
    for pdu in pdus {
        if lookup::unknown_auth_events(db, std::slice::from_ref(pdu), &among).await?.is_empty() {
            continue;
        }
        let asking = async {
            let _permit = receiver.large_responses.acquire().await;
            receiver.peers.event_auth(server, &room.id, pdu.event_id()).await
        };
        match source.ask(Box::pin(asking)).await {
            Ok(chain) => {
                let chain = receiver.verifier.parse_and_verify(room, chain).await;
                outliers::store(&receiver.writer, room, chain).await?;
            }
            Err(error) => {
                tracing::info!(event = %pdu.event_id(), room = %room.id, "{server} returned no auth chain: {error}");
            }
        }
        fetch_each(source, pdu, &among).await?;
    }
    Ok(())
}

/// Fetches, one by one, the auth events of `pdu` that are still missing.
async fn fetch_each(source: &RemoteSource<'_>, pdu: &Pdu, among: &HashSet<EventId>) -> Result<(), ReceiveError> {
    let RemoteSource { receiver, room, server, .. } = *source;
    for id in lookup::unknown_auth_events(&receiver.db, std::slice::from_ref(pdu), among).await? {
        if let Ok(raw) = source.ask(receiver.peers.event(server, &id)).await {
            let events = receiver.verifier.parse_and_verify(room, vec![raw]).await;
            outliers::store(&receiver.writer, room, events).await?;
        }
    }
    Ok(())
}
