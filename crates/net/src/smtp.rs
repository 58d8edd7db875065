//! Handing mail to the mail server (SMTP, RFC 5321). The mail server is the operator's own: it is never reached through
//! a forward proxy, and may have a private address.

mod session;

use std::io;
use std::time::Duration;

use crate::http::{ConnectError, HttpClient, Purpose};
use session::Session;

/// How long everything together may take: the server may look for spam, and asks other servers, before it responds.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The mail server, and how to talk to it.
#[derive(Debug, Clone)]
pub struct SmtpServer {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name that its certificate must be for.
    pub tls_name: String,
    /// How the connection is encrypted.
    pub encryption: SmtpEncryption,
    /// The name with which to log in.
    pub login: Option<SmtpLogin>,
    /// The name of this machine in `EHLO`.
    pub own_name: String,
}

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpEncryption {
    /// Not at all.
    Never,
    /// By STARTTLS, if the server offers it.
    IfOffered,
    /// By STARTTLS; otherwise nothing is sent.
    Required,
    /// From the first byte.
    Implicit,
}

/// An account at the mail server.
#[derive(Clone)]
pub struct SmtpLogin {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for SmtpLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SmtpLogin({})", self.user)
    }
}

/// A mail to be handed over.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The address of the sender, without a name.
    pub sender: &'a str,
    /// The address of the recipient, without a name.
    pub recipient: &'a str,
    /// Headers and body (RFC 5322), with lines that end in CR LF.
    pub message: &'a [u8],
}

/// Why a mail was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// There is no connection, or no encrypted one.
    #[error("the mail server cannot be reached: {0}")]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error("the connection to the mail server broke: {0}")]
    Io(#[from] io::Error),
    /// The server is too slow.
    #[error("the mail server did not respond within {} minutes", DELIVERY_TIMEOUT.as_secs() / 60)]
    Timeout,
    /// The server does not speak SMTP.
    #[error("the mail server's response is not SMTP")]
    NotSmtp,
    /// The server does not offer encryption, which is required.
    #[error("the mail server offers no STARTTLS, which require_transport_security demands")]
    NoStartTls,
    /// The server has sent something in the clear that would count as encrypted.
    #[error("the mail server has sent more than its response to STARTTLS")]
    Injected,
    /// The server knows no way to log in that is known here.
    #[error("the mail server does not accept a user name and a password (AUTH PLAIN or LOGIN)")]
    NoLogin,
    /// The server refuses this program, whatever the mail.
    #[error("the mail server refuses {command}: {code} {text}")]
    Refused {
        /// What was refused.
        command: &'static str,
        /// The reply code.
        code: u16,
        /// What the server says.
        text: String,
    },
    /// The server does not accept this mail.
    #[error("the mail server does not accept the mail: {code} {text}")]
    Mail {
        /// The reply code.
        code: u16,
        /// What the server says.
        text: String,
    },
    /// An address cannot be sent to the server.
    #[error("the mail server does not support the characters of the address")]
    Address,
}

impl SmtpError {
    /// Whether the same mail will never be accepted. Codes from 500 to 549 are about commands and logging in (RFC 5321,
    /// section 4.2.2; RFC 4954, section 6), which the operator can mend.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Mail { code: 550.., .. } | Self::Address)
    }
}

/// Hands a mail to the mail server. When this returns `Ok` the server has taken responsibility for it.
///
/// # Errors
/// See [`SmtpError`].
#[expect(clippy::disallowed_methods, reason = "bounds the wait for another machine")]
pub async fn deliver(http: &HttpClient, server: &SmtpServer, envelope: Envelope<'_>) -> Result<(), SmtpError> {
    let delivery = async {
        let connector = http.connector();
        let mut stream = connector.plain(Purpose::Mail, &server.host, server.port).await?;
        if server.encryption == SmtpEncryption::Implicit {
            stream = connector.encrypt(Purpose::Mail, &server.tls_name, stream).await?;
        }
        let mut session = Session::begin(stream, &server.own_name).await?;
        let wanted = matches!(server.encryption, SmtpEncryption::IfOffered | SmtpEncryption::Required);
        if wanted && session.offers("STARTTLS") {
            let stream = connector.encrypt(Purpose::Mail, &server.tls_name, session.start_tls().await?).await?;
            session = Session::resume(stream, &server.own_name).await?;
        } else if server.encryption == SmtpEncryption::Required {
            return Err(SmtpError::NoStartTls);
        }
        if let Some(login) = &server.login {
            session.log_in(login).await?;
        }
        session.send(envelope).await?;
        session.quit().await;
        Ok(())
    };
    tokio::time::timeout(DELIVERY_TIMEOUT, delivery).await.unwrap_or(Err(SmtpError::Timeout))
}
