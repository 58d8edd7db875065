//! `multipart/mixed` (RFC 2046) read piece by piece: how servers hand media to each other.

/// The most bytes of a part's headers.
const MAX_HEADERS: usize = 16 * 1024;
/// The most bytes of padding after a boundary.
const MAX_PADDING: usize = 1024;
/// The longest boundary that is accepted, in bytes. RFC 2046 allows 70; a little more does no harm.
const MAX_BOUNDARY: usize = 200;

/// Reads the parts of a body as its bytes arrive.
pub struct Multipart {
    /// The end of a part: the line break before the boundary belongs to it.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Preamble,
    AfterDelimiter,
    Headers,
    Content,
    End,
}

/// A piece of the body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A part begins: its headers, names in lower case.
    Part(Vec<(String, String)>),
    /// More of the part's content.
    Content(Vec<u8>),
    /// The last part is over.
    End,
}

/// The body does not have the form that its Content-Type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not multipart/mixed")]
pub struct NotMultipart;

impl Multipart {
    /// Creates a reader of bodies with this Content-Type.
    pub fn of(content_type: &str) -> Result<Self, NotMultipart> {
        let (kind, parameters) = content_type.split_once(';').ok_or(NotMultipart)?;
        if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
            return Err(NotMultipart);
        }
        let boundary = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        });
        match boundary {
            Some(boundary) if (1..=MAX_BOUNDARY).contains(&boundary.len()) => Ok(Self {
                delimiter: format!("\r\n--{boundary}").into_bytes(),
                // The first boundary may stand at the very beginning, without a line break before it.
                buffer: b"\r\n".to_vec(),
                place: Place::Preamble,
            }),
            _ => Err(NotMultipart),
        }
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next piece; `None` when more bytes are needed.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, NotMultipart> {
        loop {
            match self.place {
                Place::End => return Ok(Some(Piece::End)),
                Place::Preamble => match self.content() {
                    Some(_) => {}
                    None => return Ok(None),
                },
                Place::Content => return Ok(self.content().map(Piece::Content)),
                Place::AfterDelimiter => {
                    if self.buffer.starts_with(b"--") {
                        self.place = Place::End;
                    } else if let Some(end) = self.find_within(b"\r\n", MAX_PADDING)? {
                        // The line break stays: without headers, it is half of the empty line.
                        self.buffer.drain(..end);
                        self.place = Place::Headers;
                    } else {
                        return Ok(None);
                    }
                }
                Place::Headers => {
                    let Some(end) = self.find_within(b"\r\n\r\n", MAX_HEADERS)? else {
                        return Ok(None);
                    };
                    let headers = headers(self.buffer.get(..end).unwrap_or_default())?;
                    self.buffer.drain(..end + 4);
                    self.place = Place::Content;
                    return Ok(Some(Piece::Part(headers)));
                }
            }
        }
    }

    /// Returns where `end` begins in the buffer, or `None` while it may still arrive. It must begin within the first
    /// `limit` bytes, however the body is cut into chunks.
    fn find_within(&self, end: &[u8], limit: usize) -> Result<Option<usize>, NotMultipart> {
        match find(&self.buffer, end) {
            Some(at) if at <= limit => Ok(Some(at)),
            None if self.buffer.len() < limit + end.len() => Ok(None),
            _ => Err(NotMultipart),
        }
    }

    /// Returns the bytes that certainly belong to the content, up to the delimiter if it is there.
    fn content(&mut self) -> Option<Vec<u8>> {
        if let Some(end) = find(&self.buffer, &self.delimiter) {
            let content = self.buffer.drain(..end).collect();
            self.buffer.drain(..self.delimiter.len());
            self.place = Place::AfterDelimiter;
            return Some(content);
        }
        // The end may be the beginning of the delimiter.
        let sure = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
        (sure > 0).then(|| self.buffer.drain(..sure).collect())
    }
}

fn headers(bytes: &[u8]) -> Result<Vec<(String, String)>, NotMultipart> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotMultipart)?;
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    let header = |line: &str| {
        let (name, value) = line.split_once(':').ok_or(NotMultipart)?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    lines.map(header).collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = from + rest.iter().position(|byte| *byte == first)?;
        if bytes.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "preamble\r\n--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b  \r\n\r\nab\r\n--c\
                        \r\n--b--\r\nepilogue";

    /// The parts, when the body arrives in pieces of `size` bytes.
    fn parts(content_type: &str, body: &str, size: usize) -> Result<Option<Vec<(String, String)>>, NotMultipart> {
        let mut reader = Multipart::of(content_type)?;
        let mut parts: Vec<(String, String)> = Vec::new();
        for chunk in body.as_bytes().chunks(size) {
            reader.push(chunk);
            while let Some(piece) = reader.next_piece()? {
                match piece {
                    Piece::Part(headers) => parts.push((format!("{headers:?}"), String::new())),
                    Piece::Content(bytes) => parts.last_mut().unwrap().1.push_str(std::str::from_utf8(&bytes).unwrap()),
                    Piece::End => return Ok(Some(parts)),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let json = r#"[("content-type", "application/json")]"#.to_owned();
        for size in 1..=BODY.len() {
            let found = parts("Multipart/Mixed; a=b; boundary=\"b\"", BODY, size).unwrap().unwrap();
            assert_eq!(found, [(json.clone(), "{}".to_owned()), ("[]".to_owned(), "ab\r\n--c".to_owned())], "{size}");
        }
    }

    #[test]
    fn bounds_do_not_depend_on_the_pieces() {
        let padded = |count: usize| format!("--b{}\r\n\r\nab\r\n--b--", " ".repeat(count));
        for size in [1, 7, 1_000, 1 << 20] {
            assert!(parts("multipart/mixed; boundary=b", &padded(MAX_PADDING), size).is_ok(), "{size}");
            assert_eq!(
                parts("multipart/mixed; boundary=b", &padded(MAX_PADDING + 1), size),
                Err(NotMultipart),
                "{size}"
            );
        }
    }

    #[test]
    fn bodies_that_are_not_multipart_are_refused() {
        for content_type in
            ["", "text/plain", "multipart/mixed", "multipart/mixed; boundary=", "multipart/form-data; boundary=b"]
        {
            assert!(Multipart::of(content_type).is_err(), "{content_type}");
        }
        let endless = format!("--b\r\n{}", "x: y\r\n".repeat(MAX_HEADERS));
        assert_eq!(parts("multipart/mixed; boundary=b", &endless, 1000), Err(NotMultipart));
        assert_eq!(parts("multipart/mixed; boundary=b", "--b\r\nno header\r\n\r\n", 1000), Err(NotMultipart));
        assert_eq!(parts("multipart/mixed; boundary=b", "--b\r\n\r\nbroken off", 1000), Ok(None));
    }
}
