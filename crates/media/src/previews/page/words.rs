//! A page that ends where a word is too long. The tokenizer holds a word in memory where it may be the end of a script
//! or of a title.

use std::io::{self, Read};

/// The longest word, in bytes.
const MAX_WORD_BYTES: usize = 64 << 10;

/// Reads a page up to the first word that is too long.
pub(super) struct BoundedWords<R> {
    page: R,
    /// How long the word at this place is so far.
    word_bytes: usize,
}

impl<R> BoundedWords<R> {
    pub(super) fn new(page: R) -> Self {
        Self { page, word_bytes: 0 }
    }
}

impl<R: Read> Read for BoundedWords<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.word_bytes > MAX_WORD_BYTES {
            return Ok(0);
        }
        let length = self.page.read(output)?;
        for (at, byte) in output.iter().take(length).enumerate() {
            self.word_bytes = if byte.is_ascii_alphabetic() { self.word_bytes + 1 } else { 0 };
            if self.word_bytes > MAX_WORD_BYTES {
                return Ok(at);
            }
        }
        Ok(length)
    }
}
