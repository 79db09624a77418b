//! Wraps short secrets with the master key: AES-256-GCM, bound to what the secret is for.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use domain::ids::CompanyId;
use domain::personal::Subject;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{MasterKey, VaultError};

/// First byte of a wrapped secret, so that another way of wrapping can stand beside this one.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;

/// What a subject's key is bound to: it opens for no other key id, company or subject.
pub(super) fn subject_key_context(id: Uuid, company: CompanyId, subject: Subject) -> Vec<u8> {
    let mut context = b"subject-key\0".to_vec();
    context.extend(id.as_bytes());
    context.extend(company.0.as_bytes());
    context.extend(subject.id().as_bytes());
    context.extend(subject.kind().as_bytes());
    context
}

/// The wrapped form: format, nonce, ciphertext, tag.
pub(super) fn wrap(
    master: &MasterKey,
    context: &[u8],
    secret: &[u8; 32],
) -> Result<Vec<u8>, VaultError> {
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let sealed = cipher(master)
        .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: context })
        .map_err(|_| VaultError::Unreadable)?;
    let mut wrapped = vec![FORMAT];
    wrapped.extend(nonce);
    wrapped.extend(sealed);
    Ok(wrapped)
}

/// The secret again, if master key and context are those it was wrapped with.
pub(super) fn unwrap(
    master: &MasterKey,
    context: &[u8],
    wrapped: &[u8],
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let (&FORMAT, rest) = wrapped.split_first().ok_or(VaultError::Unreadable)? else {
        return Err(VaultError::Unreadable);
    };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Unreadable)?;
    let secret = cipher(master)
        .decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: context })
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Unreadable)?;
    let secret: [u8; 32] = secret.as_slice().try_into().map_err(|_| VaultError::Unreadable)?;
    Ok(Zeroizing::new(secret))
}

fn cipher(master: &MasterKey) -> Aes256Gcm {
    Aes256Gcm::new(&(*master.0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_secret_opens_only_for_what_it_was_wrapped_for() {
        let (master, secret) = (MasterKey::new([1; 32]), [7; 32]);
        let wrapped = wrap(&master, b"here", &secret).expect("wraps");
        assert_eq!(*unwrap(&master, b"here", &wrapped).expect("opens"), secret);
        assert_eq!(unwrap(&master, b"there", &wrapped), Err(VaultError::Unreadable));
        let other = MasterKey::new([2; 32]);
        assert_eq!(unwrap(&other, b"here", &wrapped), Err(VaultError::Unreadable));
        for n_bytes in 0..wrapped.len() {
            let cut = unwrap(&master, b"here", &wrapped[..n_bytes]);
            assert_eq!(cut, Err(VaultError::Unreadable));
        }
    }
}
