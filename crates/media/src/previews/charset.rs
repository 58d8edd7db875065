//! The character sets of pages: declared, or guessed.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::LazyLock;

use encoding_rs::{
    CoderResult, Decoder, DecoderResult, Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252,
};
use regex::bytes::Regex;

/// How much of a page may declare its character set, in bytes, as in Synapse.
const DECLARATION_BYTES: usize = 1024;
/// How many bytes of a page are decoded at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// `<meta charset>`, and `<meta http-equiv="Content-Type" content="...; charset=...">`.
static OF_META: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i)<\s*meta[^>]*charset\s*=\s*["']?([a-z0-9_:-]+)"#).ok());
/// `<?xml encoding="...">`.
static OF_XML: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i)^\s*<\s*\?\s*xml[^>]*encoding=["']([a-z0-9_:-]+)["']"#).ok());
/// `text/html; charset=...`.
static OF_CONTENT_TYPE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"(?i); *charset=["']?([^"';]*)"#).ok());

/// Returns the character set of a page. A page declares it by a byte order mark, in a `meta` tag, as XML or in its
/// Content-Type; the first of these in which all of the page can be read is returned, or else UTF-8 or windows-1252.
/// The page is read from its start and left there.
///
/// # Errors
/// When it cannot be read.
pub(super) fn detect(page: &mut (impl Read + Seek), content_type: &str) -> io::Result<&'static Encoding> {
    let mut start = Vec::new();
    page.by_ref().take(DECLARATION_BYTES as u64).read_to_end(&mut start)?;
    for encoding in candidates(&start, content_type) {
        page.seek(SeekFrom::Start(0))?;
        let is_right = is_readable_as(page, encoding)?;
        page.seek(SeekFrom::Start(0))?;
        if is_right {
            return Ok(encoding);
        }
    }
    // Every byte is a character.
    Ok(WINDOWS_1252)
}

fn candidates(start: &[u8], content_type: &str) -> Vec<&'static Encoding> {
    let declared = |pattern: &LazyLock<Option<Regex>>, text: &[u8]| {
        let label = pattern.as_ref()?.captures(text)?.get(1)?.as_bytes().to_vec();
        // Pages in UTF-8 are declared as ASCII, which is a part of it.
        let is_ascii = label.eq_ignore_ascii_case(b"ascii") || label.eq_ignore_ascii_case(b"us-ascii");
        let encoding = if is_ascii { Some(UTF_8) } else { Encoding::for_label(&label) };
        encoding.filter(|encoding| *encoding != REPLACEMENT)
    };
    // Who can read the declaration does not read UTF-16 (HTML, "Determining the character encoding").
    let of_meta = declared(&OF_META, start).map(|encoding| match encoding {
        wide if wide == UTF_16LE || wide == UTF_16BE => UTF_8,
        encoding => encoding,
    });
    let of_xml = declared(&OF_XML, start);
    let of_content_type = declared(&OF_CONTENT_TYPE, content_type.as_bytes());
    let mark = Encoding::for_bom(start).map(|(encoding, _)| encoding);
    let mut candidates: Vec<&'static Encoding> = Vec::new();
    for encoding in [mark, of_meta, of_xml, of_content_type, Some(UTF_8)].into_iter().flatten() {
        if !candidates.contains(&encoding) {
            candidates.push(encoding);
        }
    }
    candidates
}

/// Whether all of `page`, from where it stands, can be read in a character set.
fn is_readable_as(page: &mut impl Read, encoding: &'static Encoding) -> io::Result<bool> {
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let (mut input, mut output) = ([0; CHUNK_BYTES], [0; CHUNK_BYTES]);
    loop {
        let length = page.read(&mut input)?;
        let mut rest = input.get(..length).unwrap_or_default();
        loop {
            let (result, read, _) = decoder.decode_to_utf8_without_replacement(rest, &mut output, length == 0);
            rest = rest.get(read..).unwrap_or_default();
            match result {
                DecoderResult::Malformed(_, _) => return Ok(false),
                DecoderResult::OutputFull => {}
                DecoderResult::InputEmpty if length == 0 => return Ok(true),
                DecoderResult::InputEmpty => break,
            }
        }
    }
}

/// Reads a page in UTF-8 that has another character set.
pub(super) struct Decoded<R> {
    source: R,
    decoder: Decoder,
    input: Vec<u8>,
    /// How much of `input` has been decoded.
    decoded: usize,
    output: Vec<u8>,
    /// How much of `output` has been read.
    read: usize,
    is_at_end: bool,
    has_finished: bool,
}

impl<R: Read> Decoded<R> {
    pub(super) fn new(source: R, encoding: &'static Encoding) -> Self {
        Self {
            source,
            decoder: encoding.new_decoder_with_bom_removal(),
            input: Vec::new(),
            decoded: 0,
            output: Vec::new(),
            read: 0,
            is_at_end: false,
            has_finished: false,
        }
    }

    /// Decodes more, if there is more.
    fn decode(&mut self) -> io::Result<()> {
        if self.decoded == self.input.len() && !self.is_at_end {
            self.input.resize(CHUNK_BYTES, 0);
            let length = self.source.read(&mut self.input)?;
            self.input.truncate(length);
            self.decoded = 0;
            self.is_at_end = length == 0;
        }
        let input = self.input.get(self.decoded..).unwrap_or_default();
        self.output.resize(CHUNK_BYTES, 0);
        let (result, decoded, written, _) = self.decoder.decode_to_utf8(input, &mut self.output, self.is_at_end);
        self.output.truncate(written);
        self.read = 0;
        self.decoded += decoded;
        self.has_finished = self.is_at_end && result == CoderResult::InputEmpty;
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        while self.read == self.output.len() && !self.has_finished {
            self.decode()?;
        }
        let mut rest = self.output.get(self.read..).unwrap_or_default();
        let length = rest.read(output)?;
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(page: &[u8], content_type: &str) -> (&'static str, String) {
        let mut page = Cursor::new(page);
        let encoding = detect(&mut page, content_type).unwrap();
        let mut text = String::new();
        Decoded::new(page, encoding).read_to_string(&mut text).unwrap();
        (encoding.name(), text)
    }

    #[test]
    fn the_first_declared_set_that_fits_is_used() {
        let html = "text/html";
        let cases: [(&[u8], &str, &str, &str); 13] = [
            (b"\xc3\xb6", html, "UTF-8", "ö"),
            (b"\xf6", html, "windows-1252", "ö"),
            (b"\xf6", "text/html; charset=iso-8859-1", "windows-1252", "ö"),
            (b"\x83e\x83X\x83g", "text/html;charset=\"Shift_JIS\"", "Shift_JIS", "テスト"),
            (b"<meta charset=windows-1251>\xef\xf0", html, "windows-1251", "<meta charset=windows-1251>пр"),
            (b"<META CHARSET='gbk'>\xc4\xe3", html, "GBK", "<META CHARSET='gbk'>你"),
            (
                b"<meta content='text/html; charset=koi8-r'>\xd4",
                "text/html; charset=utf-8",
                "KOI8-R",
                "<meta content='text/html; charset=koi8-r'>т",
            ),
            (
                b"<?xml version='1.0' encoding='euc-jp'?>\xa4\xa2",
                html,
                "EUC-JP",
                "<?xml version='1.0' encoding='euc-jp'?>あ",
            ),
            // What is declared does not fit.
            (b"<meta charset=utf-8>\xf6", html, "windows-1252", "<meta charset=utf-8>ö"),
            (b"<meta charset=utf-16>\xc3\xb6", html, "UTF-8", "<meta charset=utf-16>ö"),
            (b"<meta charset=nonsense>\xc3\xb6", html, "UTF-8", "<meta charset=nonsense>ö"),
            (b"\xef\xbb\xbf<p>", "text/html; charset=big5", "UTF-8", "<p>"),
            (b"\xff\xfe<\0p\0>\0", html, "UTF-16LE", "<p>"),
        ];
        for (page, content_type, encoding, text) in cases {
            assert_eq!(read(page, content_type), (encoding, text.to_owned()), "{text}");
        }
    }

    #[test]
    fn characters_are_whole_across_chunks() {
        let text = "äöü€".repeat(CHUNK_BYTES);
        assert_eq!(read(text.as_bytes(), "text/html"), ("UTF-8", text.clone()));
        // A character that never ends.
        assert_eq!(read("€".repeat(9000).as_bytes().split_last().unwrap().1, "text/html").0, "windows-1252");
    }
}
