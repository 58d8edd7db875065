//! Policy servers, which recommend a room's events by signing them
//! ([Policy Servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers)).

use sha2::{Digest, Sha256};

use crate::event::sign::{PublicKey, SigningKey, with_signature};
use crate::event::{Pdu, PduError};
use crate::glob::Pattern;
use crate::id::ServerName;
use crate::json::Object;

/// The key id of every policy server signature.
const KEY_ID: &str = "ed25519:policy_server";
/// Its part after the algorithm.
const KEY_VERSION: &str = "policy_server";
/// What the recommendation of a rule is when it bans, in the specification and before it.
const BANS: [&str; 2] = ["m.ban", "org.matrix.mjolnir.ban"];

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

/// Returns the key with which the owner of a server's key signs as a policy server. It is another one: signatures by
/// the server's own key would make events of its users valid. It changes with the server's key.
pub fn signing_key(server_key: &SigningKey) -> SigningKey {
    // Of other texts than this one the server signs only JSON.
    let secret = server_key.sign(b"the key of the policy server");
    SigningKey::generate(&Sha256::digest(secret).into(), KEY_VERSION)
}

/// Returns the response of a policy server that recommends an event.
pub fn recommendation(pdu: &Pdu, server: &ServerName, key: &SigningKey) -> Object {
    let signature = key.sign(pdu.signable_json().as_bytes());
    Object::from([(server.as_str(), Object::from([(KEY_ID, signature)]))])
}

/// What a rule of a policy room is about
/// ([Moderation policy lists](https://spec.matrix.org/v1.19/client-server-api/#moderation-policy-lists)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSubject {
    /// The sender of events.
    User,
    /// The server of the sender.
    Server,
    /// The room.
    Room,
}

impl RuleSubject {
    /// All of them, with those first of which there are few.
    pub const ALL: [Self; 3] = [Self::Server, Self::Room, Self::User];

    /// Returns the type of the rules' events.
    pub fn event_type(self) -> &'static str {
        match self {
            Self::User => "m.policy.rule.user",
            Self::Server => "m.policy.rule.server",
            Self::Room => "m.policy.rule.room",
        }
    }
}

/// A rule of a policy room that bans.
#[derive(Debug, Clone)]
pub struct BanRule {
    subject: RuleSubject,
    entity: Pattern,
}

impl BanRule {
    /// Reads the content of a rule; `None` when it does not ban.
    pub fn of(subject: RuleSubject, content: &Object) -> Option<Self> {
        let recommendation = content.get_str("recommendation")?;
        let entity = content.get_str("entity").filter(|_| BANS.contains(&recommendation))?;
        Some(Self { subject, entity: Pattern::whole(entity) })
    }

    /// Whether the rule bans the event.
    pub fn bans(&self, pdu: &Pdu) -> bool {
        self.entity.matches(match self.subject {
            RuleSubject::User => pdu.sender().as_str(),
            RuleSubject::Server => pdu.sender().server_host(),
            RuleSubject::Room => pdu.room_id().as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::build::PduBuilder;
    use crate::event::sign::SigningKey;
    use crate::rules::RoomVersion;

    fn event(version: RoomVersion) -> Pdu {
        event_of("@alice:a.example", version)
    }

    fn event_of(sender: &str, version: RoomVersion) -> Pdu {
        let key = SigningKey::generate(&[1; 32], "1");
        let builder = PduBuilder {
            room_id: Some("!r:a.example".try_into().unwrap()),
            sender: sender.try_into().unwrap(),
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

    #[test]
    fn a_server_signs_as_a_policy_server_with_another_key() {
        let server_key = SigningKey::generate(&[4; 32], "1");
        let (key, server) = (signing_key(&server_key), ServerName::try_from("p.example").unwrap());
        assert_ne!(key.public_key_base64(), server_key.public_key_base64());
        let public = Object::from([("ed25519", key.public_key_base64())]);
        let mut content = Object::from([("via", "p.example")]);
        content.insert("public_keys", public);
        let pdu = event(RoomVersion::V11);
        let answer = recommendation(&pdu, &server, &key);
        assert!(PolicyServer::of(&content).unwrap().recommended(&pdu, &answer).unwrap().is_some());
    }

    #[test]
    fn rules_ban_senders_servers_and_rooms() {
        let pdu = event(RoomVersion::V11);
        let bans = |subject, entity: &str, recommendation: &str| {
            let content = Object::from([("entity", entity), ("recommendation", recommendation)]);
            BanRule::of(subject, &content).is_some_and(|rule| rule.bans(&pdu))
        };
        assert!(bans(RuleSubject::User, "@alice:a.example", "m.ban"));
        assert!(bans(RuleSubject::User, "@al?ce:*", "org.matrix.mjolnir.ban"));
        assert!(bans(RuleSubject::Server, "*.example", "m.ban"));
        assert!(bans(RuleSubject::Room, "!r:a.example", "m.ban"));
        assert!(!bans(RuleSubject::User, "@bob:a.example", "m.ban"));
        assert!(!bans(RuleSubject::Server, "@alice:a.example", "m.ban"));
        assert!(!bans(RuleSubject::User, "@alice:a.example", "m.hug"));
        assert!(BanRule::of(RuleSubject::User, &Object::new()).is_none());
        let content = Object::from([("entity", "a.example"), ("recommendation", "m.ban")]);
        let rule = BanRule::of(RuleSubject::Server, &content).unwrap();
        assert!(rule.bans(&event_of("@alice:a.example:8448", RoomVersion::V11)));
    }
}
