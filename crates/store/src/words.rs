//! Names as searchable words, independent of case and Unicode composition.

use unicode_normalization::UnicodeNormalization as _;

/// The most words of one text; names have a handful.
const MAX_WORDS: usize = 32;
/// The longest word, in bytes; the rest of a longer one is ignored.
const MAX_WORD_BYTES: usize = 64;
/// How much of a text is used, in characters.
const MAX_CHARACTERS: usize = 512;

/// Returns the distinct words of a text in order: runs of letters and digits, folded. Scripts written without spaces
/// have a word for each character.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut end = |word: &mut String| {
        if !word.is_empty() && !words.contains(word) && words.len() < MAX_WORDS {
            words.push(std::mem::take(word));
        }
        word.clear();
    };
    let start: String = text.chars().take(MAX_CHARACTERS).collect();
    for character in folded(&start).chars() {
        if !character.is_alphanumeric() {
            end(&mut word);
        } else if stands_alone(character) {
            end(&mut word);
            word.push(character);
            end(&mut word);
        } else if word.len() + character.len_utf8() <= MAX_WORD_BYTES {
            word.push(character);
        }
    }
    end(&mut word);
    words
}

/// Folds differences of case and composition, via upper case, so that "ß" becomes "ss" and both forms of a small sigma
/// become one.
pub(crate) fn folded(text: &str) -> String {
    let folded = text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.nfkc().collect()
}

/// Whether a character is a word by itself: Chinese, Japanese and Thai ones.
fn stands_alone(character: char) -> bool {
    let blocks =
        [0x0E00..=0x0E7F, 0x3040..=0x30FF, 0x3400..=0x4DBF, 0x4E00..=0x9FFF, 0xF900..=0xFAFF, 0x2_0000..=0x3_23AF];
    blocks.iter().any(|block| block.contains(&u32::from(character)))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn case_and_composition_make_no_difference() {
        for (text, expected) in [
            ("Иван ПЕТРОВ", &["иван", "петров"][..]),
            ("Ömer", &["ömer"]),
            ("O\u{308}MER", &["ömer"]),
            ("Straße", &["strasse"]),
            ("STRASSE", &["strasse"]),
            ("Ὀδυσσεύς", &["ὀδυσσεύσ"]),
            ("ＦＵＬＬ①", &["full1"]),
            ("ǆ", &["dž"]),
            ("ann-marie_o'neil.3", &["ann", "marie", "o", "neil", "3"]),
            ("@alice:example.org", &["alice", "example", "org"]),
            ("山田 たろう", &["山", "田", "た", "ろ", "う"]),
            ("a A á", &["a", "á"]),
            ("🦊 \u{0} -", &[]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn no_text_has_too_many_or_too_long_words() {
        assert_eq!(words(&"x".repeat(10_000)), ["x".repeat(64)]);
        let many: String = (0..1_000).map(|number| format!("{number} ")).collect();
        assert_eq!(words(&many).len(), 32);
        // One character may fold to several.
        assert!(words(&"\u{fdfa}".repeat(10_000)).iter().all(|word| word.len() <= 64));
    }
}
