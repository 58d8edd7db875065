//! Properties of every event.

use plexus_protocol::{
    event::{Pdu, PduError, redact},
    glob::Pattern,
    id::{EventId, RoomAlias, RoomId, ServerName, UserId},
    json::{Object, Value},
    rules::RoomVersion,
    x_matrix::XMatrix,
};

use crate::{cases, generate::Generator};

#[test]
fn canonical_json_round_trips() {
    let mut generator = Generator::new(1);
    for _ in 0..cases() {
        let value = generator.value(5);
        let canonical = value.to_canonical_json().unwrap();
        assert_eq!(Value::parse(&canonical).as_ref(), Ok(&value));
        let mut other = String::new();
        generator.rewrite(&value, &mut other);
        assert_eq!(Value::parse(&other).map(|v| v.to_json()), Ok(canonical.clone()), "{other}");
        let serde: serde_json::Value = serde_json::from_str(&canonical).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), canonical);
        assert_eq!(serde_json::to_value(&value).unwrap(), serde);
        assert_eq!(serde_json::from_str::<Value>(&canonical).unwrap(), value);
    }
}

#[test]
fn numbers_of_early_versions_settle_at_once() {
    let mut generator = Generator::new(2);
    for _ in 0..cases() {
        let text = generator.odd_number();
        let once = Value::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}")).to_json();
        assert_eq!(Value::parse(&once).unwrap().to_json(), once, "{text}");
        let (a, b): (f64, f64) = (text.parse().unwrap(), once.parse().unwrap());
        assert_eq!(a.to_bits(), b.to_bits(), "{text} became {once}");
    }
}

#[test]
fn redaction_is_idempotent_and_keeps_the_id() {
    let mut generator = Generator::new(3);
    for case in 0..cases() {
        for version in RoomVersion::ALL {
            let event = generator.event(version);
            let pdu = Pdu::parse(&event.to_json(), version).unwrap_or_else(|e| panic!("case {case}, {version}: {e}"));
            let redacted = redact::redact(&pdu);
            assert_eq!(redact::redact(&redacted), redacted);
            assert_eq!(redacted.event_id(), pdu.event_id());
            assert_eq!(redacted.reference_hash(), pdu.reference_hash());
            assert_eq!(redacted.json(), redact::redact_object(&event, version.rules()).to_json());
            assert_eq!(Pdu::parse(redacted.json(), version), Ok(redacted.clone()));
            assert_eq!(Pdu::from_stored(pdu.json(), pdu.event_id().clone(), version), Ok(pdu));
        }
    }
}

#[test]
fn the_encoding_of_an_event_does_not_matter() {
    let mut generator = Generator::new(4);
    for _ in 0..cases() {
        let version = generator.pick(&RoomVersion::ALL);
        let event = generator.event(version);
        let mut other = String::new();
        generator.rewrite(&Value::Object(event.clone()), &mut other);
        assert_eq!(Pdu::parse(&other, version), Pdu::parse(&event.to_json(), version), "{other}");
    }
}

#[test]
fn strict_versions_refuse_odd_numbers_anywhere() {
    let mut generator = Generator::new(5);
    for _ in 0..cases() {
        let version = generator.pick(&RoomVersion::ALL);
        let mut event = generator.event(version);
        let number = Value::parse(&generator.odd_number()).unwrap();
        let target = generator.pick(&["content", "unsigned", "hashes"]);
        event
            .insert(target, Object::from([("deep", Value::Array(vec![Object::from([("n", number.clone())]).into()]))]));
        let parsed = Pdu::parse(&event.to_json(), version);
        if version >= RoomVersion::V6 {
            assert!(matches!(parsed, Err(PduError::NotCanonical(_))), "{version} {number:?}");
        } else {
            assert!(parsed.is_ok(), "{version} {number:?}");
        }
    }
}

/// No input panics, and accepted input keeps its text.
#[test]
fn garbage() {
    let mut generator = Generator::new(6);
    for _ in 0..cases() {
        let version = generator.pick(&RoomVersion::ALL);
        let mut bytes = generator.event(version).to_json().into_bytes();
        for _ in 0..1 + generator.below(4) {
            let at = generator.below(bytes.len() as u64) as usize;
            match generator.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = generator.next() as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, generator.pick(b"{}[],:\"\\0e.-u")),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(pdu) = Pdu::parse(&text, version) {
            assert_eq!(Pdu::parse(pdu.json(), version), Ok(pdu));
        }
        let id: String = text.chars().skip(generator.below(20) as usize).take(20).collect();
        for sigil in ["", "@", "!", "#", "$"] {
            let id = format!("{sigil}{id}:{}", generator.pick(&["a.org", "[::1]:80", "", ":", "1.2.3.4:x"]));
            let kept = [
                id.parse::<UserId>().map(String::from),
                id.parse::<RoomId>().map(String::from),
                id.parse::<RoomAlias>().map(String::from),
                id.parse::<EventId>().map(String::from),
                id.parse::<ServerName>().map(String::from),
            ];
            assert!(kept.into_iter().flatten().all(|same| same == id));
        }
        if let Ok(header) = XMatrix::parse(&format!("X-Matrix origin=a.org,key=\"k\",sig={id}")) {
            assert_eq!(header.origin, "a.org");
        }
        Pattern::whole(&id).matches(&text);
        Pattern::words(&id).matches(&text);
    }
}
