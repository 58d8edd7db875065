use super::*;
use crate::{
    event::{MAX_PDU, build::PduBuilder, hash},
    json::Value,
    rules::RoomVersion,
};

/// The key of the specification's vectors (appendices, "Cryptographic Test Vectors").
fn specification_key() -> SigningKey {
    SigningKey::parse_file("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n").unwrap()
}

fn server(name: &str) -> ServerName {
    name.parse().unwrap()
}

#[test]
fn specification_json_vectors() {
    let key = specification_key();
    for (json, signature) in [
        ("{}", "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            r#"{"one":1,"two":"Two"}"#,
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ] {
        let mut object = Object::parse(json).unwrap();
        key.sign_object(&mut object, "domain").unwrap();
        assert_eq!(
            object.get_object("signatures").unwrap().get_object("domain").unwrap().get_str("ed25519:1"),
            Some(signature)
        );
        assert!(key.public_key().verify_object(&object, "domain", "ed25519:1"));
        object.insert("unsigned", Object::from([("x", 1)]));
        assert!(key.public_key().verify_object(&object, "domain", "ed25519:1"));
        assert!(!key.public_key().verify_object(&object, "other", "ed25519:1"));
        object.insert("one", 2);
        assert!(!key.public_key().verify_object(&object, "domain", "ed25519:1"));
    }
}

#[test]
fn specification_event_vectors() {
    let key = specification_key();
    for (json, hash, signature) in [
        (
            r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},"hashes":{},
                "type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}"#,
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,
                "type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}"#,
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ] {
        let mut event = Object::parse(json).unwrap();
        assert_eq!(BASE64.encode(hash::content_hash(&event.to_json())), hash);
        event.insert("hashes", Object::from([("sha256", hash)]));
        let signable = hash::signable_text(&event, &event.to_json(), RoomVersion::V1.rules()).unwrap();
        assert_eq!(key.sign(signable.as_bytes()), signature);
    }
}

#[test]
fn key_files() {
    let key = SigningKey::generate(&[1; 32], "a_AbCd");
    assert_eq!(key.to_file_line(), "ed25519 a_AbCd AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
    let read = SigningKey::parse_file(&format!("\n  {}\r\n", key.to_file_line())).unwrap();
    assert_eq!((read.key_id(), read.public_key()), ("ed25519:a_AbCd", key.public_key()));
    assert_eq!(PublicKey::parse(&key.public_key_base64()), Ok(key.public_key()));
    assert_eq!(format!("{key:?}"), "SigningKey(ed25519:a_AbCd)");
    for (file, error) in [
        ("", KeyFileError::Empty),
        ("ed25519 a_x", KeyFileError::Empty),
        ("rsa a_x AQEB", KeyFileError::Algorithm("rsa".into())),
        ("ed25519 a:x AQEB", KeyFileError::Version("a:x".into())),
        ("ed25519 a_x AQEB", KeyFileError::Seed),
        ("ed25519 a_x !!!!", KeyFileError::Seed),
    ] {
        assert_eq!(SigningKey::parse_file(file).unwrap_err(), error);
    }
}

#[test]
fn public_keys_that_libsodium_refuses() {
    let order_one = {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    };
    let order_four = [0; 32];
    // y = 2^255 - 19 + 1, the identity once more, and y = 2^255 - 1.
    let not_canonical = {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xee;
        bytes[31] = 0x7f;
        bytes
    };
    for bytes in [order_one, order_four, not_canonical, [0xff; 32]] {
        assert_eq!(PublicKey::parse(&BASE64.encode(bytes)), Err(InvalidPublicKey::Malformed));
    }
    for text in ["", "AQEB", "not base64!"] {
        assert_eq!(PublicKey::parse(text), Err(InvalidPublicKey::Malformed));
    }
}

#[test]
fn a_key_that_everybody_has_is_refused() {
    // The first 32 bytes of Go's math/rand seeded with 0.
    let line = "ed25519 0 AZT9wvov/MBB0/8SBFtzyG5P+V/2YqXu6Cq99EotC3U=";
    assert_eq!(SigningKey::parse_file(line).unwrap_err(), KeyFileError::Leaked);
    for text in ["l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og", "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og="] {
        assert_eq!(PublicKey::parse(text), Err(InvalidPublicKey::Leaked));
    }
}

fn event(version: RoomVersion, event_type: &str, content: &str, signers: &[(&SigningKey, &str)]) -> Pdu {
    let sender = "@alice:a.org".parse().unwrap();
    let builder = PduBuilder {
        room_id: Some(match version {
            RoomVersion::V12 => "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM".parse().unwrap(),
            _ => "!r:a.org".parse().unwrap(),
        }),
        sender,
        event_type: event_type.to_owned(),
        state_key: (event_type == "m.room.member").then(|| "@alice:a.org".to_owned()),
        content: Object::parse(content).unwrap(),
        unsigned: None,
        redacts: None,
        prev_events: vec![],
        auth_events: vec![],
        depth: 7,
        origin_server_ts: 1000,
    };
    let ((first, name), rest) = signers.split_first().unwrap();
    let pdu = builder.build(version, first, &server(name)).unwrap();
    rest.iter().fold(pdu, |pdu, (key, name)| add_signature(&pdu, key, &server(name)).unwrap())
}

fn known(entries: &[(&str, &SigningKey, u64)]) -> impl Fn(&str, &str) -> Option<KnownKey> + use<> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(server, key, until)| {
            ((*server).to_owned(), key.key_id().to_owned(), KnownKey { key: key.public_key(), valid_until_ts: *until })
        })
        .collect();
    move |server, id| entries.iter().find(|(s, i, _)| s == server && i == id).map(|(_, _, key)| *key)
}

#[test]
fn every_version_builds_signs_and_verifies() {
    let key = SigningKey::generate(&[2; 32], "k");
    for version in RoomVersion::ALL {
        let pdu = event(version, "m.room.message", r#"{"body":"hi"}"#, &[(&key, "a.org")]);
        assert!(pdu.content_hash_matches());
        assert_eq!(verify(&pdu, &known(&[("a.org", &key, 1000)])), Ok(()), "{version}");
        assert_eq!(verify(&crate::event::redact::redact(&pdu), &known(&[("a.org", &key, 1000)])), Ok(()), "{version}");
        let changed = pdu.json().replace("\"depth\":7", "\"depth\":8");
        let changed = Pdu::parse(&changed, version).unwrap();
        assert_eq!(verify(&changed, &known(&[("a.org", &key, 1000)])), Err(SignatureError::Invalid("a.org".into())));
        let edited = Pdu::parse(&pdu.json().replace("hi", "ho"), version).unwrap();
        assert!(!edited.content_hash_matches());
        assert_eq!(verify(&edited, &known(&[("a.org", &key, 1000)])), Ok(()), "redacted content is not signed");
    }
}

#[test]
fn reasons() {
    let key = SigningKey::generate(&[2; 32], "k");
    let pdu = event(RoomVersion::V11, "m.room.message", "{}", &[(&key, "b.org")]);
    assert_eq!(verify(&pdu, &known(&[("b.org", &key, 1000)])), Err(SignatureError::Missing("a.org".into())));
    let pdu = event(RoomVersion::V11, "m.room.message", "{}", &[(&key, "a.org")]);
    assert_eq!(verify(&pdu, &known(&[])), Err(SignatureError::UnknownKey("a.org".into())));
    assert_eq!(verify(&pdu, &known(&[("a.org", &key, 999)])), Err(SignatureError::KeyNotValid("a.org".into())));
    for (version, enforced) in [(RoomVersion::V4, false), (RoomVersion::V5, true)] {
        let pdu = event(version, "m.room.message", "{}", &[(&key, "a.org")]);
        assert_eq!(verify(&pdu, &known(&[("a.org", &key, 0)])).is_err(), enforced, "{version}");
    }
}

/// Unknown and expired keys are skipped; a wrong signature by a valid key fails the event even if another is right.
#[test]
fn all_signatures_that_count_must_be_right() {
    let [good, unknown, expired] =
        [(2, "new"), (3, "unknown"), (4, "old")].map(|(seed, name)| SigningKey::generate(&[seed; 32], name));
    let imposter = SigningKey::generate(&[5; 32], "old");
    let signers = [(&good, "a.org"), (&unknown, "a.org"), (&imposter, "a.org")];
    let pdu = event(RoomVersion::V11, "m.room.message", "{}", &signers);
    for (until, expected) in [(999, Ok(())), (1000, Err(SignatureError::Invalid("a.org".into())))] {
        let keys = known(&[("a.org", &good, 1000), ("a.org", &expired, until)]);
        assert_eq!(verify(&pdu, &keys), expected);
        assert_eq!(verify_all(&vec![pdu.clone(); 200], &keys, [9; 32]), vec![expected; 200]);
    }
    let ids = ["ed25519:new", "ed25519:old", "ed25519:unknown"].map(str::to_owned).to_vec();
    assert_eq!(required_keys(&pdu), [("a.org".to_owned(), ids)]);
}

#[test]
fn who_must_sign() {
    let key = SigningKey::generate(&[2; 32], "k");
    let member = |version, content| event(version, "m.room.member", content, &[(&key, "c.org")]);
    let restricted = r#"{"membership":"join","join_authorised_via_users_server":"@bob:b.org:80"}"#;
    assert_eq!(required_servers(&member(RoomVersion::V7, restricted)), ["a.org"]);
    assert_eq!(required_servers(&member(RoomVersion::V8, restricted)), ["a.org", "b.org:80"]);
    assert_eq!(required_servers(&member(RoomVersion::V1, restricted)), ["a.org", "c.org"]);
    assert_eq!(required_servers(&member(RoomVersion::V3, restricted)), ["a.org"]);
    let third_party = r#"{"membership":"invite","third_party_invite":{}}"#;
    assert_eq!(required_servers(&member(RoomVersion::V11, third_party)), Vec::<&str>::new());
    assert_eq!(required_servers(&member(RoomVersion::V2, third_party)), ["c.org"]);
    let leave = r#"{"membership":"leave","join_authorised_via_users_server":"@bob:b.org","third_party_invite":{}}"#;
    assert_eq!(required_servers(&member(RoomVersion::V11, leave)), ["a.org"]);
    let nobody = r#"{"membership":"join","join_authorised_via_users_server":"bob"}"#;
    assert_eq!(verify(&member(RoomVersion::V11, nobody), &known(&[])), Err(SignatureError::Missing("a.org".into())));
    assert_eq!(required_servers(&member(RoomVersion::V11, nobody)), ["a.org", "bob"]);
    let message = event(RoomVersion::V11, "m.room.message", restricted, &[(&key, "a.org")]);
    assert_eq!(required_servers(&message), ["a.org"]);
}

#[test]
fn a_batch_decides_as_single_checks_do() {
    let keys: Vec<_> = (0..5).map(|i| SigningKey::generate(&[i; 32], "k")).collect();
    let names = ["a.org", "b.org"];
    let mut pdus: Vec<Pdu> = (0..300)
        .map(|i| {
            let content = format!(r#"{{"membership":"join","join_authorised_via_users_server":"@b:b.org","n":{i}}}"#);
            event(RoomVersion::V11, "m.room.member", &content, &[(&keys[0], names[0]), (&keys[1], names[1])])
        })
        .collect();
    let lookup = known(&[("a.org", &keys[0], 1000), ("b.org", &keys[1], 1000)]);
    let check = |pdus: &[Pdu]| {
        let expected: Vec<_> = pdus.iter().map(|pdu| verify(pdu, &lookup)).collect();
        assert_eq!(verify_all(pdus, &lookup, [5; 32]), expected);
        expected.iter().filter(|result| result.is_err()).count()
    };
    assert_eq!(check(&pdus), 0);
    assert_eq!(check(&[]), 0);
    assert_eq!(check(&pdus[..3]), 0);
    for at in [0, 64, 150, 299] {
        pdus[at] = event(RoomVersion::V11, "m.room.member", r#"{"membership":"join"}"#, &[(&keys[2], "a.org")]);
    }
    pdus[20] = event(RoomVersion::V11, "m.room.member", r#"{"membership":"join"}"#, &[(&keys[2], "c.org")]);
    let garbled = pdus[30].json().replace("ed25519:k\":\"", "ed25519:k\":\"AAAA");
    pdus[30] = Pdu::parse(&garbled, RoomVersion::V11).unwrap();
    assert_eq!(check(&pdus), 6);
    let bad = vec![pdus[0].clone(); 130];
    assert_eq!(check(&bad), 130);
}

/// A signer can add a point of small order to `R`: single verification refuses it, a naive batch accepts it half the
/// time.
#[test]
fn a_batch_refuses_points_of_small_order() {
    use curve25519_dalek::{EdwardsPoint, Scalar, constants::EIGHT_TORSION};
    use sha2::{Digest, Sha512};
    let key = SigningKey::generate(&[6; 32], "k");
    let secret = key.key.to_scalar();
    let signed = |message: &[u8], torsion: EdwardsPoint| {
        let nonce = Scalar::from(12345_u64);
        let r = (EdwardsPoint::mul_base(&nonce) + torsion).compress();
        let mut hash = Sha512::new();
        hash.update(r.as_bytes());
        hash.update(key.key.verifying_key().as_bytes());
        hash.update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(r.as_bytes());
        signature[32..].copy_from_slice((nonce + k * secret).as_bytes());
        signature
    };
    for (i, torsion) in EIGHT_TORSION.into_iter().enumerate() {
        let items: Vec<_> = (0..100_u8)
            .map(|n| batch::Item {
                message: b"m",
                signature: signed(b"m", if n < 2 { torsion } else { EdwardsPoint::default() }),
                key: key.public_key(),
            })
            .collect();
        for seed in 0..8 {
            let valid = batch::verify(&items, [seed; 32]);
            let expected: Vec<_> = items.iter().map(|x| x.key.verify_bytes(x.message, &x.signature)).collect();
            assert_eq!(valid, expected);
            assert_eq!(valid[0], i == 0);
        }
    }
}

#[test]
fn no_signature_makes_an_event_too_large() {
    let key = SigningKey::generate(&[2; 32], "k");
    let sized = |body: usize| {
        let content = format!(r#"{{"body":"{}"}}"#, "x".repeat(body));
        event(RoomVersion::V11, "m.room.message", &content, &[(&key, "a.org")])
    };
    let overhead = sized(0).json().len();
    let growth = add_signature(&sized(0), &key, &server("b.org")).unwrap().json().len() - overhead;
    let largest = sized(MAX_PDU - overhead - growth);
    let signed = add_signature(&largest, &key, &server("b.org")).unwrap();
    assert_eq!(signed.json().len(), MAX_PDU);
    assert_eq!(with_signatures_of(&largest, &signed, "b.org"), Ok(Some(signed.clone())));
    let lookup = known(&[("b.org", &key, u64::MAX)]);
    assert_eq!(with_valid_signatures_of(&largest, &signed, "b.org", &lookup), Ok(Some(signed.clone())));

    let too_large = Err(PduError::TooLarge(MAX_PDU + growth));
    let full = sized(MAX_PDU - overhead);
    assert_eq!(add_signature(&full, &key, &server("b.org")), too_large);
    assert_eq!(add_signature(&signed, &key, &server("c.org")), too_large);
    let other = add_signature(&largest, &key, &server("c.org")).unwrap();
    assert_eq!(with_signatures_of(&signed, &other, "c.org").map(|_| ()), too_large.clone().map(|_| ()));
    let lookup = known(&[("c.org", &key, u64::MAX)]);
    assert_eq!(with_valid_signatures_of(&signed, &other, "c.org", &lookup).map(|_| ()), too_large.map(|_| ()));
}

#[test]
fn signatures_are_added_not_replaced() {
    let key = SigningKey::generate(&[2; 32], "k");
    let pdu = event(RoomVersion::V11, "m.room.message", "{}", &[(&key, "a.org")]);
    let twice = add_signature(&pdu, &key, &server("b.org")).unwrap();
    assert_eq!(twice.event_id(), pdu.event_id());
    assert_eq!(Pdu::parse(twice.json(), RoomVersion::V11), Ok(twice.clone()));
    let signatures = Object::parse(twice.member_json("signatures").unwrap()).unwrap();
    assert_eq!(signatures.keys().collect::<Vec<_>>(), ["a.org", "b.org"]);
    let mut object = Object::parse(r#"{"signatures":{"x":{"ed25519:0":"s"}},"unsigned":{}}"#).unwrap();
    key.sign_object(&mut object, "x").unwrap();
    assert_eq!(object.get_object("signatures").unwrap().get_object("x").unwrap().len(), 2);
    let mut float = Object::from([("a", Value::parse("1.5").unwrap())]);
    assert!(key.sign_object(&mut float, "x").is_err());
}
