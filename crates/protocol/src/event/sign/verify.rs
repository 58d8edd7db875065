//! Which servers must sign an event, and verifying that they did ([Validating hashes and signatures on received
//! events](https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events)).

use super::{PublicKey, batch, public_key::decode_signature};
use crate::{event::Pdu, id::UserId, json::Object, rules::EventIdFormat};

/// A server's key with its validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownKey {
    /// The public key.
    pub key: PublicKey,
    /// Until when the key may sign events, in Unix milliseconds: `valid_until_ts` limited to seven days from now
    /// ([Signing key validity period](https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period)), or an old
    /// key's `expired_ts`.
    pub valid_until_ts: u64,
}

/// Returns the key of a server by its id (`ed25519:...`).
pub type KeyLookup<'a> = &'a dyn Fn(&str, &str) -> Option<KnownKey>;

/// Why an event is not sufficiently signed. Each variant names the server whose signature is in question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The server has not signed the event.
    #[error("event is not signed by {0}")]
    Missing(String),
    /// None of the keys that the server signed with is known.
    #[error("no key that {0} signed the event with is known")]
    UnknownKey(String),
    /// The server's key was not valid when the event was sent.
    #[error("the key that {0} signed the event with was not valid when it was sent")]
    KeyNotValid(String),
    /// A signature of the server is wrong.
    #[error("the signature of {0} does not match the event")]
    Invalid(String),
}

/// Returns the servers that must sign the event: the sender's, except for invites that follow from a third-party
/// invite; that of the event id (room versions 1 and 2); and that of the user who authorised a restricted join (8 and
/// later).
///
/// For the last, the texts disagree. Room version 8, rule 4.2 of the
/// [authorization rules](https://spec.matrix.org/v1.19/rooms/v8/#authorisation-rules) (5.2 in room version 12),
/// requires that signature of every member event with `join_authorised_via_users_server`, whatever its membership.
/// [Validating hashes and
/// signatures](https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events)
/// requires only the sender's, and
/// [Restricted rooms](https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms) lets servers sign only joins.
/// Synapse (`_check_sigs_on_pdu`) and Dendrite require it of joins; they send and accept a leave that kept the key of
/// the join before it without the signature, and refusing such a leave would split the room. So it is required of
/// joins.
pub fn required_servers(pdu: &Pdu) -> Vec<&str> {
    let membership = (pdu.event_type() == "m.room.member").then(|| pdu.content().get_str("membership")).flatten();
    let third_party = membership == Some("invite") && pdu.content().contains_key("third_party_invite");
    let mut servers = Vec::with_capacity(2);
    if !third_party {
        servers.push(pdu.sender().server_name());
    }
    let mut require = |server| {
        if !servers.contains(&server) {
            servers.push(server);
        }
    };
    if pdu.rules().event_id_format == EventIdFormat::Server
        && let Some(server) = pdu.event_id().server_name()
    {
        require(server);
    }
    if membership == Some("join")
        && pdu.rules().auth.restricted_joins
        && let Some(user) = pdu.content().get_str("join_authorised_via_users_server")
    {
        // Not a user id: no server with that name can sign, so the event fails.
        let valid = UserId::try_from(user).is_ok();
        require(user.split_once(':').filter(|_| valid).map_or(user, |(_, server)| server));
    }
    servers
}

/// Returns the servers whose signatures are required, each with the ids of the ed25519 keys it signed with. The caller
/// must have these keys before it calls [`verify`].
pub fn required_keys(pdu: &Pdu) -> Vec<(String, Vec<String>)> {
    let signatures = signatures(pdu);
    let keys = |server: &str| match signatures.get_object(server) {
        Some(of_server) => of_server.keys().filter(|id| is_ed25519(id)).map(str::to_owned).collect(),
        None => Vec::new(),
    };
    required_servers(pdu).into_iter().map(|server| (server.to_owned(), keys(server))).collect()
}

/// Verifies that each required server has signed the event with a key that was valid at the time, and that none of its
/// signatures by such keys is wrong. Signatures by unknown or expired keys do not count.
///
/// # Errors
/// The first server whose signature is missing or wrong.
pub fn verify(pdu: &Pdu, keys: KeyLookup<'_>) -> Result<(), SignatureError> {
    let signatures = signatures(pdu);
    let mut to_check = Vec::with_capacity(2);
    for server in required_servers(pdu) {
        to_check.push((server, candidates(pdu, &signatures, server, keys)?));
    }
    let message = pdu.signable_json();
    for (server, candidates) in to_check {
        if !candidates.iter().all(|(key, signature)| key.verify_bytes(message.as_bytes(), signature)) {
            return Err(SignatureError::Invalid(server.to_owned()));
        }
    }
    Ok(())
}

/// [`verify`] for many events at once, several times faster. `entropy` must be random.
pub fn verify_all(pdus: &[Pdu], keys: KeyLookup<'_>, entropy: [u8; 32]) -> Vec<Result<(), SignatureError>> {
    let mut results: Vec<Result<(), SignatureError>> = Vec::with_capacity(pdus.len());
    let messages: Vec<String> = pdus.iter().map(Pdu::signable_json).collect();
    let mut items = Vec::with_capacity(pdus.len());
    let mut owners = Vec::with_capacity(pdus.len());
    for (i, (pdu, message)) in pdus.iter().zip(&messages).enumerate() {
        let before = items.len();
        let signatures = signatures(pdu);
        let result = required_servers(pdu).into_iter().try_for_each(|server| {
            for (key, signature) in candidates(pdu, &signatures, server, keys)? {
                items.push(batch::Item { message: message.as_bytes(), signature, key });
                owners.push((i, server));
            }
            Ok(())
        });
        if result.is_err() {
            items.truncate(before);
            owners.truncate(before);
        }
        results.push(result);
    }
    let outcomes = batch::verify(&items, entropy);
    let failed = owners.into_iter().zip(outcomes).filter(|(_, valid)| !valid);
    for ((event, server), _) in failed {
        if let Some(result @ Ok(())) = results.get_mut(event) {
            *result = Err(SignatureError::Invalid(server.to_owned()));
        }
    }
    results
}

/// Returns the signatures of `server` by keys that are known and were valid at the time. All of them must be right.
///
/// # Errors
/// When there are none.
fn candidates(
    pdu: &Pdu,
    signatures: &Object,
    server: &str,
    keys: KeyLookup<'_>,
) -> Result<Vec<(PublicKey, [u8; 64])>, SignatureError> {
    let name = || server.to_owned();
    let of_server = signatures.get_object(server).ok_or_else(|| SignatureError::Missing(name()))?;
    let mut found = Vec::with_capacity(1);
    let mut error = SignatureError::Missing(name());
    for (key_id, signature) in of_server.iter().filter(|(id, _)| is_ed25519(id)) {
        let key = match valid_key(pdu, server, key_id, keys) {
            Ok(key) => key,
            Err(problem) => {
                error = problem;
                continue;
            }
        };
        let signature = signature.as_str().and_then(decode_signature).ok_or_else(|| SignatureError::Invalid(name()))?;
        found.push((key, signature));
    }
    if found.is_empty() { Err(error) } else { Ok(found) }
}

/// Returns the key with an id if it is known and was valid when the event was sent.
pub(super) fn valid_key(
    pdu: &Pdu,
    server: &str,
    key_id: &str,
    keys: KeyLookup<'_>,
) -> Result<PublicKey, SignatureError> {
    let known = keys(server, key_id).ok_or_else(|| SignatureError::UnknownKey(server.to_owned()))?;
    if pdu.rules().enforce_key_validity && known.valid_until_ts < pdu.origin_server_ts() {
        return Err(SignatureError::KeyNotValid(server.to_owned()));
    }
    Ok(known.key)
}

fn signatures(pdu: &Pdu) -> Object {
    pdu.member_json("signatures").and_then(|text| Object::parse(text).ok()).unwrap_or_default()
}

fn is_ed25519(key_id: &str) -> bool {
    key_id.starts_with("ed25519:")
}
