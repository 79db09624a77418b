//! HMAC keys which are made once and kept wrapped: for claims, fingerprints and what is shown once.

use std::fmt;

use domain::ids::CompanyId;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::{PgConnection, PgPool};
use zeroize::Zeroizing;

use super::postgres::unavailable;
use super::{MasterKey, VaultError, wrap};

/// The keys. They are wrapped anew when the master key changes but never exchanged: stored claims
/// and fingerprints would no longer be recognised.
#[derive(Clone)]
pub struct Secrets {
    claims_hmac: Zeroizing<[u8; 32]>,
    fingerprint_hmac: Zeroizing<[u8; 32]>,
    shown_once_hmac: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// New keys that are kept nowhere: for tests and for a log in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { claims_hmac: random(), fingerprint_hmac: random(), shown_once_hmac: random() }
    }

    /// The key of a claim: the same for the same value of the same kind in the same scope, and
    /// telling nothing about the value.
    #[must_use]
    pub fn claim_key(&self, scope: CompanyId, kind: &str, value: &[u8]) -> Vec<u8> {
        let fields = [scope.0.as_bytes(), kind.as_bytes(), value];
        hmac(&self.claims_hmac, &fields).to_vec()
    }

    /// The fingerprint of these fields: tells a repeated input from another one.
    #[must_use]
    pub fn fingerprint(&self, fields: &[&[u8]]) -> Vec<u8> {
        hmac(&self.fingerprint_hmac, fields).to_vec()
    }

    /// A secret that can be made again from what it is for, such as a link that is shown once.
    #[must_use]
    pub fn shown_once(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        hmac(&self.shown_once_hmac, &[purpose.as_bytes(), bytes])
    }
}

/// The stored keys, made first if there are none; the same for every process.
///
/// # Errors
/// [`VaultError::Unavailable`] when the database cannot be reached,
/// [`VaultError::Unreadable`] when they were wrapped with another master key.
pub async fn load_or_create(pool: &PgPool, master: &MasterKey) -> Result<Secrets, VaultError> {
    let mut connection = pool.acquire().await.map_err(unavailable)?;
    Ok(Secrets {
        claims_hmac: named(&mut connection, master, "claims_hmac").await?,
        fingerprint_hmac: named(&mut connection, master, "fingerprint_hmac").await?,
        shown_once_hmac: named(&mut connection, master, "shown_once_hmac").await?,
    })
}

/// The stored secret of this name, made first if there is none; the same for every process.
///
/// # Errors
/// See [`load_or_create`].
pub(crate) async fn named(
    connection: &mut PgConnection,
    master: &MasterKey,
    name: &str,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let context = context(name);
    let fresh = wrap::wrap(master, &context, &random())?;
    // Whoever comes first wins: all others read what that one has written.
    sqlx::query("insert into vault.secret (name, wrapped) values ($1, $2) on conflict do nothing")
        .bind(name)
        .bind(fresh)
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    let stored: Vec<u8> = sqlx::query_scalar("select wrapped from vault.secret where name = $1")
        .bind(name)
        .fetch_one(connection)
        .await
        .map_err(unavailable)?;
    wrap::unwrap(master, &context, &stored)
}

/// What a secret's wrapping is bound to.
pub(super) fn context(name: &str) -> Vec<u8> {
    [b"secret\0", name.as_bytes()].concat()
}

fn random() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(rand::random())
}

/// HMAC-SHA256 over the fields, each preceded by its length, so that no two lists look the same.
fn hmac(key: &[u8; 32], fields: &[&[u8]]) -> [u8; 32] {
    // A key shorter than the hash's block is filled up with zeros, as HMAC itself defines it.
    let mut block = Zeroizing::new([0; 64]);
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    for field in fields {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_key_depends_on_scope_kind_and_value_alone() {
        let secrets = Secrets::in_memory();
        let key = |kind, value: &[u8]| secrets.claim_key(CompanyId::NONE, kind, value);
        assert_eq!(key("email", b"a@b"), key("email", b"a@b"));
        assert_ne!(key("email", b"a@b"), key("email", b"a@c"));
        assert_ne!(key("emaila", b"@b"), key("email", b"a@b"));
        let company = CompanyId(uuid::Uuid::from_u128(1));
        assert_ne!(secrets.claim_key(company, "email", b"a@b"), key("email", b"a@b"));
    }

    #[test]
    fn what_is_shown_once_can_be_made_again_only_with_the_same_keys() {
        let secrets = Secrets::in_memory();
        assert_eq!(secrets.shown_once("invitation", b"1"), secrets.shown_once("invitation", b"1"));
        let other = Secrets::in_memory();
        assert_ne!(secrets.shown_once("invitation", b"1"), other.shown_once("invitation", b"1"));
    }
}
