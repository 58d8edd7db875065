//! The X-Matrix header: what parses has one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::x_matrix::XMatrix;

fuzz_target!(|text: &str| {
    for header in [text.to_owned(), format!("X-Matrix {text}")] {
        let Ok(parsed) = XMatrix::parse(&header) else { continue };
        // Keys and signatures as servers make them need no escapes.
        if !parsed.key.contains(['"', '\\']) && !parsed.signature.contains(['"', '\\']) {
            assert_eq!(XMatrix::parse(&parsed.to_string()), Ok(parsed));
        }
    }
});
