//! Comparison with ruma-signatures in room versions 3 to 12, for events that canonical JSON allows.
//!
//! Known differences and their reasons:
//! - A number `-0`: here the integer zero, as in the specification's example
//!   ([Canonical JSON](https://spec.matrix.org/v1.19/appendices/#examples)) and in Synapse; ruma refuses it.
//! - `join_authorised_via_users_server`: here its server must sign joins, as in Synapse and Dendrite; rule 4.2 of room
//!   version 8 requires it for every `m.room.member`, and ruma for every event.
//! - A `third_party_invite` that is not an object is redacted here, as in Synapse: only its `signed` is kept
//!   ([Redactions](https://spec.matrix.org/v1.19/rooms/v11/#redactions)); ruma keeps it whole, so ids differ.
//! - Size: the specification allows 65,536 bytes for the whole event; ruma 65,535 for the hashed part.
//! - Points of small order in keys and signatures: refused here, as by libsodium; ruma accepts them.

use std::collections::BTreeMap;

use plexus_protocol::{
    event::{
        Pdu, build, hash, redact,
        sign::{KnownKey, SigningKey, required_servers, verify, verify_all},
    },
    id::ServerName,
    json::{Object, Value},
    rules::RoomVersion,
};
use ruma_common::{CanonicalJsonObject, RoomVersionId, room_version_rules::RoomVersionRules, serde::Base64};
use ruma_signatures::{Ed25519KeyPair, PublicKeyMap};

use crate::{cases, generate::Generator};

fn versions() -> impl Iterator<Item = (RoomVersion, RoomVersionRules)> {
    RoomVersion::ALL.into_iter().filter(|v| *v >= RoomVersion::V3).map(|version| (version, ruma_rules(version)))
}

fn ruma_rules(version: RoomVersion) -> RoomVersionRules {
    RoomVersionId::try_from(version.as_str()).unwrap().rules().unwrap()
}

fn ruma_key(seed: [u8; 32]) -> Ed25519KeyPair {
    // A PKCS#8 document is this header and the seed.
    let header = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    Ed25519KeyPair::from_der(&[&header[..], &seed].concat(), "k".to_owned()).unwrap()
}

fn to_ruma(json: &str) -> CanonicalJsonObject {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

fn to_text(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).unwrap()
}

#[test]
fn canonical_json() {
    let mut generator = Generator::new(10);
    for _ in 0..cases() {
        let object = generator.object(5);
        let mut text = String::new();
        generator.rewrite(&Value::Object(object), &mut text);
        assert_eq!(Object::parse(&text).unwrap().to_canonical_json().unwrap(), to_text(&to_ruma(&text)), "{text}");
        let odd = format!("{{\"n\":{}}}", generator.odd_number());
        let ours = Object::parse(&odd).unwrap().to_canonical_json();
        let theirs = serde_json::from_str::<CanonicalJsonObject>(&odd);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{odd}");
    }
}

#[test]
fn hashes_ids_and_redaction() {
    let mut generator = Generator::new(11);
    for _ in 0..cases() / 4 {
        for (version, rules) in versions() {
            let event = generator.event(version).to_json();
            let (ours, theirs) = (Pdu::parse(&event, version).unwrap(), to_ruma(&event));
            assert_eq!(ours.json(), to_text(&theirs));
            let content_hash = Base64::<ruma_common::serde::base64::Standard, _>::new(hash::content_hash(ours.json()));
            assert_eq!(content_hash.encode(), ruma_signatures::content_hash(&theirs).unwrap().encode(), "{event}");
            if odd_third_party_invite(&ours) {
                continue;
            }
            let reference = ruma_signatures::reference_hash(&theirs, &rules).unwrap();
            assert_eq!(ours.event_id().as_str(), format!("${reference}"), "{version} {event}");
            let redacted = ruma_common::canonical_json::redact(theirs, &rules.redaction, None).unwrap();
            assert_eq!(redact::redact(&ours).json(), to_text(&redacted), "{version} {event}");
        }
    }
}

#[test]
fn signing() {
    let mut generator = Generator::new(12);
    for _ in 0..cases() / 20 {
        for (version, rules) in versions() {
            let seed = [generator.next() as u8; 32];
            let event = generator.event(version);
            let mut theirs = to_ruma(&event.to_json());
            theirs.remove("hashes");
            theirs.remove("signatures");
            ruma_signatures::hash_and_sign_event("a.org", &ruma_key(seed), &mut theirs, &rules.redaction).unwrap();
            let ours = build::finish(event, version, &SigningKey::generate(&seed, "k"), &server("a.org")).unwrap();
            if !odd_third_party_invite(&ours) {
                assert_eq!(ours.json(), to_text(&theirs), "{version}");
            }
        }
    }
}

fn server(name: &str) -> ServerName {
    name.parse().unwrap()
}

/// Events with the signatures of some of the servers that must sign, some of them altered: single verification, batch
/// verification and ruma agree.
#[test]
fn verification() {
    let mut generator = Generator::new(13);
    let names = ["a.org", "b.org", "c.org:8448"];
    let keys: Vec<SigningKey> = (0..3).map(|i| SigningKey::generate(&[i; 32], "k")).collect();
    let second = SigningKey::generate(&[9; 32], "k2");
    let lookup = |server: &str, key_id: &str| {
        let at = names.iter().position(|name| *name == server)?;
        let key = [&keys[at], &second].into_iter().find(|key| key.key_id() == key_id)?;
        Some(KnownKey { key: key.public_key(), valid_until_ts: u64::MAX })
    };
    let public_keys: PublicKeyMap = names
        .iter()
        .zip(&keys)
        .map(|(name, key)| {
            let entry = |key: &SigningKey| (key.key_id().to_owned(), Base64::parse(key.public_key_base64()).unwrap());
            ((*name).to_owned(), BTreeMap::from([entry(key), entry(&second)]))
        })
        .collect();
    let (mut pdus, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..cases() / 20 {
        for (version, rules) in versions() {
            let pdu = signed(&mut generator, version, &keys, &names);
            let theirs = to_ruma(pdu.json());
            let their_result = ruma_signatures::verify_event(&public_keys, &theirs, &rules);
            let our_result = verify(&pdu, &lookup);
            let content = pdu.content();
            let is_join = pdu.event_type() == "m.room.member" && content.get_str("membership") == Some("join");
            let known_difference =
                version >= RoomVersion::V8 && !is_join && content.contains_key("join_authorised_via_users_server");
            // ruma calls a member event without a membership malformed.
            let malformed = pdu.event_type() == "m.room.member" && content.get_str("membership").is_none();
            if !known_difference && !malformed && !odd_third_party_invite(&pdu) {
                assert_eq!(
                    our_result.is_ok(),
                    their_result.is_ok(),
                    "{version} {:?} {our_result:?} {their_result:?} {pdu:?}",
                    required_servers(&pdu)
                );
                if let Ok(verified) = their_result {
                    assert_eq!(pdu.content_hash_matches(), verified == ruma_signatures::Verified::All);
                }
            }
            pdus.push(pdu);
            expected.push(our_result);
        }
    }
    assert!(expected.iter().filter(|r| r.is_ok()).count() > pdus.len() / 5);
    assert!(expected.iter().filter(|r| r.is_err()).count() > pdus.len() / 20);
    for ((pdu, batched), single) in pdus.iter().zip(verify_all(&pdus, &lookup, [3; 32])).zip(expected) {
        assert_eq!(batched, single, "{pdu:?}");
    }
}

fn signed(generator: &mut Generator, version: RoomVersion, keys: &[SigningKey], names: &[&str]) -> Pdu {
    let mut event = generator.event(version);
    if generator.one_in(3)
        && let Some(content) = event.get_mut("content").and_then(Value::as_object_mut)
    {
        content.insert("membership", generator.pick(&["join", "invite"]));
        content.insert("join_authorised_via_users_server", generator.pick(&["@b:b.org", "@c:c.org:8448", "@a:a.org"]));
        event.insert("type", "m.room.member");
        if version == RoomVersion::V12 {
            event.insert("room_id", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM");
        }
    }
    let mut pdu = build::finish(event, version, &keys[0], &server(names[0])).unwrap();
    for (key, name) in keys.iter().zip(names).skip(1) {
        if generator.one_in(2) {
            pdu = plexus_protocol::event::sign::add_signature(&pdu, key, &server(name)).unwrap();
        }
    }
    if generator.one_in(3) {
        // A second key of the same server: known, unknown, or another server's.
        let (seed, name) = generator.pick(&[(9, "k2"), (9, "k2"), (8, "k3"), (7, "k2")]);
        pdu = plexus_protocol::event::sign::add_signature(
            &pdu,
            &SigningKey::generate(&[seed; 32], name),
            &server(names[0]),
        )
        .unwrap();
    }
    match generator.below(6) {
        0 => altered(&pdu, "depth", 1.into()),
        1 => altered(&pdu, "content", Object::from([("membership", "join")]).into()),
        2 => altered(&pdu, "signatures", Object::from([("a.org", Object::from([("ed25519:k", "AAAA")]))]).into()),
        3 => altered(&pdu, "signatures", Object::from([("b.org", Object::from([("ed25519:other", "AAAA")]))]).into()),
        _ => pdu,
    }
}

fn odd_third_party_invite(pdu: &Pdu) -> bool {
    let invite = pdu.content().get("third_party_invite");
    pdu.event_type() == "m.room.member" && invite.is_some_and(|invite| invite.as_object().is_none())
}

fn altered(pdu: &Pdu, key: &str, value: Value) -> Pdu {
    let mut object = Object::parse(pdu.json()).unwrap();
    object.insert(key, value);
    Pdu::parse(&object.to_json(), pdu.room_version()).unwrap()
}

/// The differences in parsing, as they are today: this test fails if ruma changes.
#[test]
fn known_differences() {
    assert_eq!(Object::parse(r#"{"a":-0}"#).unwrap().to_canonical_json().unwrap(), r#"{"a":0}"#);
    assert!(serde_json::from_str::<CanonicalJsonObject>(r#"{"a":-0}"#).is_err());

    let event = r#"{"content":{"third_party_invite":"x"},"type":"m.room.member"}"#;
    let ours = redact::redact_object(&Object::parse(event).unwrap(), RoomVersion::V11.rules());
    assert_eq!(ours.to_json(), r#"{"content":{},"type":"m.room.member"}"#);
    let rules = ruma_rules(RoomVersion::V11);
    let theirs = ruma_common::canonical_json::redact(to_ruma(event), &rules.redaction, None).unwrap();
    assert_eq!(to_text(&theirs), event);
}
