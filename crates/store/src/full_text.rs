//! Messages as searchable words, and what is searched for in them.
//!
//! A text is folded (case and Unicode composition make no difference) and cut into runs:
//!
//! - A run of letters, digits and marks is a word. It is found by its beginning.
//! - A run in a script that is written without spaces, or whose words are inflected without a break (Chinese, Japanese,
//!   Korean, Thai, Lao, Khmer, Burmese), is found by any part of it. Its pairs of neighbouring characters are indexed.
//!
//! Both databases index the same words, and every match is compared with the text of the event, so that both find the
//! same. An index of the parts of all words was not built: measured with SQLite's trigrams it takes five times the
//! space, and does not find parts of one or two characters.

use std::collections::BTreeSet;

use plexus_protocol::json::Object;
use unicode_normalization::char::is_combining_mark;

use crate::words::folded;

/// How much of a text is indexed, in characters. Only a text without spaces can be longer: an event has 65,536 bytes.
const MAX_CHARACTERS: usize = 32_768;
/// How much of a word is indexed, in bytes: longer ones are found by their beginning.
const MAX_WORD_BYTES: usize = 64;
/// How much of a search term is used, in characters.
const MAX_TERM_CHARACTERS: usize = 512;
/// How many runs of a search term are used: each is looked up, and each narrows the search.
const MAX_PIECES: usize = 16;
/// How many pairs of a run of a search term are looked up. All of the run is compared with what they find.
const MAX_PAIRS: usize = 24;
/// How many words are highlighted.
const MAX_HIGHLIGHTS: usize = 50;

/// The blocks of the scripts whose texts are searched by pairs of characters.
const DENSE_BLOCKS: [std::ops::RangeInclusive<u32>; 16] = [
    0x0E00..=0x0EFF,
    0x1000..=0x109F,
    0x1100..=0x11FF,
    0x1780..=0x17FF,
    0x3005..=0x3007,
    0x3040..=0x30FF,
    0x3100..=0x318F,
    0x31A0..=0x31BF,
    0x31F0..=0x31FF,
    0x3400..=0x4DBF,
    0x4E00..=0x9FFF,
    0xA960..=0xA97F,
    0xA9E0..=0xA9FF,
    0xAC00..=0xD7FF,
    0xF900..=0xFAFF,
    0x2_0000..=0x3_23AF,
];

/// Which text of an event is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchKey {
    /// `content.body` of a message.
    Body,
    /// `content.name` of the room's name.
    Name,
    /// `content.topic` of the room's topic.
    Topic,
}

impl SearchKey {
    /// The event types that have a searchable text.
    pub const EVENT_TYPES: [&str; 3] = ["m.room.message", "m.room.name", "m.room.topic"];

    /// Parses a key as clients name it.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        match key {
            "content.body" => Some(Self::Body),
            "content.name" => Some(Self::Name),
            "content.topic" => Some(Self::Topic),
            _ => None,
        }
    }

    /// Returns the searchable text of an event with this type, state key and content, as it was sent.
    #[must_use]
    pub fn text_of<'c>(event_type: &str, state_key: Option<&str>, content: &'c Object) -> Option<(Self, &'c str)> {
        let (key, field) = match (event_type, state_key) {
            ("m.room.message", None) => (Self::Body, "body"),
            ("m.room.name", Some("")) => (Self::Name, "name"),
            ("m.room.topic", Some("")) => (Self::Topic, "topic"),
            _ => return None,
        };
        Some((key, content.get_str(field)?))
    }

    /// Returns the text that an edit gives to the message that it replaces.
    #[must_use]
    pub fn edited_text(edit: &Object) -> Option<&str> {
        edit.get_object("m.new_content")?.get_str("body")
    }
}

/// A run of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run<'t> {
    /// Found by its beginning.
    Word(&'t str),
    /// Found by any part of it.
    Dense(&'t str),
}

/// A word of the index, as it is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTerm {
    /// The word, or its beginning.
    pub word: String,
    /// Whether all words that begin so are meant.
    pub is_prefix: bool,
}

/// What is searched for: a text matches that has all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// The beginning of a word.
    Word(String),
    /// A part of a dense run.
    Dense(String),
}

/// How a text matches a [`Pattern`].
#[derive(Debug, Clone, PartialEq)]
pub struct TextMatch {
    /// How well: more for whole words than for beginnings, for several places, and for short texts. Positive.
    pub rank: f64,
    /// The words of the text that match, in lower case.
    pub highlights: BTreeSet<String>,
}

/// Returns the words by which a text is found, each once.
#[must_use]
pub fn index_words(text: &str) -> BTreeSet<String> {
    let folded = prepared(text, MAX_CHARACTERS);
    let mut words = BTreeSet::new();
    for run in runs(&folded) {
        match run {
            Run::Word(word) => _ = words.insert(word.to_owned()),
            Run::Dense(run) => words.extend(pairs(run).map(str::to_owned)),
        }
    }
    words
}

/// Folds a text, and drops the invisible characters that may stand inside words.
fn prepared(text: &str, max_characters: usize) -> String {
    let is_visible = |character: &char| !matches!(character, '\u{AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}');
    let start: String = text.chars().take(max_characters).filter(is_visible).collect();
    folded(&start)
}

/// Cuts a folded text into its runs.
fn runs(folded: &str) -> impl Iterator<Item = Run<'_>> {
    let mut rest = folded;
    std::iter::from_fn(move || {
        let begin = rest.find(|character| kind(character).is_some())?;
        rest = rest.get(begin..)?;
        let is_dense = rest.chars().next().and_then(kind)?;
        let end = rest.char_indices().find(|(_, character)| !belongs(*character, is_dense)).map(|(at, _)| at);
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(if is_dense { Run::Dense(run) } else { Run::Word(shortened(run)) })
    })
}

/// Whether a character of a word belongs to a dense script; `None` for one that separates words.
fn kind(character: char) -> Option<bool> {
    let code = u32::from(character);
    let is_dense = code >= 0x0E00 && DENSE_BLOCKS.iter().any(|block| block.contains(&code));
    (character.is_alphanumeric() || is_combining_mark(character)).then_some(is_dense)
}

/// Whether a character continues a run. Marks continue any run.
fn belongs(character: char, is_dense: bool) -> bool {
    kind(character).is_some_and(|kind| kind == is_dense || is_combining_mark(character))
}

fn shortened(word: &str) -> &str {
    let end = (0..=MAX_WORD_BYTES.min(word.len())).rev().find(|end| word.is_char_boundary(*end));
    word.get(..end.unwrap_or(0)).unwrap_or(word)
}

/// Returns the pairs of neighbouring characters of a run, and its last character.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    run.char_indices().filter_map(move |(at, _)| {
        let from = run.get(at..)?;
        let end = from.char_indices().nth(2).map_or(from.len(), |(end, _)| end);
        from.get(..end)
    })
}

impl Pattern {
    /// Parses a search term; `None` when it has nothing that is indexed.
    #[must_use]
    pub fn parse(term: &str) -> Option<Self> {
        let folded = prepared(term, MAX_TERM_CHARACTERS);
        let mut pieces: Vec<Piece> = Vec::new();
        for run in runs(&folded) {
            let piece = match run {
                Run::Word(word) => Piece::Word(word.to_owned()),
                Run::Dense(run) => Piece::Dense(run.to_owned()),
            };
            if pieces.len() < MAX_PIECES && !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
        (!pieces.is_empty()).then_some(Self { pieces })
    }

    /// Returns what the index has to have for a text that matches. The converse does not hold: of a dense run all
    /// pairs may be there, but not in a row.
    #[must_use]
    pub fn index_terms(&self) -> Vec<IndexTerm> {
        let mut terms: Vec<IndexTerm> = Vec::new();
        for piece in &self.pieces {
            let new: Vec<IndexTerm> = match piece {
                Piece::Word(word) => vec![IndexTerm { word: word.clone(), is_prefix: true }],
                Piece::Dense(run) if run.chars().count() == 1 => {
                    vec![IndexTerm { word: run.clone(), is_prefix: true }]
                }
                Piece::Dense(run) => pairs(run)
                    .filter(|pair| pair.chars().count() == 2)
                    .take(MAX_PAIRS)
                    .map(|pair| IndexTerm { word: pair.to_owned(), is_prefix: false })
                    .collect(),
            };
            for term in new {
                if !terms.contains(&term) {
                    terms.push(term);
                }
            }
        }
        terms
    }

    /// Returns how a text matches; `None` when it does not.
    #[must_use]
    pub fn matches(&self, text: &str) -> Option<TextMatch> {
        let folded = prepared(text, MAX_CHARACTERS);
        let mut found: Vec<Found> = vec![Found::default(); self.pieces.len()];
        let (mut highlights, mut words) = (BTreeSet::new(), 0_u32);
        for run in runs(&folded) {
            words += 1;
            for (piece, found) in self.pieces.iter().zip(&mut found) {
                let highlight = match (piece, run) {
                    (Piece::Word(wanted), Run::Word(word)) if word.starts_with(wanted.as_str()) => {
                        found.add(word == wanted);
                        word
                    }
                    (Piece::Dense(wanted), Run::Dense(run)) if run.contains(wanted.as_str()) => {
                        found.add(true);
                        wanted
                    }
                    _ => continue,
                };
                if highlights.len() < MAX_HIGHLIGHTS {
                    highlights.insert(highlight.to_owned());
                }
            }
        }
        if found.iter().any(|found| found.places == 0) {
            return None;
        }
        let quality: f64 = found.iter().map(Found::quality).sum();
        Some(TextMatch { rank: quality / (1.0 + f64::from(words).ln()), highlights })
    }
}

/// The places where a piece was found.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    places: u32,
    is_whole: bool,
}

impl Found {
    fn add(&mut self, is_whole: bool) {
        self.places += 1;
        self.is_whole |= is_whole;
    }

    fn quality(&self) -> f64 {
        let further = f64::from(self.places.saturating_sub(1).min(5));
        (if self.is_whole { 1.0 } else { 0.5 }) + further / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(term: &str, text: &str) -> bool {
        let Some(pattern) = Pattern::parse(term) else { return false };
        let words = index_words(text);
        let in_index = pattern.index_terms().iter().all(|term| {
            words.iter().any(|word| if term.is_prefix { word.starts_with(&term.word) } else { *word == term.word })
        });
        let matches = pattern.matches(text).is_some();
        assert!(in_index || !matches, "{term:?} is in {text:?}, but not in the index");
        matches
    }

    #[test]
    fn words_are_found_by_their_beginnings_and_dense_scripts_by_any_part() {
        for (text, found, not_found) in [
            ("Hello, World!", &["hello", "WORLD", "he", "w", "world hello"][..], &["ello", "hello you", "!"][..]),
            ("I am ok", &["i", "am", "ok", "o"], &["k", "oki"]),
            ("Straße", &["strasse", "STRASSE", "straße"], &["asse"]),
            ("don't", &["don", "don't", "dont"][..2], &["ont"]),
            ("今天天气很好。", &["今", "天", "好", "天气", "今天天气", "气很好"], &["天今", "今天很好", "今好", "坏"]),
            ("東京タワーへ行く", &["東京", "タワー", "ﾀﾜｰ", "ワ", "行く", "東京タワー"], &["京東", "たわー"]),
            ("우리 학교에서 만나요", &["학교", "교에", "만나", "나요", "우리 만나요", "요"], &["학에", "리학"]),
            ("สวัสดีครับ", &["สวัสดี", "ครับ", "ดี"], &["ครัด"]),
            ("नमस्ते दुनिया", &["नमस्ते", "नम", "दुनिया"], &["स्ते"]),
            ("Привет, мир", &["привет", "при", "МИР"], &["вет"]),
            ("مي\u{200C}خواهم", &["ميخواهم", "مي\u{200C}خوا"], &["خواهم"]),
            ("iPhone手机12", &["iphone", "手机", "手机12", "12"], &["机手"]),
            ("O\u{308}mer", &["ömer", "Ö"], &["o"]),
            ("", &[], &["a"]),
        ] {
            for term in found {
                assert!(finds(term, text), "{term:?} is found in {text:?}");
            }
            for term in not_found {
                assert!(!finds(term, text), "{term:?} is not found in {text:?}");
            }
        }
    }

    #[test]
    fn terms_without_words_are_no_patterns() {
        for term in ["", " ", "?!", "\u{0}\u{1}", "\u{200B}", "🦊"] {
            assert_eq!(Pattern::parse(term), None, "{term:?}");
        }
    }

    #[test]
    fn long_texts_and_terms_are_bounded() {
        assert_eq!(index_words(&"x".repeat(60_000)), BTreeSet::from(["x".repeat(MAX_WORD_BYTES)]));
        assert!(finds(&"x".repeat(100), &"x".repeat(60_000)));
        let many: String = (0..1_000).map(|number| format!("{number} ")).collect();
        let pattern = Pattern::parse(&many).unwrap();
        assert!(pattern.index_terms().len() <= MAX_PIECES);
        // One character may fold to several.
        let _ = index_words(&"\u{fdfa}".repeat(20_000));
        let dense = Pattern::parse(&"日月".repeat(10_000)).unwrap();
        assert_eq!(dense.index_terms().len(), 2);
    }

    #[test]
    fn better_matches_rank_higher() {
        let pattern = Pattern::parse("fox").unwrap();
        let rank = |text: &str| pattern.matches(text).unwrap().rank;
        assert!(rank("fox") > rank("foxes"));
        assert!(rank("fox") > rank("a fox is an animal"));
        assert!(rank("fox and fox") > rank("fox and dog"));
        assert!(rank("foxes") > 0.0);
    }

    #[test]
    fn matching_words_are_highlighted() {
        let highlights =
            |term: &str, text: &str| Vec::from_iter(Pattern::parse(term).unwrap().matches(text).unwrap().highlights);
        assert_eq!(highlights("fox he", "Foxes, FOX, Hello"), ["fox", "foxes", "hello"]);
        assert_eq!(highlights("天气", "今天天气"), ["天气"]);
    }
}
