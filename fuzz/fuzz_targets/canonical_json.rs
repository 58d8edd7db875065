//! The JSON parser and the canonical writer: what is written reads back the same and is written the same again, and the
//! same comes of the text without a tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::json::{Object, Value, write_canonical};

fuzz_target!(|text: &str| {
    let mut written = String::new();
    let streamed = write_canonical(text, &mut written).map(|()| written);
    assert_eq!(streamed, Object::parse(text).map(|object| object.to_json()));
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
