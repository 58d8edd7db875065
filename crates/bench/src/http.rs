//! A minimal HTTP/1.1 client: one connection, one request at a time, no TLS.
//!
//! The load generator shares the machine with the server, so its own cost must not be measured.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The most headers of a response.
const MAX_HEADERS: usize = 64;
/// The minimum buffer space for the next read, in bytes.
const READ: usize = 4096;

/// A kept-alive connection to one server. Its buffers are reused for each request.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    host: String,
    request: Vec<u8>,
    /// The bytes read since the beginning of a response.
    input: Vec<u8>,
    /// The concatenated chunks of a chunked body.
    joined: Vec<u8>,
    /// The bytes of `input` that belong to the last response.
    taken: usize,
}

/// A server's response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// A request to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// The whole value of the header.
    pub authorization: Option<&'a str>,
    pub content_type: &'a str,
    pub body: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Returns a request with a JSON body, or none.
    pub(crate) fn json(method: &'a str, path: &'a str, authorization: Option<&'a str>, body: Option<&'a [u8]>) -> Self {
        Self { method, path, authorization, content_type: "application/json", body }
    }
}

enum Length {
    Known(usize),
    Chunked,
}

struct Head {
    status: u16,
    /// The length of the head in the input, in bytes.
    end: usize,
    length: Length,
}

impl Connection {
    /// Connects to `host`, a name or address with a port.
    pub(crate) async fn open(host: &str) -> io::Result<Self> {
        let stream = connect(host).await?;
        let host = host.to_owned();
        Ok(Self { stream, host, request: Vec::new(), input: Vec::new(), joined: Vec::new(), taken: 0 })
    }

    /// Sends `request` and reads the whole response. If the server has closed the idle connection, there is no response
    /// at all, and the request is sent once more on a new connection.
    pub(crate) async fn ask(&mut self, request: Request<'_>) -> io::Result<Reply<'_>> {
        self.write(request);
        self.input.drain(..self.taken);
        self.taken = 0;
        let head = match self.send().await {
            Err(error) if self.input.is_empty() && is_closed(&error) => {
                self.stream = connect(&self.host).await?;
                self.send().await?
            }
            sent => sent?,
        };
        let body = match head.length {
            Length::Known(length) => {
                self.taken = head.end + length;
                self.have(self.taken).await?;
                self.input.get(head.end..self.taken)
            }
            Length::Chunked => {
                self.taken = self.join(head.end).await?;
                Some(self.joined.as_slice())
            }
        };
        Ok(Reply { status: head.status, body: body.unwrap_or_default() })
    }

    /// Sends the written request and reads the response's head.
    async fn send(&mut self) -> io::Result<Head> {
        self.stream.write_all(&self.request).await?;
        loop {
            if let Some(head) = parse_head(&self.input)? {
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    fn write(&mut self, request: Request<'_>) {
        let out = &mut self.request;
        out.clear();
        for part in [request.method, " ", request.path, " HTTP/1.1\r\nHost: ", &self.host] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(value) = request.authorization {
            out.extend_from_slice(b"\r\nAuthorization: ");
            out.extend_from_slice(value.as_bytes());
        }
        if let Some(body) = request.body {
            out.extend_from_slice(b"\r\nContent-Type: ");
            out.extend_from_slice(request.content_type.as_bytes());
            out.extend_from_slice(b"\r\nContent-Length: ");
            out.extend_from_slice(body.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(request.body.unwrap_or_default());
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(READ);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(())
    }

    /// Reads until the input has `length` bytes.
    async fn have(&mut self, length: usize) -> io::Result<()> {
        while self.input.len() < length {
            self.fill().await?;
        }
        Ok(())
    }

    /// Concatenates the chunks that begin at `at`, and returns where they end.
    async fn join(&mut self, mut at: usize) -> io::Result<usize> {
        self.joined.clear();
        loop {
            let end = self.line_end(at).await?;
            let line = self.input.get(at..end).unwrap_or_default();
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok())
                .ok_or_else(|| invalid("a chunk without a size"))?;
            let begin = end + 2;
            if size == 0 {
                return self.trailer(begin).await;
            }
            self.have(begin + size + 2).await?;
            self.joined.extend_from_slice(self.input.get(begin..begin + size).unwrap_or_default());
            at = begin + size + 2;
        }
    }

    /// Reads the lines after the last chunk, and returns where they end.
    async fn trailer(&mut self, mut at: usize) -> io::Result<usize> {
        loop {
            let end = self.line_end(at).await?;
            let empty = end == at;
            at = end + 2;
            if empty {
                return Ok(at);
            }
        }
    }

    /// Returns where the line that begins at `at` ends, without its line break.
    async fn line_end(&mut self, at: usize) -> io::Result<usize> {
        loop {
            let rest = self.input.get(at..).unwrap_or_default();
            if let Some(length) = rest.windows(2).position(|pair| pair == b"\r\n") {
                return Ok(at + length);
            }
            self.fill().await?;
        }
    }
}

async fn connect(host: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(buffer).map_err(|error| invalid(&error.to_string()))? {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or_else(|| invalid("an answer without a status"))?;
    let mut length = Length::Known(0);
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value).ok().and_then(|value| value.parse().ok());
            length = Length::Known(value.ok_or_else(|| invalid("a Content-Length that is no number"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            length = Length::Chunked;
        }
    }
    Ok(Some(Head { status, end, length }))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
