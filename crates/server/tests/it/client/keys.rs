//! Keys of devices and users.

mod get_key_changes;
mod upload_keys;
mod upload_signing_keys;

use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::json::Object;
use plexus_testkit::server::TestUser;
use serde_json::{Value, json};

pub(crate) fn device_keys(user: &TestUser) -> Value {
    let device = &user.device_id;
    json!({
        "user_id": user.id, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("ed25519:{device}"): "key" }, "signatures": { &user.id: {} },
    })
}

/// A cross-signing key, signed by `signer` if given.
pub(crate) fn cross_signing(user: &TestUser, purpose: &str, seed: u8, signer: Option<u8>) -> Value {
    let key = SigningKey::generate(&[seed; 32], "x").public_key_base64();
    let mut object = json!({
        "user_id": user.id, "usage": [purpose], "keys": { format!("ed25519:{key}"): key },
    });
    if let Some(signer) = signer {
        let signer = SigningKey::generate(&[signer; 32], "x");
        let signature = signer.sign(Object::parse(&object.to_string()).unwrap().to_json().as_bytes());
        let name = format!("ed25519:{}", signer.public_key_base64());
        object["signatures"] = json!({ &user.id: { name: signature } });
    }
    object
}
