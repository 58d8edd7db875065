//! Glob patterns, ignoring case: over a whole value (server ACLs, push rules) or between word boundaries (push rules).
//!
//! Appendices, "Glob-style matching"; Client-Server API, "Conditions" (`event_match`).

/// Longest pattern that is ever matched, in characters; a longer one matches nothing, so that a hostile rule cannot
/// buy quadratic time.
const MAX_PATTERN_CHARS: usize = 1024;

/// A compiled glob: `*` is any run of characters, `?` exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The text between the `*`s; at least one element, possibly empty ones.
    segments: Vec<Vec<Token>>,
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
        let mut segments = vec![Vec::new()];
        let mut length = 0;
        for c in glob.chars() {
            length += 1;
            match c {
                '*' => segments.push(Vec::new()),
                '?' => push_token(&mut segments, Token::Any),
                c => push_token(&mut segments, Token::Char(fold(c))),
            }
        }
        Self { segments, words, too_long: length > MAX_PATTERN_CHARS }
    }

    /// Whether `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        if self.too_long {
            return false;
        }
        if self.words { self.matches_words(value) } else { self.matches_whole(value) }
    }

    fn matches_whole(&self, value: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return false };
        let Some(mut position) = match_at(first, value, 0) else { return false };
        let Some((last, middle)) = rest.split_last() else { return position == value.len() };
        for segment in middle {
            match find(value, position, |start| match_at(segment, value, start)) {
                Some(end) => position = end,
                None => return false,
            }
        }
        // The last segment is anchored at the end: as many characters from the end as it has tokens.
        let Some(start) = nth_char_from_end(value, last.len()) else { return false };
        start >= position && match_at(last, value, start) == Some(value.len())
    }

    /// Taking each segment as far left as possible leaves the most room for the next, so no backtracking is needed.
    fn matches_words(&self, value: &str) -> bool {
        let Some((first, rest)) = self.segments.split_first() else { return false };
        let starting = |start: usize| {
            is_boundary(value, start).then(|| match_at(first, value, start)).flatten()
        };
        let Some((last, middle)) = rest.split_last() else {
            let whole = |start| starting(start).filter(|end| is_boundary(value, *end));
            return find(value, 0, whole).is_some();
        };
        let Some(mut position) = find(value, 0, starting) else { return false };
        for segment in middle {
            match find(value, position, |start| match_at(segment, value, start)) {
                Some(end) => position = end,
                None => return false,
            }
        }
        let ending = |start| match_at(last, value, start).filter(|end| is_boundary(value, *end));
        find(value, position, ending).is_some()
    }
}

/// Whether `text`, taken literally, is in `value` between word boundaries, ignoring case (display names).
pub fn contains_words(value: &str, text: &str) -> bool {
    let at = |start: usize| {
        let tail = value.get(start..).filter(|_| is_boundary(value, start))?;
        let mut chars = tail.chars();
        let equal = text.chars().all(|expected| chars.next().is_some_and(|c| fold(c) == fold(expected)));
        let end = value.len() - chars.as_str().len();
        (equal && is_boundary(value, end)).then_some(end)
    };
    find(value, 0, at).is_some()
}

/// Whether two strings are equal, ignoring case.
pub fn equal_ignoring_case(a: &str, b: &str) -> bool {
    a.chars().map(fold).eq(b.chars().map(fold))
}

fn push_token(segments: &mut [Vec<Token>], token: Token) {
    if let Some(segment) = segments.last_mut() {
        segment.push(token);
    }
}

/// The end of `segment` in `value` when it matches at byte `start`.
fn match_at(segment: &[Token], value: &str, start: usize) -> Option<usize> {
    let mut chars = value.get(start..)?.chars();
    for token in segment {
        let c = chars.next()?;
        match token {
            Token::Any => {}
            Token::Char(expected) if fold(c) == *expected => {}
            Token::Char(_) => return None,
        }
    }
    Some(value.len() - chars.as_str().len())
}

/// What `at` answers for the first character position of `value`, at or after `from`, where it answers anything.
fn find(value: &str, from: usize, at: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let tail = value.get(from..)?;
    tail.char_indices().map(|(offset, _)| from + offset).chain([value.len()]).find_map(at)
}

/// The byte position `count` characters before the end; `None` when the value is shorter.
fn nth_char_from_end(value: &str, count: usize) -> Option<usize> {
    match count {
        0 => Some(value.len()),
        n => value.char_indices().rev().nth(n - 1).map(|(position, _)| position),
    }
}

/// "The start or end of the value, or any character not in the sets `[A-Z]`, `[a-z]`, `[0-9]` or `_`": a substring may
/// start or end beside such a character, or with it.
fn is_boundary(value: &str, at: usize) -> bool {
    let bytes = value.as_bytes();
    // A byte of a character outside ASCII is never a word byte, so bytes are enough.
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
        for (value, expected) in
            [("Lunch plans", true), ("LUNCH", true), (" lunch", false), ("lunc", false)]
        {
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

    #[test]
    fn over_long_patterns_match_nothing() {
        assert!(!Pattern::words(&"*".repeat(2000)).matches("a"));
    }
}
