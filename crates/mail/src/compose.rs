//! Making a mail of its parts (RFC 5322).

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use plexus_base::{Clock, Random};

use crate::EmailAddress;

/// The length of a mail's id, in letters and digits.
const ID_CHARS: usize = 24;

/// A mail, in words.
#[derive(Debug, Clone)]
pub struct MailText {
    /// The subject, in one line.
    pub subject: String,
    /// The text as HTML.
    pub html: String,
    /// The text for programs that show no HTML.
    pub text: String,
    /// The name of the service or app on behalf of which it is sent.
    pub app_name: String,
}

/// A mail as it is handed to the mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposedMail {
    /// Part of its `Message-ID`, too: should it be sent twice, the recipient's server can tell.
    pub id: String,
    /// The address of the sender.
    pub sender: String,
    /// The address of the recipient.
    pub recipient: String,
    /// Headers and body.
    pub message: Vec<u8>,
}

/// Why a mail cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// `notif_from` is no address.
    #[error("email.notif_from: {0:?} is no address: {1}")]
    Sender(String, lettre::address::AddressError),
    /// The recipient is no address.
    #[error("the recipient is no address: {0}")]
    Recipient(lettre::address::AddressError),
    /// The mail has no form.
    #[error("the mail cannot be composed: {0}")]
    Compose(#[from] lettre::error::Error),
}

/// Makes mail of its parts.
#[derive(Clone)]
pub struct MailComposer {
    clock: Clock,
    random: Random,
    /// The sender, in which `%(app)s` stands for the name of the app.
    from: String,
    /// What follows the `@` in the ids of mail.
    domain: String,
}

impl MailComposer {
    /// Returns a composer of mail from `from`, by the server named `domain`.
    ///
    /// # Errors
    /// When `from` is no address.
    pub fn new(clock: Clock, random: Random, from: String, domain: String) -> Result<Self, ComposeError> {
        let composer = Self { clock, random, from, domain };
        composer.sender("Matrix")?;
        Ok(composer)
    }

    /// Returns a mail to `to`.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn compose(&self, to: &EmailAddress, mail: MailText) -> Result<ComposedMail, ComposeError> {
        let id = self.random.alphanumeric(ID_CHARS);
        let from = self.sender(&mail.app_name)?;
        let to: Mailbox = to.as_str().parse().map_err(ComposeError::Recipient)?;
        let (sender, recipient) = (from.email.to_string(), to.email.to_string());
        let message = Message::builder()
            .from(from)
            .to(to)
            .subject(one_line(&mail.subject))
            .message_id(Some(format!("<{id}@{}>", self.domain)))
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now_ms()))
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html));
        let mut message = message?;
        let mut header = |name, value: String| {
            message.headers_mut().insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
        };
        // So that no reply says that somebody is on holiday (RFC 3834, section 5).
        header("Auto-Submitted", "auto-generated".to_owned());
        header("X-Auto-Response-Suppress", "All".to_owned());
        Ok(ComposedMail { id, sender, recipient, message: message.formatted() })
    }

    fn sender(&self, app_name: &str) -> Result<Mailbox, ComposeError> {
        let from = one_line(&self.from.replace("%(app)s", app_name));
        from.parse().map_err(|error| ComposeError::Sender(from, error))
    }
}

/// Returns a text without line breaks and other control characters, which would begin another header.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composer(from: &str) -> Result<MailComposer, ComposeError> {
        let clock = Clock::manual(1_700_000_000_000);
        MailComposer::new(clock, Random::seeded(1), from.to_owned(), "example.org".to_owned())
    }

    fn mail() -> MailText {
        MailText {
            subject: "Hello\r\nBcc: x@example.org".to_owned(),
            html: "<p>Hé</p>".to_owned(),
            text: "Hé".to_owned(),
            app_name: "App".to_owned(),
        }
    }

    #[test]
    fn a_mail_has_its_headers_and_both_texts() {
        let composer = composer("The %(app)s server <noreply@example.org>").expect("a sender");
        let to = EmailAddress::try_from("alice@example.net").expect("an address");
        let composed = composer.compose(&to, mail()).expect("a mail");
        let message = String::from_utf8(composed.message).expect("a text");
        assert_eq!((&*composed.sender, &*composed.recipient), ("noreply@example.org", "alice@example.net"));
        let id = format!("Message-ID: <{}@example.org>", composed.id);
        for line in [
            "From: \"The App server\" <noreply@example.org>",
            "To: alice@example.net",
            "Subject: Hello  Bcc: x@example.org",
            "Date: Tue, 14 Nov 2023 22:13:20 +0000",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: text/html; charset=utf-8",
            &id,
        ] {
            assert!(message.split("\r\n").any(|found| found == line), "{line} in {message}");
        }
    }

    #[test]
    fn a_sender_is_an_address() {
        for from in ["noreply@example.org", "Name <noreply@example.org>", "%(app)s <a@b>"] {
            assert!(composer(from).is_ok(), "{from}");
        }
        for from in ["", "nobody", "Name <>"] {
            assert!(matches!(composer(from), Err(ComposeError::Sender(..))), "{from}");
        }
    }
}
