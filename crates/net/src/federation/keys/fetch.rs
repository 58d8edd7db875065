//! Fetches keys from the server itself, and from trusted key servers those of many servers at once
//! (<https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use plexus_protocol::event::sign::PublicKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{Object, Value};
use plexus_store::DbError;
use plexus_store::repo::server_keys::{self, StoredServerKey};

use super::KeyRing;
use super::response::KeyResponse;
use crate::federation::api::discovery::{get_remote_server_keys_batch, get_server_keys};
use crate::federation::call::Patience;
use crate::federation::error::FederationError;

/// The most servers that a key server is asked about in one request.
const MAX_BATCH: usize = 100;

/// A key server whose responses about other servers are trusted.
#[derive(Debug, Clone)]
pub struct TrustedKeyServer {
    /// Its name.
    pub server_name: ServerName,
    /// Keys, one of which must have signed its responses; if there are none, TLS must suffice.
    pub verify_keys: BTreeMap<String, PublicKey>,
}

/// Keys that are wanted: by server, by key id, when they must be valid (Unix ms).
pub(super) type Wanted = HashMap<ServerName, HashMap<String, u64>>;

impl KeyRing {
    /// Asks the server itself for its keys. Returns whether it could be asked: a forward proxy that is out of order
    /// says nothing about the server.
    pub(super) async fn ask_server(&self, server: &ServerName, patience: Patience) -> bool {
        let body = match get_server_keys::call(&self.client, server, patience).await {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!("the keys of {server} cannot be fetched: {error}");
                return !error.is_of_broken_proxy() && !matches!(error, FederationError::NotSent(_));
            }
        };
        let now = self.clock.now_ms();
        let checked = object(&body).and_then(|object| Ok(KeyResponse::check(&object, server, server, now)?));
        match checked {
            Ok(response) => self.keep(vec![response]).await,
            Err(error) => tracing::warn!("the keys of {server} are refused: {error}"),
        }
        true
    }

    /// Asks the trusted key servers, one after the other, for the keys that are still missing.
    pub(super) async fn ask_notaries(&self, wanted: &Wanted) {
        for trusted in &self.trusted {
            let missing = self.still_missing(wanted);
            let missing: Vec<_> = missing.iter().collect();
            for batch in missing.chunks(MAX_BATCH) {
                self.ask_notary(trusted, batch).await;
            }
        }
    }

    async fn ask_notary(&self, trusted: &TrustedKeyServer, wanted: &[(&ServerName, &HashMap<String, u64>)]) {
        let name = &trusted.server_name;
        let body = match get_remote_server_keys_batch::call(&self.client, name, wanted).await {
            Ok(body) => body,
            Err(error) => return tracing::debug!("the key server {name} does not respond: {error}"),
        };
        let answer = match object(&body) {
            Ok(answer) => answer,
            Err(error) => return tracing::warn!("the response of the key server {name} is not JSON: {error}"),
        };
        let now = self.clock.now_ms();
        let mut believed = Vec::new();
        for response in answer.get_array("server_keys").unwrap_or_default().iter().filter_map(Value::as_object) {
            let of = response.get_str("server_name");
            let Some((server, _)) = wanted.iter().find(|(server, _)| of == Some(server.as_str())) else { continue };
            if !trusted.has_signed(response) {
                tracing::warn!("the key server {name} has not signed the keys of {server}, or the signature is wrong");
                continue;
            }
            match KeyResponse::check(response, server, name, now) {
                Ok(response) => believed.push(response),
                Err(error) => tracing::warn!("the keys of {server} from the key server {name} are refused: {error}"),
            }
        }
        self.keep(believed).await;
    }

    /// Stores and caches keys.
    async fn keep(&self, responses: Vec<KeyResponse>) {
        // A key server may return several responses of one server; the statement must have each key once.
        let mut keys: HashMap<(String, String), StoredServerKey> = HashMap::new();
        for key in responses.iter().flat_map(|response| &response.keys) {
            let name = (key.server_name.clone(), key.key_id.clone());
            if keys.get(&name).is_none_or(|other| other.stated_until_ts <= key.stated_until_ts) {
                keys.insert(name, key.clone());
            }
        }
        let keys: Vec<_> = keys.into_values().collect();
        let written: Result<(), DbError> = self.db.write(move |tx| server_keys::put(tx, &keys)).await;
        if let Err(error) = written {
            tracing::warn!("cannot write the keys of other servers: {error}");
        }
        for response in &responses {
            self.cache.add(response.server.as_str(), &response.keys);
        }
    }

    /// The wanted keys that are not in the cache.
    pub(super) fn still_missing(&self, wanted: &Wanted) -> Wanted {
        let mut missing = wanted.clone();
        missing.retain(|server, keys| {
            keys.retain(|key_id, at_ms| !self.cache.has(server.as_str(), key_id, *at_ms));
            !keys.is_empty()
        });
        missing
    }
}

impl TrustedKeyServer {
    fn has_signed(&self, response: &Object) -> bool {
        let name = self.server_name.as_str();
        self.verify_keys.is_empty() || self.verify_keys.iter().any(|(id, key)| key.verify_object(response, name, id))
    }
}

#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Response(#[from] super::response::ResponseError),
    #[error("it is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
}

fn object(body: &Bytes) -> Result<Object, AnswerError> {
    let text = std::str::from_utf8(body)?;
    Ok(Object::parse(text).map_err(super::response::ResponseError::from)?)
}
