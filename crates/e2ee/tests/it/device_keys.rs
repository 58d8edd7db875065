use std::collections::{BTreeMap, BTreeSet};

use plexus_e2ee::DeviceKeys;
use plexus_e2ee::device_keys::{
    CrossSigningError, CrossSigningState, CrossSigningUpload, DeviceClaims, KeyUpload, SignatureFailure, UploadError,
};
use plexus_protocol::event::sign::SigningKey;
use plexus_protocol::id::UserId;
use plexus_protocol::json::Object;
use plexus_store::DbError;
use plexus_store::repo::{device_lists, one_time_keys};

use super::{Server, object, user_id};

pub fn device_keys(user: &UserId, device: &str) -> Object {
    object(&format!(
        r#"{{"user_id": "{user}", "device_id": "{device}", "algorithms": ["m.megolm.v1.aes-sha2"],
            "keys": {{"ed25519:{device}": "{}"}}, "signatures": {{}}, "unsigned": {{"x": 1}}}}"#,
        key_of(device).public_key_base64()
    ))
}

/// A key pair made of a name.
fn key_of(name: &str) -> SigningKey {
    let mut seed = [7; 32];
    for (to, from) in seed.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    SigningKey::generate(&seed, name)
}

fn one_time(names: &[&str]) -> KeyUpload {
    let keys =
        names.iter().map(|name| (format!("signed_curve25519:{name}"), object(&format!(r#"{{"key": "{name}"}}"#))));
    KeyUpload { one_time_keys: keys.collect(), ..KeyUpload::default() }
}

fn claim(user: &UserId, device: &str) -> DeviceClaims {
    DeviceClaims::from([(user.clone(), BTreeMap::from([(device.to_owned(), "signed_curve25519".to_owned())]))])
}

async fn claim_one(keys: &DeviceKeys, user: &UserId, device: &str) -> Option<String> {
    let mut claimed = keys.claim(claim(user, device)).await.unwrap();
    let key = claimed.remove(user)?.remove(device)?;
    key.keys().next().map(str::to_owned)
}

#[tokio::test]
async fn uploads_are_checked() {
    for db in plexus_testkit::databases() {
        let server = Server::new(&db);
        let session = server.user("alice").await;
        let (user, device) = (&session.user_id, session.device_id.as_str());
        let keys = &server.keys;
        let counts = keys.upload(user, device, one_time(&["AAAAAQ", "AAAAAg"])).await.unwrap();
        assert_eq!(counts, BTreeMap::from([("signed_curve25519".to_owned(), 2)]));
        // The same keys again; new signatures make no difference.
        let mut again = one_time(&["AAAAAQ"]);
        let signed = object(r#"{"key": "AAAAAQ", "signatures": {"@alice:example.org": {"ed25519:X": "s"}}}"#);
        again.one_time_keys.insert("signed_curve25519:AAAAAQ", signed);
        assert_eq!(keys.upload(user, device, again).await.unwrap()["signed_curve25519"], 2);
        let mut other = one_time(&["AAAAAw"]);
        other.one_time_keys.insert("signed_curve25519:AAAAAQ", object(r#"{"key": "other"}"#));
        assert!(matches!(keys.upload(user, device, other).await, Err(UploadError::Conflict(_))));
        // All or nothing.
        assert_eq!(keys.upload(user, device, KeyUpload::default()).await.unwrap()["signed_curve25519"], 2);

        for (name, value) in
            [("nocolon", "\"x\""), (":x", "\"x\""), ("a:", "\"x\""), ("a:\\u0000", "\"x\""), ("a:b", "1")]
        {
            let upload =
                KeyUpload { one_time_keys: object(&format!(r#"{{"{name}": {value}}}"#)), ..KeyUpload::default() };
            let error = keys.upload(user, device, upload).await.unwrap_err();
            assert!(matches!(error, UploadError::KeyName(_) | UploadError::KeyValue(_)), "{name}: {error}");
        }
        let huge = object(&format!(r#"{{"a:b": "{}"}}"#, "x".repeat(70_000)));
        let upload = KeyUpload { one_time_keys: huge, ..KeyUpload::default() };
        assert!(matches!(keys.upload(user, device, upload).await, Err(UploadError::TooLarge)));
        let mut foreign = device_keys(user, device);
        foreign.insert("device_id", "OTHER");
        for bad in [foreign, object("{}"), device_keys(&user_id("@bob:example.org"), device)] {
            let upload = KeyUpload { device_keys: Some(bad), ..KeyUpload::default() };
            assert!(matches!(keys.upload(user, device, upload).await, Err(UploadError::DeviceKeys(_))));
        }
        assert!(matches!(keys.upload(user, "GONE", one_time(&["x"])).await, Err(UploadError::NoDevice)));
    }
}

#[tokio::test]
async fn one_time_keys_are_given_out_once_oldest_first_then_the_fallback() {
    for db in plexus_testkit::databases() {
        let server = Server::new(&db);
        let session = server.user("alice").await;
        let (user, device) = (&session.user_id, session.device_id.as_str());
        let keys = &server.keys;
        keys.upload(user, device, one_time(&["b"])).await.unwrap();
        keys.upload(user, device, one_time(&["a"])).await.unwrap();
        assert_eq!(claim_one(keys, user, device).await.as_deref(), Some("signed_curve25519:b"));
        assert_eq!(claim_one(keys, user, device).await.as_deref(), Some("signed_curve25519:a"));
        assert_eq!(claim_one(keys, user, device).await, None);
        assert_eq!(claim_one(keys, user, "a\0").await, None);
        assert_eq!(claim_one(keys, &user_id("@a:elsewhere"), device).await, None);

        let fallback =
            |name: &str| KeyUpload { fallback_keys: one_time(&[name]).one_time_keys, ..KeyUpload::default() };
        keys.upload(user, device, fallback("f")).await.unwrap();
        let unused = || async {
            let (user, device) = (user.clone(), device.to_owned());
            server
                .db
                .read::<_, DbError, _>(move |tx| one_time_keys::unused_fallback_types(tx, user.as_str(), &device))
                .await
                .unwrap()
        };
        assert_eq!(unused().await, ["signed_curve25519"]);
        for _ in 0..2 {
            assert_eq!(claim_one(keys, user, device).await.as_deref(), Some("signed_curve25519:f"));
            assert!(unused().await.is_empty());
        }
        // The same fallback key uploaded again stays used; another one is new.
        keys.upload(user, device, fallback("f")).await.unwrap();
        assert!(unused().await.is_empty());
        keys.upload(user, device, fallback("g")).await.unwrap();
        assert_eq!(unused().await, ["signed_curve25519"]);
    }
}

#[tokio::test]
async fn other_identity_keys_end_what_belonged_to_the_old_ones() {
    for db in plexus_testkit::databases() {
        let server = Server::new(&db);
        let session = server.user("alice").await;
        let (user, device) = (&session.user_id, session.device_id.as_str());
        let keys = &server.keys;
        let first = KeyUpload { device_keys: Some(device_keys(user, device)), ..one_time(&["a"]) };
        keys.upload(user, device, first).await.unwrap();
        // Other algorithms alone change nothing about the keys.
        let mut again = device_keys(user, device);
        again.insert("algorithms", Vec::<&str>::new());
        let again = KeyUpload { device_keys: Some(again), ..KeyUpload::default() };
        assert_eq!(keys.upload(user, device, again).await.unwrap()["signed_curve25519"], 1);
        let mut changed = device_keys(user, device);
        changed.insert("keys", object(r#"{"ed25519:X": "other"}"#));
        let changed = KeyUpload { device_keys: Some(changed), ..one_time(&["b"]) };
        assert_eq!(keys.upload(user, device, changed).await.unwrap()["signed_curve25519"], 1);
        assert_eq!(claim_one(keys, user, device).await.as_deref(), Some("signed_curve25519:b"));
    }
}

#[tokio::test]
async fn concurrent_claims_get_different_keys() {
    for db in plexus_testkit::databases() {
        let server = Server::new(&db);
        let session = server.user("alice").await;
        let (user, device) = (session.user_id.clone(), session.device_id.clone());
        let names: Vec<String> = (0..40).map(|n| format!("k{n:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let keys = &server.keys;
        keys.upload(&user, &device, one_time(&names)).await.unwrap();
        let claims: Vec<_> = (0..50)
            .map(|_| {
                let (keys, user, device) = (keys.clone(), user.clone(), device.clone());
                tokio::spawn(async move { claim_one(&keys, &user, &device).await })
            })
            .collect();
        let mut given = Vec::new();
        for claim in claims {
            given.extend(claim.await.unwrap());
        }
        assert_eq!(given.len(), 40);
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 40);
    }
}

/// A cross-signing key of `user`, signed by `signer`.
fn cross_signing(user: &UserId, purpose: &str, key: &SigningKey, signer: &SigningKey) -> Object {
    let public = key.public_key_base64();
    let mut object = object(&format!(
        r#"{{"user_id": "{user}", "usage": ["{purpose}"], "keys": {{"ed25519:{public}": "{public}"}}}}"#
    ));
    sign(&mut object, user, &signer.public_key_base64(), signer);
    object
}

/// Signs as clients do: with the device id or the public key as the key's name.
fn sign(object: &mut Object, user: &UserId, key_name: &str, key: &SigningKey) {
    let mut part = object.clone();
    part.remove("signatures");
    part.remove("unsigned");
    let signature = key.sign(part.to_json().as_bytes());
    let mut all = object.get_object("signatures").cloned().unwrap_or_default();
    let mut of_user = all.get_object(user.as_str()).cloned().unwrap_or_default();
    of_user.insert(format!("ed25519:{key_name}"), signature);
    all.insert(user.as_str(), of_user);
    object.insert("signatures", all);
}

fn upload_of(user: &UserId, name: &str) -> CrossSigningUpload {
    let (master, own, others) = keys_of(name);
    CrossSigningUpload {
        master_key: Some(cross_signing(user, "master", &master, &master)),
        self_signing_key: Some(cross_signing(user, "self_signing", &own, &master)),
        user_signing_key: Some(cross_signing(user, "user_signing", &others, &master)),
    }
}

fn keys_of(name: &str) -> (SigningKey, SigningKey, SigningKey) {
    (key_of(&format!("{name}_m")), key_of(&format!("{name}_s")), key_of(&format!("{name}_u")))
}

#[tokio::test]
async fn cross_signing_keys() {
    for db in plexus_testkit::databases() {
        let server = Server::new(&db);
        let alice = server.user("alice").await.user_id;
        let bob = server.user("bob").await.user_id;
        let (keys, cross_signing) = (&server.keys, &server.cross_signing);
        let upload = upload_of(&alice, "a");
        let state = |upload: CrossSigningUpload| async move {
            cross_signing.state(&user_id("@alice:example.org"), &upload, super::START).await.unwrap()
        };
        assert_eq!(state(upload.clone()).await, CrossSigningState::First);

        let no_master = CrossSigningUpload { master_key: None, ..upload.clone() };
        assert!(matches!(cross_signing.upload(&alice, no_master).await, Err(CrossSigningError::NoMasterKey)));
        let unsigned =
            CrossSigningUpload { self_signing_key: upload_of(&alice, "b").self_signing_key, ..upload.clone() };
        let refused = cross_signing.upload(&alice, unsigned).await;
        assert!(matches!(refused, Err(CrossSigningError::NotSigned("self_signing"))));
        let foreign = cross_signing.upload(&alice, upload_of(&bob, "b")).await;
        assert!(matches!(foreign, Err(CrossSigningError::Invalid { purpose: "master", .. })));

        cross_signing.upload(&alice, upload.clone()).await.unwrap();
        assert_eq!(state(upload.clone()).await, CrossSigningState::Unchanged);
        let other = upload_of(&alice, "c");
        assert_eq!(state(other.clone()).await, CrossSigningState::Replaces { allowed_without_auth: false });
        assert!(cross_signing.allow_reset(&alice, super::START + 1).await.unwrap());
        assert!(!cross_signing.allow_reset(&bob, super::START + 1).await.unwrap());
        assert_eq!(state(other).await, CrossSigningState::Replaces { allowed_without_auth: true });

        let wanted = || BTreeMap::from([(alice.clone(), Vec::new()), (user_id("@a:elsewhere"), Vec::new())]);
        let own = keys.query(alice.as_str(), wanted()).await.unwrap();
        assert_eq!(own.master_keys.get(&alice), upload.master_key.as_ref());
        assert_eq!(own.user_signing_keys.get(&alice), upload.user_signing_key.as_ref());
        let others = keys.query(bob.as_str(), wanted()).await.unwrap();
        assert_eq!(others.self_signing_keys.get(&alice), upload.self_signing_key.as_ref());
        assert!(others.user_signing_keys.is_empty());
        assert_eq!(others.device_keys.keys().collect::<Vec<_>>(), [&alice]);
    }
}

#[tokio::test]
async fn signatures_are_verified_and_shown_to_the_users_they_concern() {
    for db in plexus_testkit::databases() {
        let server = Server::new(&db);
        let alice_session = server.user("alice").await;
        let (alice, device) = (&alice_session.user_id, alice_session.device_id.as_str());
        let bob = &server.user("bob").await.user_id;
        let (keys, cross_signing) = (&server.keys, &server.cross_signing);
        let upload = KeyUpload { device_keys: Some(device_keys(alice, device)), ..KeyUpload::default() };
        keys.upload(alice, device, upload).await.unwrap();
        let (alice_keys, bob_keys) = (upload_of(alice, "a"), upload_of(bob, "b"));
        let signed_device = |key: &SigningKey| {
            let mut signed = device_keys(alice, device);
            sign(&mut signed, alice, &key.public_key_base64(), key);
            signed
        };
        let (alice_master, alice_own, _) = keys_of("a");
        let (bob_master, _, bob_others) = keys_of("b");
        let on_device = |signed: Object| BTreeMap::from([(alice.clone(), Object::from([(device, signed)]))]);
        let early = cross_signing.upload_signatures(alice, on_device(signed_device(&alice_own))).await.unwrap();
        assert_eq!(early[alice][device], SignatureFailure::NoSigningKey);
        cross_signing.upload(alice, alice_keys.clone()).await.unwrap();
        cross_signing.upload(bob, bob_keys.clone()).await.unwrap();

        let wrong = cross_signing.upload_signatures(alice, on_device(signed_device(&bob_master))).await.unwrap();
        assert_eq!(wrong[alice][device], SignatureFailure::Invalid);
        let mut other = signed_device(&alice_own);
        other.insert("algorithms", Vec::<&str>::new());
        let differs = cross_signing.upload_signatures(alice, on_device(other)).await.unwrap();
        assert_eq!(differs[alice][device], SignatureFailure::Differs);
        let unknown = BTreeMap::from([(alice.clone(), Object::from([("NOPE", Object::new())]))]);
        assert_eq!(
            cross_signing.upload_signatures(alice, unknown).await.unwrap()[alice]["NOPE"],
            SignatureFailure::NotFound
        );
        assert!(cross_signing.upload_signatures(alice, on_device(signed_device(&alice_own))).await.unwrap().is_empty());

        // The master key signed by the device, and by the other user's user-signing key.
        let master_id = alice_master.public_key_base64();
        let mut by_device = alice_keys.master_key.clone().unwrap();
        sign(&mut by_device, alice, device, &key_of(device));
        let on_master = |signed| BTreeMap::from([(alice.clone(), Object::from([(master_id.as_str(), signed)]))]);
        assert!(cross_signing.upload_signatures(alice, on_master(by_device)).await.unwrap().is_empty());
        let mut by_bob = alice_keys.master_key.clone().unwrap();
        sign(&mut by_bob, bob, &bob_others.public_key_base64(), &bob_others);
        assert!(cross_signing.upload_signatures(bob, on_master(by_bob)).await.unwrap().is_empty());

        let wanted = || BTreeMap::from([(alice.clone(), Vec::new())]);
        let signers = |object: &Object| {
            let signatures = object.get_object("signatures").unwrap();
            signatures.iter().map(|(user, of)| (user.to_owned(), of.as_object().unwrap().len())).collect::<Vec<_>>()
        };
        let seen_by_alice = keys.query(alice.as_str(), wanted()).await.unwrap();
        assert_eq!(signers(&seen_by_alice.master_keys[alice]), [(alice.to_string(), 2)]);
        assert_eq!(signers(&seen_by_alice.device_keys[alice][device]), [(alice.to_string(), 1)]);
        let seen_by_bob = keys.query(bob.as_str(), wanted()).await.unwrap();
        assert_eq!(signers(&seen_by_bob.master_keys[alice]), [(alice.to_string(), 2), (bob.to_string(), 1)]);
        let signed = server.db.read::<_, DbError, _>(|tx| device_lists::signed_by(tx, "@bob:example.org", 0, i64::MAX));
        assert_eq!(signed.await.unwrap(), ["@alice:example.org"]);
    }
}
