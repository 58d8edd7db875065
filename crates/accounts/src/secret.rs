//! The texts of tokens, and the hashes that are stored of them.

use plexus_base::Random;
use plexus_store::repo::tokens::TokenHash;
use sha2::{Digest, Sha256};

/// The number of letters and digits after the prefix: 32 of 62 possibilities each are 190 bits.
const SECRET_LEN: usize = 32;

/// What a token is for. Its prefix lets secret scanners and people tell the kinds apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Access,
    Refresh,
    Login,
    OpenId,
}

/// Generates a token for a client.
pub(crate) fn generate(random: &Random, purpose: Purpose) -> String {
    let prefix = match purpose {
        Purpose::Access => "pxa_",
        Purpose::Refresh => "pxr_",
        Purpose::Login => "pxl_",
        Purpose::OpenId => "pxo_",
    };
    format!("{prefix}{}", random.alphanumeric(SECRET_LEN))
}

/// Returns the SHA-256 of a token, which is all that is stored. Tokens have far more entropy than can be guessed, so a
/// fast hash without salt is enough.
#[must_use]
pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
