//! Ids whose first 48 bits are a time: version 7 where they are new, version 8 where they derive
//! from a command, so that a repeated command makes the same ones.

use domain::caller::Caller;
use eventlog::clock::Clock;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The `ordinal`-th id of a kind that a command makes. A kind within a record names the record too,
/// because one command id may be used on several: the command id's first 48 bits, then bits of
/// SHA-256 over company, actor, command id, kind and ordinal.
#[must_use]
pub fn derive_id(caller: &Caller, command_id: Uuid, kind: &str, ordinal: u32) -> Uuid {
    let mut hasher = Sha256::new();
    let actor = caller.actor.to_string();
    let ordinal = ordinal.to_be_bytes();
    let fields: [&[u8]; 5] = [
        caller.company.0.as_bytes(),
        actor.as_bytes(),
        command_id.as_bytes(),
        kind.as_bytes(),
        &ordinal,
    ];
    for field in fields {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    let hash = hasher.finalize();
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&command_id.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&hash[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A new id, of version 7.
#[must_use]
pub fn new_id(clock: &dyn Clock) -> Uuid {
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::ids::CompanyId;

    #[test]
    fn a_derived_id_is_of_version_8_and_the_same_for_the_same_command() {
        let caller = Caller::system(CompanyId(Uuid::from_u128(1)), "clock");
        let command = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001);
        let id = derive_id(&caller, command, "job", 0);
        assert_eq!(id, derive_id(&caller, command, "job", 0));
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id.as_bytes()[..6], command.as_bytes()[..6]);
        assert_ne!(id, derive_id(&caller, command, "job", 1));
        let other = Caller::system(CompanyId(Uuid::from_u128(2)), "clock");
        assert_ne!(id, derive_id(&other, command, "job", 0));
    }
}
