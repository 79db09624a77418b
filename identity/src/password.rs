//! Passwords: rules, hashing with Argon2id (RFC 9106), verification; also of hashes by bcrypt, which
//! an import brings (SEC-05).

use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use domain::values::Invalid;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::IdentityError;

/// What stands in for the hash of an account that does not exist, so that both take the same time.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObGKmF4HTR0Jco";

/// What stands where an account has no password: no hash, so that nothing fits.
pub const NONE: &str = "";

/// A hash takes 19 MiB and a core for a while, so that strangers could ask for more of both than there
/// is. The rest waits its turn.
static AT_ONCE: Semaphore = Semaphore::const_new(4);
/// Nobody waits longer for a turn, so that those who wait are never many.
const PATIENCE: Duration = Duration::from_secs(5);

/// A turn at hashing.
pub(crate) struct Turn {
    _permit: SemaphorePermit<'static>,
}

/// Waits for a turn at hashing.
///
/// # Errors
/// [`IdentityError::Unavailable`] while too many others wait.
pub(crate) async fn turn() -> Result<Turn, IdentityError> {
    let turn = tokio::time::timeout(PATIENCE, AT_ONCE.acquire()).await;
    let permit = turn.ok().and_then(Result::ok).ok_or(IdentityError::Unavailable)?;
    Ok(Turn { _permit: permit })
}

/// A password that meets the rules: 10 to 128 characters, among them an upper-case letter, a digit and
/// a character that is neither letter nor digit (SEC-06).
///
/// # Errors
/// [`Invalid`] says which rule it breaks, never the password.
pub fn check_rules(password: &SecretString) -> Result<(), Invalid> {
    let text = password.expose_secret();
    let wrong = |why: &str| Err(Invalid { field: "password", why: why.to_owned() });
    if !(10..=128).contains(&text.chars().count()) {
        return wrong("must have 10 to 128 characters");
    }
    let has = |kind: fn(char) -> bool| text.chars().any(kind);
    if !(has(char::is_uppercase) && has(char::is_numeric) && has(|c| !c.is_alphanumeric())) {
        return wrong("must have an upper-case letter, a digit, and a character that is neither");
    }
    Ok(())
}

/// The PHC string of a password.
///
/// # Errors
/// [`IdentityError::Unavailable`] when the hash could not be made.
pub async fn hash(password: SecretString) -> Result<String, IdentityError> {
    let _turn = turn().await?;
    tokio::task::spawn_blocking(move || {
        Argon2::default().hash_password(password.expose_secret().as_bytes()).map(|h| h.to_string())
    })
    .await
    .ok()
    .and_then(Result::ok)
    .ok_or(IdentityError::Unavailable)
}

/// Whether the password is the one of the PHC string; without one it takes as long and says no.
pub(crate) async fn verify(_turn: Turn, password: SecretString, stored: Option<String>) -> bool {
    let stored = stored.filter(|stored| stored != NONE);
    let known = stored.is_some();
    let stored = stored.unwrap_or_else(|| NOBODY.to_owned());
    let fits = tokio::task::spawn_blocking(move || {
        let password = password.expose_secret().as_bytes();
        if is_bcrypt(&stored) {
            return bcrypt::verify(password, &stored).unwrap_or(false);
        }
        PasswordHash::new(&stored)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    });
    fits.await.unwrap_or(false) && known
}

/// Whether a stored hash is to be made anew as soon as the password is known.
pub fn is_outdated(stored: &str) -> bool {
    is_bcrypt(stored)
}

/// Whether a hash is one that an import may bring: bcrypt of cost 10 to 14, or ours.
pub fn is_importable(stored: &str) -> bool {
    let cost = stored.get(4..6).and_then(|cost| cost.parse::<u32>().ok());
    match is_bcrypt(stored) {
        true => stored.len() == 60 && cost.is_some_and(|cost| (10..=14).contains(&cost)),
        false => PasswordHash::new(stored).is_ok() && stored.starts_with("$argon2id$"),
    }
}

fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|start| stored.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hashed = hash("Correct horse 1".into()).await.expect("hashed");
        assert!(hashed.starts_with("$argon2id$"));
        assert!(
            verify(turn().await.expect("a turn"), "Correct horse 1".into(), Some(hashed.clone()))
                .await
        );
        assert!(
            !verify(turn().await.expect("a turn"), "Correct horse 2".into(), Some(hashed)).await
        );
        assert!(!verify(turn().await.expect("a turn"), "Correct horse 1".into(), None).await);
    }

    #[tokio::test]
    async fn a_hash_by_bcrypt_fits_and_is_outdated() {
        let hashed = bcrypt::hash("Correct horse 1", 10).expect("hashed");
        assert!(is_importable(&hashed) && is_outdated(&hashed));
        assert!(
            verify(turn().await.expect("a turn"), "Correct horse 1".into(), Some(hashed.clone()))
                .await
        );
        assert!(
            !verify(turn().await.expect("a turn"), "Correct horse 2".into(), Some(hashed)).await
        );
        for hash in
            ["", "$2b$31$", "plain text", "$2b$99$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            assert!(!is_importable(hash), "{hash}");
        }
    }

    #[test]
    fn what_stands_in_for_nobody_is_a_real_hash() {
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[test]
    fn a_weak_password_is_refused() {
        for weak in ["Short 1", "no upper case 1", "No digit in it", "Only2Letters4And6Digits"] {
            assert!(check_rules(&weak.into()).is_err(), "{weak}");
        }
    }
}
