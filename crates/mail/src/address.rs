//! Addresses of users.

use std::fmt;

use lettre::Address;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const MAX_BYTES: usize = 254;

/// An address, in the form in which Synapse compares and stores them, too: the local part with its letters folded, the
/// domain in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

/// The text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Unable to parse email address")]
pub struct NoEmailAddress;

impl EmailAddress {
    /// Returns the address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for EmailAddress {
    type Error = NoEmailAddress;

    fn try_from(text: &str) -> Result<Self, NoEmailAddress> {
        let address = canonical(text.trim()).ok_or(NoEmailAddress)?;
        // The local part of a mailbox may be quoted, and then contain anything; nobody has such an address.
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\' | ',' | ';');
        if address.len() > MAX_BYTES || address.contains(is_odd) || address.parse::<Address>().is_err() {
            return Err(NoEmailAddress);
        }
        Ok(Self(address))
    }
}

fn canonical(address: &str) -> Option<String> {
    let (local, domain) = address.split_once('@')?;
    // Full case folding: unlike lower case, it turns ß into ss. Only the dotless i has another upper case than it folds
    // to.
    let fold =
        |c: char| if c == 'ı' { c.to_string() } else { c.to_uppercase().flat_map(char::to_lowercase).collect() };
    let local: String = local.chars().map(fold).collect();
    Some(format!("{local}@{}", domain.to_lowercase()))
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_letters_does_not_matter() {
        let address = EmailAddress::try_from(" Strauß.X@EXAMPLE.org ").expect("an address");
        assert_eq!(address.as_str(), "strauss.x@example.org");
        let address = EmailAddress::try_from("ΑΣ.ı@Ä.example").expect("an address");
        assert_eq!(address.as_str(), "ασ.ı@ä.example");
    }

    #[test]
    fn what_could_be_a_command_is_no_address() {
        let long = format!("{}@example.org", "x".repeat(250));
        for text in
            ["", "a", "a@", "@b", "a@b@c", "a b@c", "a@b\r\nRCPT TO:<c@d>", "<a@b>", "\"a b\"@c", "a@b,c@d", &long]
        {
            assert_eq!(EmailAddress::try_from(text), Err(NoEmailAddress), "{text}");
        }
    }
}
