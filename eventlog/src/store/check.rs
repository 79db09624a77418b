//! What must hold of an append before any store looks at it.

use std::collections::HashSet;

use super::{Append, AppendError};
use crate::envelope::{MAX_PAYLOAD_BYTES, Version};

/// One append is sent as one message, so its payloads together are bounded as well.
const MAX_APPEND_BYTES: usize = 64 * 1024 * 1024;

/// Refuses what no store could keep: every store says the same about it, and none is asked.
pub(super) fn check(append: &Append) -> Result<(), AppendError> {
    let malformed = |why| Err(AppendError::Malformed(why));
    if append.events.is_empty() {
        return malformed("there are no events");
    }
    if append.events.iter().any(|event| event.payload.len() > MAX_PAYLOAD_BYTES) {
        return Err(AppendError::TooLarge);
    }
    if append.events.iter().map(|event| event.payload.len()).sum::<usize>() > MAX_APPEND_BYTES {
        return malformed("the events are too much for one append");
    }
    if !is_stored_version(append.expected)
        || append.guards.iter().any(|guard| !is_stored_version(guard.version))
    {
        return malformed("a version is out of range");
    }
    if append.events.iter().any(|event| i16::try_from(event.schema_version).is_err()) {
        return malformed("a schema version is out of range");
    }
    let mut kinds = HashSet::new();
    if !append.claims.iter().all(|claim| kinds.insert(claim.kind)) {
        return malformed("a kind of claim changes twice");
    }
    let texts = [append.stream.aggregate.as_ref(), &append.cause.actor]
        .into_iter()
        .chain(append.cause.trace_parent.as_deref())
        .chain(append.events.iter().map(|event| event.name.as_ref()))
        .chain(append.guards.iter().map(|guard| guard.stream.aggregate.as_ref()))
        .chain(append.claims.iter().map(|claim| claim.kind));
    if texts.into_iter().any(|text| text.contains('\0')) {
        return malformed("a text has a zero byte in it");
    }
    Ok(())
}

fn is_stored_version(version: Version) -> bool {
    i64::try_from(version.0).is_ok_and(|version| version < i64::MAX / 2)
}
