//! Uniqueness across streams, on a server that knows none: each key has a stream of its own, in which
//! who wants it reserves it under the server's version check, and the owner's own history decides what
//! a reservation is worth.
//!
//! A reservation says "the stream `owner`, which stands at `version`, is about to take this key". It is
//! good while the last change that the owner's events made to that kind of claim takes this key. So
//! giving up and replacing need no second write, and a reservation whose append never came is worthless
//! as soon as its owner has moved on. While the owner has not, it may still come: others wait for it,
//! up to their own deadline, and once [`LEASE`] is over they take the key.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::client::{Proposed, WriteFault};
use super::record::{Change, Record};
use super::{Attempt, Inner};
use crate::envelope::StreamId;
use crate::store::{AppendError, ClaimChange, ReadError};

/// How long a reservation whose append has not come yet is left alone, by the server's time of making
/// it and the asking process's clock. Many times longer than a writer may take between the two.
const LEASE: TimeDelta = TimeDelta::seconds(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const PAGE: usize = 200;
const TAKEN: &str = "claim.taken";
const GIVEN_UP: &str = "claim.given_up";

/// A key that an append takes.
pub(super) struct Claimed {
    kind: &'static str,
    change: Change,
}

impl Claimed {
    fn new(claim: &ClaimChange) -> Option<Self> {
        claim.key.as_ref()?;
        Some(Self { kind: claim.kind, change: Change::new(claim) })
    }

    /// What tells this key from all others, in hexadecimal digits.
    pub(super) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let Change { kind, scope, key } = &self.change;
        for field in [kind.as_bytes(), scope.as_bytes(), key.as_deref().unwrap_or("").as_bytes()] {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The content of a reservation.
#[derive(Serialize, Deserialize)]
struct Reservation {
    owner: String,
    version: u64,
}

/// What a key's stream says at present, with the number of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Free(u64),
    /// Held for sure, by our stream or another.
    Held {
        by_us: bool,
    },
    /// Reserved for an append that may still come, of our stream or another.
    Pending {
        by_us: bool,
        n_events: u64,
    },
}

/// The reservations that one append has made.
#[derive(Default)]
pub(super) struct Reserved(Vec<(String, u64)>);

impl Inner {
    /// Reserves every key that the append takes.
    pub(super) async fn reserve(&self, attempt: &Attempt<'_>) -> Result<Reserved, AppendError> {
        let mut wanted: Vec<(String, Claimed)> = attempt
            .append
            .claims
            .iter()
            .filter_map(Claimed::new)
            .map(|claim| (self.names.of_claim(&claim), claim))
            .collect();
        if wanted.len() > 1 {
            // So that the first that is taken is named, whatever the order of reserving.
            for (name, claim) in &wanted {
                self.settled(name, claim, attempt).await?;
            }
        }
        // In one order for all, so that no two wait for each other.
        wanted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut reserved = Reserved::default();
        for (name, claim) in &wanted {
            match self.reserve_one(name, claim, attempt).await {
                Ok(n_events) => reserved.0.extend(n_events.map(|n| (name.clone(), n))),
                Err(refused) => {
                    self.give_up(attempt, reserved).await;
                    return Err(refused);
                }
            }
        }
        Ok(reserved)
    }

    /// The number of events of the key's stream once it is reserved for this append, `None` if there
    /// is nothing that this append may give up: it was held already, or another append of the same
    /// stream has reserved it too and may still come.
    async fn reserve_one(
        &self,
        name: &str,
        claim: &Claimed,
        attempt: &Attempt<'_>,
    ) -> Result<Option<u64>, AppendError> {
        loop {
            let (n_events, is_ours_alone) = match self.settled(name, claim, attempt).await? {
                Standing::Held { .. } => return Ok(None),
                Standing::Free(n_events) => (n_events, true),
                Standing::Pending { n_events, .. } => (n_events, false),
            };
            let note = note(TAKEN, attempt, name, n_events);
            match self.client.append(name, Some(n_events), &[note]).await {
                Ok(()) => return Ok(is_ours_alone.then_some(n_events + 1)),
                Err(WriteFault::Refused) => return Err(AppendError::Unavailable),
                // Somebody was faster, or it is our own that was unclear: the next look tells.
                Err(WriteFault::Elsewhere(_)) => {}
                Err(WriteFault::NotWritten | WriteFault::Unclear) => sleep(BETWEEN_LOOKS).await,
            }
            if Instant::now() > attempt.give_up_at {
                return Err(AppendError::Unavailable);
            }
        }
    }

    /// How the key stands once nobody else's append may still come.
    async fn settled(
        &self,
        name: &str,
        claim: &Claimed,
        attempt: &Attempt<'_>,
    ) -> Result<Standing, AppendError> {
        loop {
            let standing = self.standing(name, claim, attempt).await;
            match standing.map_err(|_| AppendError::Unavailable)? {
                Standing::Held { by_us: false } => {
                    return Err(AppendError::Claimed { kind: claim.kind });
                }
                Standing::Pending { by_us: false, .. } => {}
                settled => return Ok(settled),
            }
            if Instant::now() > attempt.give_up_at {
                return Err(AppendError::Unavailable);
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The stream whose events hold a key now. A reservation alone holds nothing.
    pub(super) async fn holder(&self, of: &ClaimChange) -> Result<Option<StreamId>, ReadError> {
        let Some(claim) = Claimed::new(of) else { return Ok(None) };
        let last = self.client.last_of(&self.names.of_claim(&claim)).await?;
        let Some(last) = last.filter(|last| last.name == TAKEN) else { return Ok(None) };
        let Ok(reservation) = serde_json::from_slice::<Reservation>(&last.data) else {
            return Ok(None);
        };
        let is_held = self.holds(&reservation, &claim).await? == Some(true);
        Ok(self.names.stream(&reservation.owner).filter(|_| is_held))
    }

    async fn standing(
        &self,
        name: &str,
        claim: &Claimed,
        attempt: &Attempt<'_>,
    ) -> Result<Standing, ReadError> {
        let Some(last) = self.client.last_of(name).await? else {
            return Ok(Standing::Free(0));
        };
        let n_events = last.revision + 1;
        let reservation = serde_json::from_slice::<Reservation>(&last.data);
        let (TAKEN, Ok(reservation)) = (last.name.as_str(), reservation) else {
            return Ok(Standing::Free(n_events));
        };
        let by_us = reservation.owner == attempt.name;
        Ok(match self.holds(&reservation, claim).await? {
            Some(true) => Standing::Held { by_us },
            Some(false) => Standing::Free(n_events),
            None if self.clock.now() - last.created > LEASE => Standing::Free(n_events),
            None => Standing::Pending { by_us, n_events },
        })
    }

    /// Whether the owner's events hold the key; `None` if it has none behind the reservation.
    async fn holds(
        &self,
        reservation: &Reservation,
        claim: &Claimed,
    ) -> Result<Option<bool>, ReadError> {
        let (mut from, mut holds) = (reservation.version, None);
        loop {
            let page = self.client.read_stream(&reservation.owner, from, PAGE).await?;
            for record in page.iter().filter_map(Record::of) {
                let mut of_kind = record.claims.iter().filter(|change| change.kind == claim.kind);
                match of_kind.next_back() {
                    Some(change) => holds = Some(*change == claim.change),
                    None => holds = holds.or(Some(false)),
                }
            }
            from += page.len() as u64;
            if page.len() < PAGE {
                return Ok(holds);
            }
        }
    }

    /// Gives up reservations for an append that will not come, as far as the server can be reached:
    /// what stays is worthless once the owner moves on, else after [`LEASE`].
    pub(super) async fn give_up(&self, attempt: &Attempt<'_>, reserved: Reserved) {
        for (name, n_events) in reserved.0 {
            let note = note(GIVEN_UP, attempt, &name, n_events);
            if self.client.append(&name, Some(n_events), &[note]).await.is_err() {
                tracing::debug!(stream = %attempt.append.stream, "a reservation is left to lapse");
            }
        }
    }
}

/// An event of a key's stream. Its id derives from what it says, so that sending it again is harmless.
fn note(kind: &str, attempt: &Attempt<'_>, name: &str, n_events: u64) -> Proposed {
    let mut hasher = Sha256::new();
    for part in [kind.as_bytes(), name.as_bytes(), attempt.id.as_bytes(), &n_events.to_be_bytes()] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize()[..16]);
    let content = Reservation { owner: attempt.name.clone(), version: attempt.append.expected.0 };
    Proposed {
        id: uuid::Builder::from_custom_bytes(id).into_uuid(),
        name: kind.to_owned(),
        // A text and a number: writing them cannot fail.
        data: serde_json::to_vec(&content).unwrap_or_default().into(),
        metadata: Bytes::from_static(b"{}"),
    }
}
