use plexus_base::Random;

use super::{HashError, PasswordHasher, Policy, Verdict, WeakPassword};

fn hasher(pepper: &str) -> PasswordHasher {
    PasswordHasher::new(pepper, Random::seeded(1))
}

#[tokio::test]
async fn new_hashes_are_argon2id_with_the_pepper() {
    let stored = hasher("salt and").hash("correct horse").await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_eq!(hasher("salt and").verify("correct horse", Some(&stored), None).await.unwrap(), Verdict::Right);
    assert_eq!(hasher("salt and").verify("correct horsf", Some(&stored), None).await.unwrap(), Verdict::Wrong);
    assert_eq!(hasher("").verify("correct horse", Some(&stored), None).await.unwrap(), Verdict::Wrong);
}

#[tokio::test]
async fn a_crowd_takes_the_memory_of_one_hash_per_core() {
    let hasher = hasher("");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert_eq!(hasher.running.available_permits(), cores);
    let mut hash = std::pin::pin!(hasher.hash("correct horse"));
    tokio::select! {
        biased;
        _ = &mut hash => panic!("hashed at once"),
        () = std::future::ready(()) => assert_eq!(hasher.running.available_permits(), cores - 1),
    }
    hash.await.unwrap();
    assert_eq!(hasher.running.available_permits(), cores);
    hasher.running.close();
    assert!(matches!(hasher.verify("correct horse", Some("$argon2id$"), None).await, Err(HashError::Closed(_))));
}

#[tokio::test]
async fn bcrypt_is_accepted_and_upgraded() {
    let stored = bcrypt::hash("påss\u{2460}word+pepper".replace('\u{2460}', "1"), 4).unwrap();
    // A circled one is a one after NFKC.
    let verdict = hasher("+pepper").verify("påss\u{2460}word", Some(&stored), None).await.unwrap();
    let Verdict::RightUpgrade(new) = verdict else { panic!("{verdict:?}") };
    assert_eq!(hasher("+pepper").verify("påss1word", Some(&new), None).await.unwrap(), Verdict::Right);
    assert_eq!(hasher("+pepper").verify("other", Some(&stored), None).await.unwrap(), Verdict::Wrong);
}

#[tokio::test]
async fn weaker_argon2_is_upgraded_and_nonsense_matches_nothing() {
    use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, Version};
    let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
    let stored: PasswordHash = weak.hash_password_with_salt(b"x", b"0123456789abcdef").unwrap();
    let verdict = hasher("").verify("x", Some(&stored.to_string()), None).await.unwrap();
    assert!(matches!(verdict, Verdict::RightUpgrade(_)), "{verdict:?}");
    for nonsense in ["plain", "", "$argon2id$nonsense", "$2b$12$short", "$2b$99$", "$2"] {
        assert_eq!(hasher("").verify("x", Some(nonsense), None).await.unwrap(), Verdict::UnknownFormat, "{nonsense}");
    }
}

#[tokio::test]
async fn a_wrong_password_takes_the_same_work_whatever_is_stored() {
    let hasher = hasher("pepper");
    let argon2 = hasher.hash("right").await.unwrap();
    let [cheap, dear] = [4, 6].map(|cost| bcrypt::hash("rightpepper", cost).unwrap());
    let all = [None, Some(argon2.as_str()), Some(&cheap), Some(&dear), Some("nonsense"), Some("$2b$06$nonsense")];
    for (bcrypt_cost, rounds) in [(Some(6), 1 << 6), (Some(7), 1 << 7)] {
        for (password, stored) in all.iter().flat_map(|stored| [("wrong", stored), ("with\0nul", stored)]) {
            let before = hasher.work();
            let expected = if stored.is_some_and(|stored| stored.contains("nonsense")) {
                Verdict::UnknownFormat
            } else {
                Verdict::Wrong
            };
            assert_eq!(hasher.verify(password, *stored, bcrypt_cost).await.unwrap(), expected);
            let after = hasher.work();
            let work = (after.argon2 - before.argon2, after.bcrypt_rounds - before.bcrypt_rounds);
            assert_eq!(work, (1, rounds), "{password:?} {stored:?}");
        }
    }
    // Where no account was imported, and where the password is right, nothing is computed in addition.
    let before = hasher.work();
    hasher.verify("wrong", None, None).await.unwrap();
    assert_eq!(hasher.verify("right", Some(&argon2), Some(7)).await.unwrap(), Verdict::Right);
    let after = hasher.work();
    assert_eq!((after.argon2 - before.argon2, after.bcrypt_rounds - before.bcrypt_rounds), (2, 0));
}

#[test]
fn policy() {
    let mut policy = Policy { minimum_length: 5, require_digit: true, ..Policy::default() };
    assert_eq!(policy.check("a"), Ok(()));
    policy.enabled = true;
    assert_eq!(policy.check("äöü1"), Err(WeakPassword::TooShort { minimum: 5 }));
    assert_eq!(policy.check("abcdef"), Err(WeakPassword::NoDigit));
    assert_eq!(policy.check("abcde1"), Ok(()));
    policy.require_symbol = true;
    policy.require_uppercase = true;
    policy.require_lowercase = true;
    assert_eq!(policy.check("abcde1"), Err(WeakPassword::NoSymbol));
    assert_eq!(policy.check("abcde1!"), Err(WeakPassword::NoUppercase));
    assert_eq!(policy.check("ABCDE1!"), Err(WeakPassword::NoLowercase));
    assert_eq!(policy.check("Abcde1!"), Ok(()));
    assert_eq!(policy.check(""), Err(WeakPassword::Unusable));
    assert_eq!(policy.check(&"x".repeat(513)), Err(WeakPassword::Unusable));
}
