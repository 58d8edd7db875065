//! How transactions get to other servers. Tests answer in their stead.

use std::pin::Pin;

use plexus_net::{Call, FederationClient, FederationError, Patience};
use plexus_protocol::id::ServerName;
use serde_json::value::RawValue;

/// What is waited for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Other servers, as those who deliver to them see them.
pub trait Transport: Send + Sync {
    /// `PUT /send/{txnId}`; answers the body of a 2xx.
    fn send<'a>(
        &'a self,
        server: &'a ServerName,
        txn_id: &'a str,
        body: String,
    ) -> Pending<'a, Result<Box<RawValue>, FederationError>>;

    /// Whether this server may speak with `server` at all.
    fn is_allowed(&self, server: &ServerName) -> bool;

    /// Whether `server` is left alone at the moment because it failed.
    fn is_backing_off(&self, server: &ServerName) -> bool;

    /// Waits for the next server that failed and is worth trying again.
    fn came_back(&self) -> Pending<'_, ServerName>;
}

impl Transport for FederationClient {
    fn send<'a>(
        &'a self,
        server: &'a ServerName,
        txn_id: &'a str,
        body: String,
    ) -> Pending<'a, Result<Box<RawValue>, FederationError>> {
        let call = Call::put(format!("/_matrix/federation/v1/send/{txn_id}"), body).patience(Patience::Background);
        Box::pin(self.call_json(server, call))
    }

    fn is_allowed(&self, server: &ServerName) -> bool {
        FederationClient::is_allowed(self, server)
    }

    fn is_backing_off(&self, server: &ServerName) -> bool {
        self.backing_off_until(server).is_some()
    }

    fn came_back(&self) -> Pending<'_, ServerName> {
        Box::pin(FederationClient::came_back(self))
    }
}
