//! Texts of pages, shortened as Synapse shortens them.

/// The number of characters after which no further paragraph is added to a summary.
const MIN_SUMMARY_CHARS: usize = 200;
/// The most characters of a summary, without the ellipsis.
const MAX_SUMMARY_CHARS: usize = 500;
/// The most bytes of one text that are looked at: many times what a summary may contain.
pub(super) const MAX_TEXT_BYTES: usize = 16 * 1024;

/// A description that grows by paragraphs until it is long enough.
#[derive(Debug, Default)]
pub(super) struct Summary {
    text: String,
    chars: usize,
}

impl Summary {
    /// Whether no further paragraph is added.
    pub(super) fn is_long_enough(&self) -> bool {
        // Synapse counts the line breaks after the last paragraph, too.
        self.chars + 2 >= MIN_SUMMARY_CHARS
    }

    /// Adds a paragraph, if the summary is not long enough yet.
    pub(super) fn add(&mut self, paragraph: &str) {
        self.add_collapsed(&collapse(paragraph, is_space));
    }

    fn add_collapsed(&mut self, paragraph: &str) {
        if self.is_long_enough() || paragraph.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
            self.chars += 2;
        }
        self.chars += paragraph.chars().count();
        self.text.push_str(paragraph);
    }

    /// Returns the summary; `None` if there was no text.
    pub(super) fn finish(self) -> Option<String> {
        if self.text.is_empty() {
            None
        } else if self.chars > MAX_SUMMARY_CHARS {
            Some(shorten(&self.text))
        } else {
            Some(self.text)
        }
    }
}

/// Returns a summary of a description, which keeps its unusual spaces.
pub(super) fn summarize(description: &str) -> Option<String> {
    let mut summary = Summary::default();
    let is_separator = |character| matches!(character, '\t' | ' ' | '\r' | '\n');
    summary.add_collapsed(&collapse(description.trim_matches(is_space), is_separator));
    summary.finish()
}

/// Returns the words of a text, separated by single spaces.
fn collapse(text: &str, is_separator: impl Fn(char) -> bool) -> String {
    let mut collapsed = String::new();
    for word in text.split(is_separator).filter(|word| !word.is_empty()) {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// Whether Python counts a character as white space, as Synapse does.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// Returns the words of `text` that have room in a summary, and an ellipsis. A first word that has no room is cut.
fn shorten(text: &str) -> String {
    let (mut end, mut chars) = (0, 0);
    let mut rest = text;
    while let Some(start) = rest.find(|character| !is_space(character)) {
        let after = rest.split_at(start).1;
        let length = start + after.find(is_space).unwrap_or(after.len());
        let (word, remainder) = rest.split_at(length);
        let word_chars = word.chars().count();
        let fits = chars + word_chars < MAX_SUMMARY_CHARS;
        if fits || chars < MIN_SUMMARY_CHARS {
            end += length;
            chars += word_chars;
        }
        if !fits {
            break;
        }
        rest = remainder;
    }
    let kept: String = text.split_at(end).0.chars().take(MAX_SUMMARY_CHARS).collect();
    format!("{}…", kept.trim_matches(is_space))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_stay_and_white_space_collapses() {
        assert_eq!(summarize(" \u{a0}one\n\ttwo   three\x1d ").as_deref(), Some("one two three"));
        assert_eq!(summarize("a\u{a0}\u{a0}b").as_deref(), Some("a\u{a0}\u{a0}b"));
        assert_eq!(summarize(" \n "), None);
        let mut summary = Summary::default();
        summary.add("first");
        summary.add("\n");
        summary.add("second\nline");
        assert_eq!(summary.finish().as_deref(), Some("first\n\nsecond line"));
    }

    #[test]
    fn long_texts_end_after_a_word() {
        let paragraph = "word ".repeat(30);
        let mut summary = Summary::default();
        for _ in 0..9 {
            summary.add(&paragraph);
        }
        // Two paragraphs of 149 characters are enough.
        assert_eq!(summary.finish().map(|text| text.chars().count()), Some(300));
        let summary = summarize(&"word ".repeat(300)).expect("a text");
        assert_eq!(summary.chars().count(), 500);
        assert!(summary.ends_with("word…"));
        let summary = summarize(&"ü".repeat(2000)).expect("a text");
        assert_eq!(summary.chars().count(), 501);
        let summary = summarize(&format!("{} {}", "a".repeat(300), "b".repeat(900))).expect("a text");
        assert_eq!(summary, format!("{}…", "a".repeat(300)));
    }
}
