//! KeyVault port: a key per person; forgetting the key erases the person.

#[cfg(feature = "eventstoredb")]
pub mod gate;
pub mod memory;
pub mod postgres;
pub mod rekey;
pub mod scram;
pub mod secrets;
mod wrap;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::ids::CompanyId;
use domain::personal::Subject;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::envelope::StreamId;

/// The key that wraps all others. It comes from the server's settings and is never stored.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// The master key with these bytes, which should be random.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The key that seals what belongs to one subject in one company.
pub struct SubjectKey {
    /// Stands beside what it sealed.
    pub id: Uuid,
    /// Whose key it is.
    pub subject: Subject,
    /// The key for AES-256-GCM.
    pub key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(…)")
    }
}

/// What has become of a key.
#[derive(Clone, Debug)]
pub enum KeyState {
    /// It opens what it sealed.
    Alive(Arc<SubjectKey>),
    /// It is gone for good, and with it what it sealed.
    Forgotten(Subject),
}

/// Why the vault gave no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The subject was forgotten; it never gets a key again.
    #[error("the data's subject was erased")]
    SubjectErased,
    /// The vault cannot be reached; trying again is right.
    #[error("the key vault cannot be reached")]
    Unavailable,
    /// A stored key does not open: the master key is another one, or the vault is damaged.
    #[error("a stored key does not open with the master key")]
    Unreadable,
}

/// Keeps the subjects' keys, and knows which streams hold whose data.
#[async_trait]
pub trait KeyVault: Send + Sync {
    /// The subject's key, made if there is none yet. A new one is durable no later than the first
    /// append that names it; see [`KeyVault::doubt`] for one that was lost before. What else is sealed
    /// with it needs [`KeyVault::durable_key_for`].
    ///
    /// # Errors
    /// [`VaultError::SubjectErased`] when the subject was forgotten, else see [`VaultError`].
    async fn key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError>;

    /// The subject's key, durable by now.
    ///
    /// # Errors
    /// See [`KeyVault::key_for`].
    async fn durable_key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError> {
        self.key_for(company, subject).await
    }

    /// An append that named these keys was refused, for one of them is forgotten, or was lost with its
    /// server before it was durable: they are no longer known without asking.
    fn doubt(&self, _ids: &[Uuid]) {}

    /// The keys with these ids. Ids which the vault never gave out are absent from the answer.
    ///
    /// # Errors
    /// See [`VaultError`].
    async fn keys(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KeyState>, VaultError>;

    /// Whether the subject was forgotten. Always asked of the vault itself, never of a cache.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`].
    async fn is_erased(&self, company: CompanyId, subject: Subject) -> Result<bool, VaultError>;

    /// Forgets the subject for good and answers the streams that hold its data, in order. Once this
    /// returns, no append that was sealed with the key can commit. Doing it again is harmless and
    /// answers the same streams. A subject without a key is barred from ever getting one.
    ///
    /// # Errors
    /// [`VaultError::Unavailable`]; doing it again is right.
    async fn forget(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Vec<StreamId>, VaultError>;
}

/// A new id for a key, ordered by time like all ids.
fn new_key_id() -> Uuid {
    let millis = SystemClock.now().timestamp_millis();
    let millis = u64::try_from(millis).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}
