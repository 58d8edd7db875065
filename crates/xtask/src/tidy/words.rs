//! Words that are not used here, with what to say instead: `data/words.tsv`.
//!
//! They are looked for in comments, messages, documents and identifiers. What is in backquotes is code, and a string
//! in a test is data.

use std::collections::BTreeSet;

use crate::source::{File, Kind, Source};

use super::{Rule, Violation};

/// A phrase a line: the phrase, a tab, what to say instead. One with a capital is looked for only at the beginning of
/// a sentence.
const FORBIDDEN: &str = include_str!("../../data/words.tsv");

struct Phrase {
    words: Vec<String>,
    begins_sentence: bool,
    /// As it stands in the list.
    text: &'static str,
    instead: &'static str,
}

struct Word {
    /// In lower case.
    text: String,
    line: usize,
    begins_sentence: bool,
}

/// Adds the forbidden words of a source file.
pub(super) fn check_source(source: &Source<'_>, found: &mut Vec<Violation>) {
    let phrases = phrases();
    let mut add = |line, phrase: &Phrase, context: &str| {
        found.push(violation(source.path, line, phrase, context));
    };
    let mut words = Vec::new();
    let mut last_line = 0;
    for comment in &source.comments {
        if comment.line > last_line + 1 {
            search(&words, &phrases, &mut |line, phrase| add(line, phrase, "comment"));
            words.clear();
        }
        read_words(comment.text, comment.line, &mut words);
        last_line = comment.line;
    }
    search(&words, &phrases, &mut |line, phrase| add(line, phrase, "comment"));
    if !source.is_test() {
        for token in source.tokens_without_tests().iter().filter(|token| token.kind == Kind::Str) {
            let mut words = Vec::new();
            read_words(token.text, token.line, &mut words);
            words.iter_mut().for_each(|word| word.begins_sentence = false);
            search(&words, &phrases, &mut |line, phrase| add(line, phrase, "string"));
        }
    }
    let mut seen = BTreeSet::new();
    for token in source.tokens.iter().filter(|token| token.is_ident()) {
        if seen.insert(token.text) {
            let words = identifier_words(token.text, token.line);
            search(&words, &phrases, &mut |line, phrase| add(line, phrase, token.text));
        }
    }
}

/// Adds the forbidden words of a document.
pub(super) fn check_document(file: &File, found: &mut Vec<Violation>) {
    let mut words = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        read_words(line, index + 1, &mut words);
    }
    search(&words, &phrases(), &mut |line, phrase| found.push(violation(&file.path, line, phrase, "text")));
}

fn violation(path: &str, line: usize, phrase: &Phrase, context: &str) -> Violation {
    let message = format!("\"{}\" ({context}); say {}", phrase.text, phrase.instead);
    Violation { rule: Rule::Words, path: path.to_owned(), line, count: 1, message }
}

fn phrases() -> Vec<Phrase> {
    let lines = FORBIDDEN.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('\t'));
    let phrases = pairs.map(|(text, instead)| Phrase {
        words: text.split(' ').map(str::to_lowercase).collect(),
        begins_sentence: text.starts_with(char::is_uppercase),
        text,
        instead,
    });
    phrases.collect()
}

/// Adds the words of a line that follows those in `words`.
fn read_words(text: &str, line: usize, words: &mut Vec<Word>) {
    let mut begins_sentence = words.is_empty() || text.is_empty();
    // Every second part is between backquotes.
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            words.push(Word { text: String::new(), line, begins_sentence });
            begins_sentence = false;
            continue;
        }
        for piece in part.split_whitespace() {
            let text = piece.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
            if !text.is_empty() {
                words.push(Word { text, line, begins_sentence });
            }
            begins_sentence = piece.ends_with(['.', ':', ';', '?', '!']);
        }
    }
}

/// The words of an identifier in snake case or camel case.
fn identifier_words(identifier: &str, line: usize) -> Vec<Word> {
    let mut words: Vec<String> = vec![String::new()];
    let mut last_is_lower = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && last_is_lower) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
        last_is_lower = c.is_lowercase();
    }
    words.into_iter().map(|text| Word { text, line, begins_sentence: false }).collect()
}

fn search(words: &[Word], phrases: &[Phrase], add: &mut impl FnMut(usize, &Phrase)) {
    for start in 0..words.len() {
        for phrase in phrases {
            let part = words.get(start..start + phrase.words.len());
            let Some(part) = part.filter(|part| part.iter().zip(&phrase.words).all(|(word, text)| word.text == *text))
            else {
                continue;
            };
            if !phrase.begins_sentence || part[0].begins_sentence {
                add(part[0].line, phrase);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Violation, check_document, check_source};
    use crate::source::{File, Source};

    fn found(text: &str) -> Vec<(usize, String)> {
        let file = File { path: "crates/x/src/a.rs".into(), text: text.into() };
        let mut found: Vec<Violation> = Vec::new();
        check_source(&Source::new(&file), &mut found);
        found.into_iter().map(|it| (it.line, it.message.split(';').next().unwrap_or_default().to_owned())).collect()
    }

    fn one(line: usize, message: &str) -> Vec<(usize, String)> {
        vec![(line, message.to_owned())]
    }

    #[test]
    fn a_phrase_is_found_across_the_lines_of_a_comment() {
        assert_eq!(found("/// Asked in\n/// vain, again.\nfn a() {}"), one(1, "\"in vain\" (comment)"));
        assert_eq!(found("/// Asked in\n\n/// vain."), []);
    }

    #[test]
    fn code_in_a_comment_is_not_prose() {
        assert_eq!(found("// See `told` and [`told`].\n"), []);
        assert_eq!(found("// See told.\n"), one(1, "\"told\" (comment)"));
    }

    #[test]
    fn a_capital_means_the_beginning_of_a_sentence() {
        assert_eq!(found("// Answers the room.\n"), one(1, "\"Answers\" (comment)"));
        assert_eq!(found("// The room. Answers the rest.\n"), one(1, "\"Answers\" (comment)"));
        assert_eq!(found("// The answers of others.\n"), []);
    }

    #[test]
    fn an_identifier_is_found_once() {
        assert_eq!(found("struct ToldList;\nfn f(_: ToldList) {}"), one(1, "\"told\" (ToldList)"));
        assert_eq!(found("fn stolde() {}"), []);
    }

    #[test]
    fn a_message_is_prose_and_data_of_a_test_is_not() {
        assert_eq!(found("const A: &str = \"in vain\";"), one(1, "\"in vain\" (string)"));
        assert_eq!(found("#[cfg(test)] mod tests { const A: &str = \"in vain\"; }"), []);
    }

    #[test]
    fn documents_are_read_too() {
        let file = File { path: "README.md".into(), text: "One\ntwo in\nvain.\n".into() };
        let mut found = Vec::new();
        check_document(&file, &mut found);
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), [2]);
    }
}
