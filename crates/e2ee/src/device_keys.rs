//! Keys of end-to-end encryption: what devices publish, claim and sign (client-server API, "End-to-End Encryption").
//! The server keeps and hands out; it never sees a secret.

mod claim;
mod cross_signing;
mod query;
mod signatures;
mod upload;

use plexus_protocol::id::{ServerName, UserId};
use plexus_protocol::json::Object;
use plexus_store::{Database, DbError};

pub use claim::{Claimed, DeviceClaims};
pub use cross_signing::{CrossSigningError, CrossSigningState, CrossSigningUpload};
pub use query::{DeviceList, QueriedKeys};
pub use signatures::{SignatureFailure, SignatureFailures};
pub use upload::{KeyUpload, UploadError};

/// Publishes and hands out the keys of this server's users.
#[derive(Clone)]
pub struct DeviceKeys {
    db: Database,
    server_name: ServerName,
}

impl DeviceKeys {
    /// `server_name` tells which users are local.
    #[must_use]
    pub fn new(db: Database, server_name: ServerName) -> Self {
        Self { db, server_name }
    }

    /// Whether a user is on this server.
    #[must_use]
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name.as_str()
    }
}

/// A stored key object. What is stored was an object when it was uploaded.
fn stored(json: &str, table: &str, user_id: &str) -> Result<Object, DbError> {
    Object::parse(json).map_err(|error| DbError::bad_data(format!("{table}.key_json of {user_id}"), error))
}

/// Adds a signature to a key object.
fn add_signature(object: &mut Object, signer: &str, key_id: &str, signature: &str) {
    let mut signatures = object.get_object("signatures").cloned().unwrap_or_default();
    let mut of_signer = signatures.get_object(signer).cloned().unwrap_or_default();
    of_signer.insert(key_id, signature);
    signatures.insert(signer, of_signer);
    object.insert("signatures", signatures);
}

/// What signatures cover: the object without `signatures` and `unsigned`.
fn signed_part(object: &Object) -> Object {
    let mut part = object.clone();
    part.remove("signatures");
    part.remove("unsigned");
    part
}
