//! Glob patterns against a plain, slow definition of what they mean.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plexus_protocol::glob::Pattern;

fuzz_target!(|data: (&str, &str)| {
    let (pattern, text) = data;
    Pattern::words(pattern).matches(text);
    let matches = Pattern::whole(pattern).matches(text);
    let short = pattern.len() <= 64 && text.len() <= 64 && pattern.is_ascii() && text.is_ascii();
    if short {
        let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
        assert_eq!(matches, by_definition(pattern.as_bytes(), text.as_bytes()));
    }
});

/// One row per character of the pattern: which prefixes of the text match so far.
fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for byte in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match byte {
                b'*' => row[at] || (at > 0 && next[at - 1]),
                b'?' => at > 0 && row[at - 1],
                byte => at > 0 && row[at - 1] && text[at - 1] == *byte,
            };
        }
        row = next;
    }
    row[text.len()]
}
