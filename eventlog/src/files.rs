//! Files about a person: sealed under the person's key, named by the hash of the sealed bytes.

use std::sync::Arc;

use domain::ids::CompanyId;
use domain::personal::Subject;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use crate::codec::{Codec, CodecError};
use crate::envelope::EventHash;
use crate::vault::VaultError;

/// Why a file was not stored or not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Its subject was forgotten.
    #[error("the file's subject was erased")]
    SubjectErased,
    /// There is no such file, or its bytes are not those of its name.
    #[error("there is no such file")]
    Missing,
    /// The object store or the vault cannot be reached.
    #[error("the object store cannot be reached")]
    Unavailable,
}

/// Keeps sealed files in an object store.
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    codec: Codec,
}

impl Files {
    /// Files in `store`, sealed by `codec`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, codec: Codec) -> Self {
        Self { store, codec }
    }

    /// Seals and stores a file; answers its name, the hash in hex.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn put(
        &self,
        company: CompanyId,
        subject: Subject,
        clear: &[u8],
    ) -> Result<String, FileError> {
        let sealed = self.codec.seal_bytes(company, subject, &context(company), clear).await;
        let sealed = sealed.map_err(|error| refused(&error))?;
        let hash = EventHash(Sha256::digest(&sealed).into()).to_string();
        let put = self.store.put(&path(company, &hash), sealed.into()).await;
        put.map_err(|error| unavailable(&error))?;
        Ok(hash)
    }

    /// Takes a file away that nothing names; one that is not there is as good.
    ///
    /// # Errors
    /// [`FileError::Unavailable`].
    pub async fn remove(&self, company: CompanyId, hash: &str) -> Result<(), FileError> {
        match self.store.delete(&path(company, hash)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Reads and opens a file.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn get(&self, company: CompanyId, hash: &str) -> Result<Vec<u8>, FileError> {
        let found = match self.store.get(&path(company, hash)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(FileError::Missing),
            Err(error) => return Err(unavailable(&error)),
        };
        let sealed = found.bytes().await.map_err(|error| unavailable(&error))?;
        if EventHash(Sha256::digest(&sealed).into()).to_string() != hash {
            return Err(FileError::Missing);
        }
        let opened = self.codec.open_bytes(&context(company), &sealed).await;
        opened.map_err(|error| refused(&error))?.ok_or(FileError::SubjectErased)
    }
}

fn path(company: CompanyId, hash: &str) -> Path {
    Path::from_iter([company.0.to_string(), hash.to_owned()])
}

fn context(company: CompanyId) -> String {
    format!("file/{}", company.0)
}

fn refused(error: &CodecError) -> FileError {
    match error {
        CodecError::Vault(VaultError::SubjectErased) => FileError::SubjectErased,
        CodecError::Unsealable { .. } => FileError::Missing,
        _ => FileError::Unavailable,
    }
}

fn unavailable(error: &object_store::Error) -> FileError {
    tracing::warn!(%error, "the object store cannot be reached");
    FileError::Unavailable
}
