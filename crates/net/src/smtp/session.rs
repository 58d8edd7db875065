//! The commands of one connection to a mail server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Envelope, SmtpError, SmtpLogin};
use crate::http::stream::BoxedStream;

/// The longest line of a reply, in bytes: twice what RFC 5321 permits (section 4.5.3.1.5).
const MAX_LINE: u64 = 1_024;
/// The most lines of a reply.
const MAX_LINES: usize = 128;

/// A connection to a mail server, after `EHLO`.
pub(super) struct Session {
    stream: BufReader<BoxedStream>,
    /// What the server offers, a keyword and its parameters each.
    extensions: Vec<String>,
}

struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Returns the reply if it has the code that `command` is to have.
    fn require(self, code: u16, command: &'static str) -> Result<Self, SmtpError> {
        if self.code == code {
            return Ok(self);
        }
        Err(SmtpError::Refused { command, code: self.code, text: self.text() })
    }

    /// Requires that the mail has been accepted so far.
    fn accepts(self, codes: &[u16]) -> Result<(), SmtpError> {
        if codes.contains(&self.code) {
            return Ok(());
        }
        Err(SmtpError::Mail { code: self.code, text: self.text() })
    }
}

impl Session {
    /// Waits for the server's greeting, and introduces this machine.
    pub(super) async fn begin(stream: BoxedStream, own_name: &str) -> Result<Self, SmtpError> {
        let mut session = Self { stream: BufReader::new(stream), extensions: Vec::new() };
        session.reply().await?.require(220, "the connection")?;
        session.introduce(own_name).await?;
        Ok(session)
    }

    /// Introduces this machine once more, after encryption has begun: what was said before does not count (RFC 3207,
    /// section 4.2).
    pub(super) async fn resume(stream: BoxedStream, own_name: &str) -> Result<Self, SmtpError> {
        let mut session = Self { stream: BufReader::new(stream), extensions: Vec::new() };
        session.introduce(own_name).await?;
        Ok(session)
    }

    async fn introduce(&mut self, own_name: &str) -> Result<(), SmtpError> {
        let reply = self.command(&format!("EHLO {own_name}")).await?;
        if reply.code == 250 {
            self.extensions = reply.lines.into_iter().skip(1).collect();
            return Ok(());
        }
        // A server without extensions.
        self.command(&format!("HELO {own_name}")).await?.require(250, "HELO").map(drop)
    }

    /// Whether the server offers an extension.
    pub(super) fn offers(&self, keyword: &str) -> bool {
        self.parameters(keyword).is_some()
    }

    fn parameters(&self, keyword: &str) -> Option<Vec<&str>> {
        self.extensions.iter().find_map(|extension| {
            let mut words = extension.split([' ', '=']);
            let is_it = words.next().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
            is_it.then(|| words.collect())
        })
    }

    /// Returns the stream on which encryption is to begin.
    pub(super) async fn start_tls(mut self) -> Result<BoxedStream, SmtpError> {
        self.command("STARTTLS").await?.require(220, "STARTTLS")?;
        // Whatever follows in the clear may be from somebody in between.
        if self.stream.buffer().is_empty() { Ok(self.stream.into_inner()) } else { Err(SmtpError::Injected) }
    }

    /// Logs in (RFC 4954).
    pub(super) async fn log_in(&mut self, login: &SmtpLogin) -> Result<(), SmtpError> {
        let SmtpLogin { user, password } = login;
        let methods = self.parameters("AUTH").unwrap_or_default();
        let knows = |method: &str| methods.iter().any(|known| known.eq_ignore_ascii_case(method));
        if knows("PLAIN") {
            let response = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {response}")).await?.require(235, "AUTH")?;
        } else if knows("LOGIN") {
            self.command("AUTH LOGIN").await?.require(334, "AUTH")?;
            self.command(&STANDARD.encode(user)).await?.require(334, "AUTH")?;
            self.command(&STANDARD.encode(password)).await?.require(235, "AUTH")?;
        } else {
            return Err(SmtpError::NoLogin);
        }
        Ok(())
    }

    /// Sends a mail.
    pub(super) async fn send(&mut self, envelope: Envelope<'_>) -> Result<(), SmtpError> {
        let Envelope { sender, recipient, message } = envelope;
        let is_plain = |address: &str| !address.contains(|c: char| c.is_control() || matches!(c, '<' | '>'));
        if !is_plain(sender) || !is_plain(recipient) {
            return Err(SmtpError::Address);
        }
        let international = match sender.is_ascii() && recipient.is_ascii() {
            true => "",
            // RFC 6531
            false if self.offers("SMTPUTF8") => " SMTPUTF8",
            false => return Err(SmtpError::Address),
        };
        // All mail has this sender.
        self.command(&format!("MAIL FROM:<{sender}>{international}")).await?.require(250, "MAIL FROM")?;
        self.command(&format!("RCPT TO:<{recipient}>")).await?.accepts(&[250, 251])?;
        self.command("DATA").await?.accepts(&[354])?;
        self.stream.write_all(&dot_stuffed(message)).await?;
        self.stream.flush().await?;
        self.reply().await?.accepts(&[250])
    }

    /// Ends the connection. The mail has been accepted, so that it does not matter how.
    pub(super) async fn quit(mut self) {
        if let Err(error) = self.command("QUIT").await {
            tracing::debug!("the mail server did not say goodbye: {error}");
        }
    }

    async fn command(&mut self, line: &str) -> Result<Reply, SmtpError> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    /// Reads a reply: lines with one code, the last of which has a space after it.
    async fn reply(&mut self) -> Result<Reply, SmtpError> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.strip_suffix('\n').ok_or(SmtpError::NotSmtp)?.trim_end();
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok()).ok_or(SmtpError::NotSmtp)?;
            let is_last = !line[3..].starts_with('-');
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if is_last {
                return Ok(Reply { code, lines });
            }
            if lines.len() == MAX_LINES {
                return Err(SmtpError::NotSmtp);
            }
        }
    }
}

/// Returns a message as it follows `DATA`: a line that begins with a dot gets another one, and a dot ends it (RFC 5321,
/// section 4.5.2).
fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests;
