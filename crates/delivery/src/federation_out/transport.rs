//! The connection to other servers, which tests replace.

use std::pin::Pin;

use plexus_net::federation::api::transactions::send_transaction_message::{self, TransactionUse};
use plexus_net::{CameBack, FederationClient, FederationError};
use plexus_protocol::id::ServerName;
use serde_json::value::RawValue;

/// A future in a box.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Other servers, as the delivery sees them.
pub trait Transport: Send + Sync {
    /// Sends `PUT /send/{txnId}`, and returns the body of a 2xx response.
    fn send<'a>(
        &'a self,
        server: &'a ServerName,
        txn_id: &'a str,
        body: String,
        used_as: TransactionUse,
    ) -> Pending<'a, Result<Box<RawValue>, FederationError>>;

    /// Notes that `server` is up, whatever its response to the last transaction was.
    fn is_up(&self, server: &ServerName);

    /// Whether federation with `server` is allowed at all.
    fn is_allowed(&self, server: &ServerName) -> bool;

    /// Returns until when (Unix ms) no transactions go to `server` because it failed; `None` if it may be tried.
    fn backing_off_until(&self, server: &ServerName) -> Option<u64>;

    /// Whether a transaction to `server` failed, and [`Self::came_back`] will return it soon, before it is left alone.
    fn will_be_retried(&self, server: &ServerName) -> bool;

    /// Whether `server` failed and has not responded since, whether it is left alone or not.
    fn is_failing(&self, server: &ServerName) -> bool;

    /// Returns how many connections to other servers may be open at the same time, for all purposes together.
    fn capacity(&self) -> usize;

    /// Waits for the next server that failed and is worth trying again.
    fn came_back(&self) -> Pending<'_, CameBack>;
}

impl Transport for FederationClient {
    fn send<'a>(
        &'a self,
        server: &'a ServerName,
        txn_id: &'a str,
        body: String,
        used_as: TransactionUse,
    ) -> Pending<'a, Result<Box<RawValue>, FederationError>> {
        Box::pin(send_transaction_message::call(self, server, txn_id, body, used_as))
    }

    fn is_up(&self, server: &ServerName) {
        self.heard_from(server);
    }

    fn is_allowed(&self, server: &ServerName) -> bool {
        FederationClient::is_allowed(self, server)
    }

    fn backing_off_until(&self, server: &ServerName) -> Option<u64> {
        // Other requests to a server can fail while transactions to it are still being tried again.
        if self.is_retried(server) { None } else { FederationClient::backing_off_until(self, server) }
    }

    fn will_be_retried(&self, server: &ServerName) -> bool {
        FederationClient::will_be_retried(self, server)
    }

    fn is_failing(&self, server: &ServerName) -> bool {
        FederationClient::is_failing(self, server)
    }

    fn capacity(&self) -> usize {
        self.max_connections()
    }

    fn came_back(&self) -> Pending<'_, CameBack> {
        Box::pin(FederationClient::came_back(self))
    }
}
