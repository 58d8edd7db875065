//! Policy servers, which recommend a room's events by signing them
//! ([Policy Servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers)).

use crate::event::sign::{PublicKey, with_signature};
use crate::event::{Pdu, PduError};
use crate::id::ServerName;
use crate::json::Object;

/// The key id of every policy server signature.
const KEY_ID: &str = "ed25519:policy_server";

/// The policy server that a valid `m.room.policy` names.
#[derive(Debug, Clone)]
pub struct PolicyServer {
    /// The server to ask for signatures.
    pub via: ServerName,
    key: PublicKey,
}

impl PolicyServer {
    /// Reads the content of `m.room.policy`; `None` when it is not valid. The room uses the server only while one of
    /// the server's users is joined.
    pub fn of(content: &Object) -> Option<Self> {
        let via = content.get_str("via")?.try_into().ok()?;
        let key = PublicKey::parse(content.get_object("public_keys")?.get_str("ed25519")?).ok()?;
        Some(Self { via, key })
    }

    /// Whether events of this type and state key need a recommendation: all except `m.room.policy` itself.
    pub fn is_about(event_type: &str, state_key: Option<&str>) -> bool {
        (event_type, state_key) != ("m.room.policy", Some(""))
    }

    /// Whether the event has a valid signature of the policy server.
    pub fn recommends(&self, pdu: &Pdu) -> bool {
        let signatures = pdu.member_json("signatures").and_then(|text| Object::parse(text).ok()).unwrap_or_default();
        self.signature_in(&signatures).is_some_and(|signature| self.is_right(pdu, signature))
    }

    /// Returns the event with the policy server's signature from its response; `None` when the signature is wrong or
    /// missing.
    ///
    /// # Errors
    /// [`PduError::TooLarge`] when there is no room for the signature.
    pub fn recommended(&self, pdu: &Pdu, answered: &Object) -> Result<Option<Pdu>, PduError> {
        let signature = self.signature_in(answered).filter(|signature| self.is_right(pdu, signature));
        signature.map(|signature| with_signature(pdu, self.via.as_str(), KEY_ID, signature.to_owned())).transpose()
    }

    fn signature_in<'a>(&self, signatures: &'a Object) -> Option<&'a str> {
        signatures.get_object(self.via.as_str())?.get_str(KEY_ID)
    }

    fn is_right(&self, pdu: &Pdu, signature: &str) -> bool {
        self.key.verify(pdu.signable_json().as_bytes(), signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::build::PduBuilder;
    use crate::event::sign::SigningKey;
    use crate::rules::RoomVersion;

    fn event(version: RoomVersion) -> Pdu {
        let key = SigningKey::generate(&[1; 32], "1");
        let builder = PduBuilder {
            room_id: Some("!r:a.example".try_into().unwrap()),
            sender: "@alice:a.example".try_into().unwrap(),
            event_type: "m.room.message".to_owned(),
            state_key: None,
            content: Object::from([("body", "hello")]),
            unsigned: None,
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: 1,
        };
        builder.build(version, &key, &"a.example".try_into().unwrap()).unwrap()
    }

    #[test]
    fn a_signature_of_the_key_in_the_room_recommends_an_event() {
        let key = SigningKey::generate(&[2; 32], "policy_server");
        let content = |key: &str| format!(r#"{{"via":"p.example","public_keys":{{"ed25519":"{key}"}}}}"#);
        let policy = PolicyServer::of(&Object::parse(&content(&key.public_key_base64())).unwrap()).unwrap();
        for version in [RoomVersion::V1, RoomVersion::V11] {
            let pdu = event(version);
            assert!(!policy.recommends(&pdu));
            let answer = |server: &str, key: &SigningKey| {
                let signature = key.sign(pdu.signable_json().as_bytes());
                Object::from([(server, Object::from([("ed25519:policy_server", signature)]))])
            };
            let signed = policy.recommended(&pdu, &answer("p.example", &key)).unwrap().unwrap();
            assert!(policy.recommends(&signed));
            assert_eq!(signed.event_id(), pdu.event_id());
            assert!(policy.recommended(&pdu, &answer("other.example", &key)).unwrap().is_none());
            let other = SigningKey::generate(&[3; 32], "policy_server");
            assert!(policy.recommended(&pdu, &answer("p.example", &other)).unwrap().is_none());
            assert!(policy.recommended(&pdu, &Object::new()).unwrap().is_none());
        }
        for bad in [&*content("AA"), "{}", r#"{"via":"p.example"}"#, r#"{"via":7,"public_keys":{"ed25519":"x"}}"#] {
            assert!(PolicyServer::of(&Object::parse(bad).unwrap()).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_names_the_policy_server_needs_no_recommendation() {
        assert!(!PolicyServer::is_about("m.room.policy", Some("")));
        assert!(PolicyServer::is_about("m.room.policy", Some("x")));
        assert!(PolicyServer::is_about("m.room.policy", None));
        assert!(PolicyServer::is_about("m.room.member", Some("")));
    }
}
