//! The bus as it is measured: a candidate is registered, then gets nine notes.
//!
//! Registering claims the e-mail address, makes the candidate's key and seals three fields; a note
//! seals one.

use async_trait::async_trait;
use commands::{Bus, Order, Receipt, derive_id, new_id};
use domain::caller::{Actor, Caller, Role};
use domain::candidate::{Candidate, Command, GivenProfile};
use domain::ids::{CandidateId, CompanyId, MemberId};
use eventlog::clock::SystemClock;
use uuid::Uuid;

use crate::system::System;

const NOTE: &str = "Explained how the failover was rehearsed before the migration, which faults were \
injected, and what the team changed in its runbook after the second rehearsal.";

/// A bus with the person who gives the orders.
pub struct BusSystem {
    name: &'static str,
    bus: Bus,
    caller: Caller,
}

impl BusSystem {
    /// A recruiter of a new company, at this bus.
    pub fn new(name: &'static str, bus: Bus) -> Self {
        let caller = Caller::new(CompanyId(new_id(&SystemClock)), Actor::Member(MemberId(new_id(&SystemClock))), vec![Role::Hr]);
        Self { name, bus, caller }
    }

    /// The `nth` command to an aggregate, from 0. Its id derives from the first order, as the API makes
    /// ids.
    ///
    /// # Errors
    /// It was not carried out.
    pub async fn give(&self, aggregate: Uuid, nth: u32) -> anyhow::Result<Receipt> {
        let command_id = if nth == 0 { aggregate } else { new_id(&SystemClock) };
        let aggregate = derive_id(&self.caller, aggregate, "candidate", 0);
        let command = if nth == 0 {
            let profile = GivenProfile {
                full_name: "Ada Byron Lovelace".to_owned(),
                email: format!("ada.{}@example.com", aggregate.simple()),
                phone: Some("+44 20 7946 0958".to_owned()),
                source: Some("referral".to_owned()),
            };
            Command::Register { candidate_id: CandidateId(aggregate), profile }
        } else {
            Command::AddNote { text: NOTE.to_owned() }
        };
        let order = Order::of_client(command_id, NOTE.as_bytes().to_vec());
        Ok(self.bus.execute::<Candidate>(&self.caller, aggregate, command, order).await?)
    }
}

#[async_trait]
impl System for BusSystem {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn command(&self, _: usize, aggregate: Uuid, nth: u32) -> anyhow::Result<()> {
        self.give(aggregate, nth).await.map(drop)
    }
}
