//! The vault in memory: for tests. A memory store that shares it checks the keys of its appends here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::ids::CompanyId;
use domain::personal::Subject;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{KeyState, KeyVault, SubjectKey, VaultError};
use crate::envelope::StreamId;

/// Clones share their keys.
#[derive(Clone, Debug, Default)]
pub struct MemoryVault(Arc<Mutex<Keys>>);

/// What the vault holds; whoever has this has the order's lock for keys.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_subject: HashMap<(CompanyId, Subject), Uuid>,
    by_id: HashMap<Uuid, KeyState>,
    streams: HashMap<Uuid, BTreeSet<StreamId>>,
}

impl MemoryVault {
    /// A vault without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds up forgetting for as long as the guard lives.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// Whether every one of these keys can still open what it sealed.
    pub(crate) fn all_alive(&self, ids: &[Uuid]) -> bool {
        ids.iter().all(|id| matches!(self.by_id.get(id), Some(KeyState::Alive(_))))
    }

    /// Remembers that the stream holds what these keys sealed.
    pub(crate) fn note(&mut self, ids: &[Uuid], stream: &StreamId) {
        for id in ids {
            self.streams.entry(*id).or_default().insert(stream.clone());
        }
    }
}

#[async_trait]
impl KeyVault for MemoryVault {
    async fn key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError> {
        let mut keys = self.lock();
        let id = *keys.by_subject.entry((company, subject)).or_insert_with(super::new_key_id);
        let fresh = || {
            let key = Zeroizing::new(rand::random());
            KeyState::Alive(Arc::new(SubjectKey { id, subject, key }))
        };
        match keys.by_id.entry(id).or_insert_with(fresh) {
            KeyState::Alive(key) => Ok(Arc::clone(key)),
            KeyState::Forgotten(_) => Err(VaultError::SubjectErased),
        }
    }

    async fn keys(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KeyState>, VaultError> {
        let keys = self.lock();
        Ok(ids.iter().filter_map(|id| Some((*id, keys.by_id.get(id)?.clone()))).collect())
    }

    async fn is_erased(&self, company: CompanyId, subject: Subject) -> Result<bool, VaultError> {
        let keys = self.lock();
        let state = keys.by_subject.get(&(company, subject)).and_then(|id| keys.by_id.get(id));
        Ok(matches!(state, Some(KeyState::Forgotten(_))))
    }

    async fn forget(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Vec<StreamId>, VaultError> {
        let mut keys = self.lock();
        let id = *keys.by_subject.entry((company, subject)).or_insert_with(super::new_key_id);
        keys.by_id.insert(id, KeyState::Forgotten(subject));
        Ok(keys.streams.get(&id).into_iter().flatten().cloned().collect())
    }
}
