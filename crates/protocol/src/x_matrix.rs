//! Authentication of requests between servers: the `X-Matrix` authorization scheme
//! ([Request Authentication](https://spec.matrix.org/v1.19/server-server-api/#request-authentication)).

#[cfg(test)]
mod tests;

use std::fmt;

use crate::{
    event::sign::{PublicKey, SigningKey},
    id::{IdError, ServerName},
    json::{ParseError, Value, write_canonical, write_string},
};

/// An `Authorization: X-Matrix` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XMatrix {
    /// The server that sends the request.
    pub origin: ServerName,
    /// The server that the request is meant for. Older servers omit it; if present, the recipient must check that it is
    /// the recipient's name.
    pub destination: Option<ServerName>,
    /// The id of the signing key, including the algorithm.
    pub key: String,
    /// The signature, in base64.
    pub signature: String,
}

/// Why a header is not a valid `X-Matrix` header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XMatrixError {
    /// The authorization scheme is not `X-Matrix`.
    #[error("the authorization scheme is not X-Matrix")]
    Scheme,
    /// The parameters are not a list of name=value pairs.
    #[error("the parameters are not a list of name=value pairs")]
    Syntax,
    /// A required parameter is missing.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter occurs twice.
    #[error("the parameter {0} is given twice")]
    Duplicate(&'static str),
    /// `origin` or `destination` is not a server name.
    #[error("{0} {1}")]
    ServerName(&'static str, IdError),
}

/// The parts of a request that its signature covers.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `PUT`, ...
    pub method: &'a str,
    /// Path and query as sent, starting with `/_matrix`.
    pub uri: &'a str,
    /// The server the request is meant for.
    pub destination: &'a ServerName,
    /// The body, if there is one.
    pub content: Option<&'a Value>,
}

impl Request<'_> {
    /// Returns the canonical JSON that `origin` signs. Bodies may contain events of early room versions, so any number
    /// is allowed.
    pub fn signed_json(&self, origin: &ServerName) -> String {
        let mut out = String::from("{");
        if let Some(content) = self.content {
            out.push_str("\"content\":");
            out.push_str(&content.to_json());
            out.push(',');
        }
        self.write_other_members(origin, &mut out);
        out
    }

    /// Like [`Self::signed_json`] with the object in the text `body` as the content, without building a tree of it in
    /// memory: when a signature is verified the sender of the body is not known yet.
    ///
    /// # Errors
    /// When `body` is not a JSON object.
    pub fn signed_json_of(&self, body: &str, origin: &ServerName) -> Result<String, ParseError> {
        let mut out = String::with_capacity(body.len() + 256);
        out.push_str("{\"content\":");
        write_canonical(body, &mut out)?;
        out.push(',');
        self.write_other_members(origin, &mut out);
        Ok(out)
    }

    fn write_other_members(&self, origin: &ServerName, out: &mut String) {
        let members = [
            ("destination", self.destination.as_str()),
            ("method", self.method),
            ("origin", origin.as_str()),
            ("uri", self.uri),
        ];
        for (i, (key, value)) in members.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write_string(key, out);
            out.push(':');
            write_string(value, out);
        }
        out.push('}');
    }
}

impl XMatrix {
    /// Signs `request` as `origin`. The header's value is this value's `Display`.
    pub fn sign(request: &Request<'_>, origin: &ServerName, key: &SigningKey) -> Self {
        Self {
            origin: origin.clone(),
            destination: Some(request.destination.clone()),
            key: key.key_id().to_owned(),
            signature: key.sign(request.signed_json(origin).as_bytes()),
        }
    }

    /// Whether the signature is a signature of `request` by `key`. The caller checks that `key` is the origin's key
    /// [`XMatrix::key`] and that [`XMatrix::destination`] is this server.
    pub fn verify(&self, request: &Request<'_>, key: &PublicKey) -> bool {
        self.verify_json(&request.signed_json(&self.origin), key)
    }

    /// Like [`XMatrix::verify`], with the result of [`Request::signed_json`] or [`Request::signed_json_of`].
    pub fn verify_json(&self, signed: &str, key: &PublicKey) -> bool {
        key.verify(signed.as_bytes(), &self.signature)
    }

    /// Parses a header value (RFC 9110, section 11.4). Unquoted values may contain the characters that old servers use.
    ///
    /// # Errors
    /// See [`XMatrixError`].
    pub fn parse(header: &str) -> Result<Self, XMatrixError> {
        const SCHEME: &str = "x-matrix";
        let scheme =
            header.get(..SCHEME.len()).filter(|s| s.eq_ignore_ascii_case(SCHEME)).ok_or(XMatrixError::Scheme)?;
        let mut rest = header.get(scheme.len()..).unwrap_or_default();
        if !rest.starts_with([' ', '\t']) {
            return Err(XMatrixError::Scheme);
        }
        let (mut origin, mut destination, mut key, mut signature) = (None, None, None, None);
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (name, value, after) = parameter(rest)?;
            rest = after;
            let (slot, name) = match name {
                n if n.eq_ignore_ascii_case("origin") => (&mut origin, "origin"),
                n if n.eq_ignore_ascii_case("destination") => (&mut destination, "destination"),
                n if n.eq_ignore_ascii_case("key") => (&mut key, "key"),
                n if n.eq_ignore_ascii_case("sig") => (&mut signature, "sig"),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(XMatrixError::Duplicate(name));
            }
        }
        let server = |name, value: String| ServerName::try_from(value).map_err(|e| XMatrixError::ServerName(name, e));
        Ok(Self {
            origin: server("origin", origin.ok_or(XMatrixError::Missing("origin"))?)?,
            destination: destination.map(|value| server("destination", value)).transpose()?,
            key: key.ok_or(XMatrixError::Missing("key"))?,
            signature: signature.ok_or(XMatrixError::Missing("sig"))?,
        })
    }
}

impl fmt::Display for XMatrix {
    /// Writes the form that the oldest servers read: lower-case names, quotes, no spaces around commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X-Matrix origin=\"{}\",", self.origin)?;
        if let Some(destination) = &self.destination {
            write!(f, "destination=\"{destination}\",")?;
        }
        write!(f, "key=\"{}\",sig=\"{}\"", self.key, self.signature)
    }
}

/// Reads `name=value` and the following separator. Returns name, value, and the rest.
fn parameter(text: &str) -> Result<(&str, String, &str), XMatrixError> {
    let (name, rest) = text.split_once('=').ok_or(XMatrixError::Syntax)?;
    let name = name.trim_end_matches([' ', '\t']);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(XMatrixError::Syntax);
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = rest.find([',', ' ', '\t', '"']).unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            (value.to_owned(), rest)
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() || rest.starts_with(',') { Ok((name, value, rest)) } else { Err(XMatrixError::Syntax) }
}

/// Reads up to the closing quote. A backslash escapes the next character.
fn quoted_string(text: &str) -> Result<(String, &str), XMatrixError> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(XMatrixError::Syntax)? {
            '"' => return Ok((value, chars.as_str())),
            '\\' => value.push(chars.next().ok_or(XMatrixError::Syntax)?),
            char => value.push(char),
        }
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
