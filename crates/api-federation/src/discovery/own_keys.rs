//! This server's keys, as it publishes them (server-server API, "Publishing Keys").

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use parking_lot::Mutex;
use plexus_base::Clock;
use plexus_base::config::KeysSection;
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::ServerName;
use plexus_protocol::json::{NotCanonical, Object, Value};

/// This server's response about its keys. It is renewed when half of its time has passed, so that others can always
/// keep it for at least the other half.
pub struct OwnKeys {
    server_name: ServerName,
    signing_key: Arc<SigningKey>,
    old_verify_keys: Object,
    lifetime: Duration,
    clock: Clock,
    current: Mutex<Option<Current>>,
}

struct Current {
    valid_until_ts: u64,
    response: Object,
    json: Bytes,
}

impl OwnKeys {
    /// Creates the response for the key with which `server_name` signs, and the earlier keys that `options` name.
    pub fn new(server_name: ServerName, signing_key: Arc<SigningKey>, options: &KeysSection, clock: Clock) -> Self {
        let old = |(id, key): (&String, &plexus_base::config::OldSigningKey)| {
            let members = [("key", Value::from(key.key.clone())), ("expired_ts", Value::from(key.expired_ts))];
            (id.clone(), Object::from(members))
        };
        Self {
            server_name,
            signing_key,
            old_verify_keys: options.old_signing_keys.iter().map(old).collect(),
            lifetime: options.key_refresh_interval,
            clock,
            current: Mutex::new(None),
        }
    }

    /// Returns the response as JSON.
    ///
    /// # Errors
    /// When `expired_ts` of an old key is no number that canonical JSON can hold.
    pub fn response(&self) -> Result<Bytes, NotCanonical> {
        self.current(|current| current.json.clone())
    }

    /// Returns the response as an object, signed by this server.
    ///
    /// # Errors
    /// As [`Self::response`].
    pub fn object(&self) -> Result<Object, NotCanonical> {
        self.current(|current| current.response.clone())
    }

    fn current<T>(&self, take: impl FnOnce(&Current) -> T) -> Result<T, NotCanonical> {
        let mut current = self.current.lock();
        let now = self.clock.now_ms();
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        // A response that is valid for longer was made before the clock was set back.
        let good_until = now.saturating_add(lifetime / 2)..=now.saturating_add(lifetime);
        match &*current {
            Some(fresh) if good_until.contains(&fresh.valid_until_ts) => Ok(take(fresh)),
            _ => Ok(take(current.insert(self.make(*good_until.end())?))),
        }
    }

    fn make(&self, valid_until_ts: u64) -> Result<Current, NotCanonical> {
        let key = Object::from([("key", self.signing_key.public_key_base64())]);
        let mut response = Object::from([
            ("server_name", Value::from(self.server_name.as_str())),
            ("valid_until_ts", Value::from(valid_until_ts)),
            ("verify_keys", Object::from([(self.signing_key.key_id(), key)]).into()),
            ("old_verify_keys", self.old_verify_keys.clone().into()),
        ]);
        self.signing_key.sign_object(&mut response, self.server_name.as_str())?;
        Ok(Current { valid_until_ts, json: response.to_json().into(), response })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_signed_and_renewed_at_half_its_time() {
        let clock = Clock::manual(1_000_000);
        let key = Arc::new(SigningKey::generate(&[7; 32], "a_1"));
        let keys = OwnKeys {
            server_name: ServerName::try_from("test.example").unwrap(),
            signing_key: Arc::clone(&key),
            old_verify_keys: Object::new(),
            lifetime: Duration::from_secs(100),
            clock: clock.clone(),
            current: Mutex::new(None),
        };
        let valid_until = || keys.object().unwrap().get_i64("valid_until_ts");
        assert!(key.public_key().verify_object(&keys.object().unwrap(), "test.example", "ed25519:a_1"));
        assert_eq!(valid_until(), Some(1_100_000));
        clock.advance(Duration::from_secs(50));
        assert_eq!(valid_until(), Some(1_100_000));
        clock.advance(Duration::from_millis(1));
        assert_eq!(valid_until(), Some(1_150_001));
        // The clock is set back.
        let keys = OwnKeys { clock: Clock::manual(500_000), ..keys };
        assert_eq!(keys.object().unwrap().get_i64("valid_until_ts"), Some(600_000));
    }
}
