//! A company in memory, and two processes that work on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::DateTime;
use commands::{Bus, BusSettings, CommandError, Order, Receipt};
use domain::application::{self, Application};
use domain::caller::{Actor, Caller, Role};
use domain::candidate::{self, Candidate, GivenProfile};
use domain::ids::{AccountId, CandidateId, CompanyId, JobId, MemberId, QuestionId};
use domain::job::{self, Description, Difficulty, Dimension, Job, Question, QuestionType};
use domain::member::{self, Member};
use domain::personal::Subject;
use domain::values::Weight;
use eventlog::clock::ManualClock;
use eventlog::codec::Codec;
use eventlog::envelope::StreamId;
use eventlog::store::EventStore;
use eventlog::store::memory::MemoryStore;
use eventlog::vault::memory::MemoryVault;
use eventlog::vault::secrets::Secrets;
use eventlog::vault::{KeyState, KeyVault, SubjectKey, VaultError};
use uuid::Uuid;

/// Two buses on one log, each with a cache of its own, as two processes have.
pub struct World {
    pub one: Bus,
    pub other: Bus,
    pub store: Arc<MemoryStore>,
    pub vault: MemoryVault,
    pub secrets: Secrets,
    pub clock: Arc<ManualClock>,
    pub hr: Caller,
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn order(n: u128) -> Order {
    Order::of_client(id(0xc000 + n), n.to_be_bytes().to_vec())
}

pub fn member(company: CompanyId, n: u128, role: Role) -> Caller {
    Caller::new(company, Actor::Member(MemberId(id(n))), vec![role])
}

/// A vault whose server crashed: it still knows a key that the server no longer has.
struct KnowsLost {
    kept: MemoryVault,
    lost: MemoryVault,
    is_doubted: AtomicBool,
}

#[async_trait]
impl KeyVault for KnowsLost {
    async fn key_for(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Arc<SubjectKey>, VaultError> {
        match self.is_doubted.load(Ordering::Relaxed) {
            true => self.kept.key_for(company, subject).await,
            false => self.lost.key_for(company, subject).await,
        }
    }

    fn doubt(&self, _ids: &[Uuid]) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    async fn keys(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KeyState>, VaultError> {
        self.kept.keys(ids).await
    }

    async fn is_erased(&self, company: CompanyId, subject: Subject) -> Result<bool, VaultError> {
        self.kept.is_erased(company, subject).await
    }

    async fn forget(
        &self,
        company: CompanyId,
        subject: Subject,
    ) -> Result<Vec<StreamId>, VaultError> {
        self.kept.forget(company, subject).await
    }
}

impl World {
    pub fn new() -> Self {
        Self::over(|kept| Arc::new(kept))
    }

    /// Buses that know keys which the vault's server lost.
    pub fn with_lost_keys() -> Self {
        Self::over(|kept| {
            let (lost, is_doubted) = (MemoryVault::new(), AtomicBool::new(false));
            Arc::new(KnowsLost { kept, lost, is_doubted })
        })
    }

    fn over(known: impl Fn(MemoryVault) -> Arc<dyn KeyVault>) -> Self {
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let clock = Arc::new(ManualClock::new(at));
        let vault = MemoryVault::new();
        let store = Arc::new(MemoryStore::new(clock.clone(), vault.clone()));
        let secrets = Secrets::in_memory();
        let bus = || {
            let codec = Codec::new(known(vault.clone()));
            let log = Arc::clone(&store) as Arc<dyn EventStore>;
            Bus::new(log, codec, secrets.clone(), clock.clone(), BusSettings::default())
        };
        let hr = member(CompanyId(id(1)), 2, Role::Hr);
        let (one, other) = (bus(), bus());
        Self { one, other, store, vault, secrets, clock, hr }
    }

    /// A process that has seen nothing yet.
    pub fn beside(&self) -> Bus {
        let codec = Codec::new(Arc::new(self.vault.clone()));
        let log = Arc::clone(&self.store) as Arc<dyn EventStore>;
        let (secrets, clock) = (self.secrets.clone(), self.clock.clone());
        Bus::new(log, codec, secrets, clock, BusSettings::default())
    }

    pub async fn register(&self, n: u128, email: &str) -> Result<Receipt, CommandError> {
        self.one.execute::<Candidate>(&self.hr, id(n), register(id(n), email), order(n)).await
    }

    /// An application of the new candidate `n` for the new job `m`; answers its id.
    pub async fn application(&self, n: u128, m: u128) -> Uuid {
        self.register(n, "ada@example.com").await.expect("registered");
        let MemberId(manager) = self.join(m + 1).await;
        let dimensions = vec![Dimension {
            key: "depth".into(),
            label: "Depth".into(),
            weight: Weight::parse("weight", 1.0).expect("in range"),
        }];
        let question = Question {
            question_id: QuestionId(id(m + 2)),
            text: "Why events?".into(),
            question_type: QuestionType::Technical,
            difficulty: Difficulty::Standard,
            weight: 1,
            dimensions: vec!["depth".into()],
            expected_keywords: vec![],
        };
        let description = Description {
            title: "Engineer".into(),
            department: None,
            location: None,
            language: "en".into(),
            text: "You build services.".into(),
        };
        let open = job::Command::Open { description, hiring_manager: MemberId(manager) };
        let set_rubric = job::Command::SetRubric { dimensions };
        let add_question = job::Command::AddQuestion { question };
        let commands = [open, set_rubric, add_question, job::Command::Publish];
        for (command, k) in commands.into_iter().zip(0x200..) {
            let done = self.one.execute::<Job>(&self.hr, id(m), command, order(m + k)).await;
            done.expect("done");
        }
        let application = id(m + 3);
        let (candidate_id, job_id) = (CandidateId(id(n)), JobId(id(m)));
        let submit = application::Command::Submit { candidate_id, job_id };
        let order = order(m + 0x300);
        let submitted = self.one.execute::<Application>(&self.hr, application, submit, order);
        submitted.await.expect("submitted");
        application
    }

    pub async fn join(&self, n: u128) -> MemberId {
        let member_id = MemberId(id(n));
        let system = Caller::system(self.hr.company, "identity");
        let invite = member::Command::Invite {
            member_id,
            email: format!("m{n}@example.com"),
            full_name: "Bo Example".into(),
            role: Role::Employee,
            department: None,
        };
        self.one.execute::<Member>(&system, id(n), invite, order(n)).await.expect("invited");
        let join = member::Command::Join { account_id: AccountId(id(n)) };
        self.one.execute::<Member>(&system, id(n), join, order(n + 0x100)).await.expect("joined");
        member_id
    }
}

pub fn register(id: Uuid, email: &str) -> candidate::Command {
    let profile = GivenProfile {
        full_name: "Ada Example".into(),
        email: email.into(),
        phone: None,
        source: None,
    };
    candidate::Command::Register { candidate_id: CandidateId(id), profile }
}

pub fn note(text: &str) -> candidate::Command {
    candidate::Command::AddNote { text: text.into() }
}
