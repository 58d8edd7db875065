//! Glob patterns, ignoring case: over a whole value (server ACLs, push rules) or between word boundaries (push rules).
//!
//! See [Glob-style matching](https://spec.matrix.org/v1.19/appendices/#glob-style-matching) and `event_match` in
//! [Conditions](https://spec.matrix.org/v1.19/client-server-api/#conditions-1).
//!
//! Patterns and values are untrusted, so matching takes time linear in the value: the text between two `*` is searched
//! for with the shift-and algorithm, which keeps all partial matches in the bits of a few words.

use std::collections::VecDeque;

/// The longest pattern, in characters; a longer one matches nothing.
const MAX_PATTERN_CHARS: usize = 1024;

/// A compiled glob: `*` matches any run of characters, `?` exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The text between the `*`s: at least one element, possibly empty.
    segments: Vec<Segment>,
    words: bool,
    too_long: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Token {
    Any,
    Char(char),
}

impl Pattern {
    /// A pattern that has to match the entire value.
    pub fn whole(glob: &str) -> Self {
        Self::compile(glob, false)
    }

    /// A pattern that has to match a substring starting and ending at a word boundary (`content.body`).
    pub fn words(glob: &str) -> Self {
        Self::compile(glob, true)
    }

    fn compile(glob: &str, words: bool) -> Self {
        let too_long = glob.chars().nth(MAX_PATTERN_CHARS).is_some();
        let token = |c| match c {
            '?' => Token::Any,
            c => Token::Char(fold(c)),
        };
        let segments = if too_long {
            Vec::new()
        } else {
            glob.split('*').map(|segment| Segment::new(segment.chars().map(token).collect())).collect()
        };
        Self { segments, words, too_long }
    }

    /// Whether `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        match (self.too_long, self.words) {
            (true, _) => false,
            (false, true) => self.matches_words(value),
            (false, false) => self.matches_whole(value),
        }
    }

    fn matches_whole(&self, value: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return false };
        let Some(mut position) = first.match_at(value, 0) else { return false };
        let Some((last, middle)) = rest.split_last() else { return position == value.len() };
        for segment in middle {
            match segment.find(value, position, |_, _| true) {
                Some(end) => position = end,
                None => return false,
            }
        }
        // The last segment is anchored at the end: it starts as many characters from the end as it has tokens.
        let Some(start) = nth_char_from_end(value, last.tokens.len()) else { return false };
        start >= position && last.match_at(value, start) == Some(value.len())
    }

    /// Placing each segment as far left as possible leaves the most room for the next, so backtracking is never needed.
    fn matches_words(&self, value: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else {
            return first.find(value, 0, |start, end| is_boundary(value, start) && is_boundary(value, end)).is_some();
        };
        let Some(mut position) = first.find(value, 0, |start, _| is_boundary(value, start)) else { return false };
        for segment in middle {
            match segment.find(value, position, |_, _| true) {
                Some(end) => position = end,
                None => return false,
            }
        }
        last.find(value, position, |_, end| is_boundary(value, end)).is_some()
    }
}

/// Whether `value` contains `text`, taken literally, between word boundaries, ignoring case (display names). A `text`
/// of more than 1,024 characters is never found.
pub fn contains_words(value: &str, text: &str) -> bool {
    let segment = Segment::new(text.chars().take(MAX_PATTERN_CHARS + 1).map(|c| Token::Char(fold(c))).collect());
    let whole = |start, end| is_boundary(value, start) && is_boundary(value, end);
    segment.tokens.len() <= MAX_PATTERN_CHARS && segment.find(value, 0, whole).is_some()
}

/// Whether two strings are equal, ignoring case.
pub fn equal_ignoring_case(a: &str, b: &str) -> bool {
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// Consecutive tokens, and for each character the set of token positions that it matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Segment {
    tokens: Vec<Token>,
    /// The characters of the tokens, sorted.
    chars: Vec<char>,
    /// For each of `chars`, then for all others: one bit per token, in words of 64.
    places: Vec<u64>,
}

impl Segment {
    fn new(tokens: Vec<Token>) -> Self {
        let mut chars: Vec<char> =
            tokens.iter().filter_map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect();
        chars.sort_unstable();
        chars.dedup();
        let mut places = Vec::with_capacity((chars.len() + 1) * tokens.len().div_ceil(64));
        for char in chars.iter().copied().map(Some).chain([None]) {
            let fits = |token: &Token| matches!(token, Token::Any) || char.is_some_and(|c| *token == Token::Char(c));
            places.extend(tokens.chunks(64).map(|word| {
                word.iter().enumerate().filter(|(_, token)| fits(token)).fold(0, |bits, (i, _)| bits | 1_u64 << i)
            }));
        }
        Self { tokens, chars, places }
    }

    /// Returns the end of the segment in `value` if it matches at byte `start`.
    fn match_at(&self, value: &str, start: usize) -> Option<usize> {
        let mut chars = value.get(start..)?.chars();
        for token in &self.tokens {
            let c = chars.next()?;
            match token {
                Token::Any => {}
                Token::Char(expected) if fold(c) == *expected => {}
                Token::Char(_) => return None,
            }
        }
        Some(value.len() - chars.as_str().len())
    }

    /// Returns the end of the first match at or after `from` whose start and end `accept` approves.
    fn find(&self, value: &str, from: usize, accept: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let tail = value.get(from..)?;
        let length = self.tokens.len();
        let mut positions = tail.char_indices().map(|(offset, c)| (from + offset, c));
        if length == 0 {
            return positions.map(|(at, _)| at).chain([value.len()]).find(|at| accept(*at, *at));
        }
        let words = length.div_ceil(64);
        let last = 1_u64 << ((length - 1) % 64);
        // Bit i: the last i + 1 characters match the first i + 1 tokens.
        let mut state = vec![0_u64; words];
        let mut starts = VecDeque::with_capacity(length + 1);
        positions.find_map(|(at, c)| {
            let row = self.chars.binary_search(&fold(c)).unwrap_or(self.chars.len());
            let mut carry = 1;
            for (bits, places) in state.iter_mut().zip(self.places.iter().skip(row * words)) {
                let shifted = *bits << 1 | carry;
                carry = *bits >> 63;
                *bits = shifted & places;
            }
            starts.push_back(at);
            if starts.len() > length {
                starts.pop_front();
            }
            let end = at + c.len_utf8();
            let matched = state.last().is_some_and(|bits| bits & last != 0);
            (matched && starts.front().is_some_and(|start| accept(*start, end))).then_some(end)
        })
    }
}

/// Returns the byte position `count` characters before the end; `None` when the value is shorter.
fn nth_char_from_end(value: &str, count: usize) -> Option<usize> {
    match count {
        0 => Some(value.len()),
        n => value.char_indices().rev().nth(n - 1).map(|(position, _)| position),
    }
}

/// Whether a match may start or end at `at`: "the start or end of the value, or any character not in the sets `[A-Z]`,
/// `[a-z]`, `[0-9]` or `_`". A match may include such a character or lie beside it.
fn is_boundary(value: &str, at: usize) -> bool {
    let bytes = value.as_bytes();
    // Bytes of non-ASCII characters are never word bytes, so looking at bytes is enough.
    let is_word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    at == 0 || at == bytes.len() || !is_word(bytes.get(at - 1)) || !is_word(bytes.get(at))
}

/// Simple case folding, one character to one character, so that `?` and positions keep their meaning.
fn fold(c: char) -> char {
    fn single(mut chars: impl Iterator<Item = char>, otherwise: char) -> char {
        match (chars.next(), chars.next()) {
            (Some(only), None) => only,
            _ => otherwise,
        }
    }
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let upper = single(c.to_uppercase(), c);
    single(upper.to_lowercase(), upper)
}

#[cfg(test)]
mod tests {
    use super::{Pattern, contains_words};

    #[test]
    fn whole_value() {
        // Client-Server API, the example under `event_match`.
        for (value, expected) in [("Lunch plans", true), ("LUNCH", true), (" lunch", false), ("lunc", false)] {
            assert_eq!(Pattern::whole("lunc?*").matches(value), expected, "{value:?}");
        }
        for (glob, value, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything\nat all", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbXbXc", true),
            ("*b", "ab", true),
            ("?", "é", true),
            ("??", "é", false),
            ("É", "é", true),
            ("m.room.*", "m.room.message", true),
            ("m.room.*", "mXroomXmessage", false),
            ("*ab?", "abcabd", true),
        ] {
            assert_eq!(Pattern::whole(glob).matches(value), expected, "{glob:?} on {value:?}");
        }
    }

    #[test]
    fn words() {
        for (glob, value, expected) in [
            // Client-Server API, the example for `content.body`.
            ("ex*ple", "An example event.", true),
            ("ex*ple", "exple", true),
            ("ex*ple", "An exciting triple-whammy", true),
            ("cake", "piece of cake", true),
            ("cake", "cakes", false),
            ("cake", "pancake", false),
            ("cake", "pancake cake", true),
            ("cake", "CAKE!", true),
            ("cake*lie", "the cake is a lie.", true),
            ("cake*lie", "the cake is a lier", false),
            ("cake*", "pancake", false),
            ("*cake", "pancake", true),
            ("@room", "hello @room", true),
            ("@room", "hello@room", true),
            ("@room", "hello @roomie", false),
            ("c?ke", "a cake", true),
            ("bob", "bób bob", true),
            ("bob", "ébobé", true),
            ("bob", "_bob_", false),
        ] {
            assert_eq!(Pattern::words(glob).matches(value), expected, "{glob:?} on {value:?}");
        }
    }

    #[test]
    fn display_names_are_not_globs() {
        assert!(contains_words("hi WH?", "wh?"));
        assert!(!contains_words("hi who", "wh?"));
        assert!(!contains_words("whoever", "who"));
    }

    /// Each would take minutes with backtracking.
    #[test]
    fn hostile_patterns_take_linear_time() {
        let text = "a".repeat(60_000);
        for pattern in ["a".repeat(1000) + "b", "a?".repeat(500) + "b", "*a".repeat(500) + "*b", "?".repeat(1000) + "b"]
        {
            assert!(!Pattern::words(&pattern).matches(&text));
            assert!(!Pattern::whole(&format!("*{pattern}*")).matches(&text));
        }
        let dashes = "-".repeat(60_000);
        assert!(!contains_words(&dashes, &("-".repeat(1000) + "x")));
        assert!(contains_words(&dashes, &"-".repeat(1000)));
        assert!(!contains_words(&dashes, &"-".repeat(1025)));
    }

    /// Segments longer than a word of bits, and matches on either side of its border.
    #[test]
    fn long_segments() {
        for length in [1, 63, 64, 65, 127, 128, 129, 200] {
            let glob = "é".repeat(length - 1) + "x";
            let value = format!("ÉÉ{}X.", "é".repeat(length - 1));
            assert!(Pattern::whole(&format!("*{glob}.")).matches(&value), "{length}");
            assert!(Pattern::words(&glob).matches(&value), "{length}");
            assert!(Pattern::words(&format!("{}x", "?".repeat(length - 1))).matches(&value), "{length}");
            assert!(!Pattern::words(&format!("y{glob}")).matches(&value), "{length}");
        }
    }

    #[test]
    fn over_long_patterns_match_nothing() {
        assert!(!Pattern::words(&"*".repeat(2000)).matches("a"));
    }
}
