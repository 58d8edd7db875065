//! The JSON parser and the canonical writer: what is written reads back the same and is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::json::Value;

fuzz_target!(|text: &str| {
    let Ok(value) = Value::parse(text) else { return };
    let json = value.to_json();
    let again = Value::parse(&json).expect("own output parses");
    assert_eq!(again.to_json(), json);
    if let Ok(canonical) = value.to_canonical_json() {
        assert_eq!(canonical, json);
        assert_eq!(again, Value::parse(&canonical).expect("own output parses"));
        assert!(again.to_canonical_json().is_ok());
    }
    drop(value.clone());
});
