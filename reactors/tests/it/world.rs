//! A company in memory whose reactors are driven by hand, and the people of the example interviews.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use commands::{Bus, BusSettings, CommandError, Order, Receipt};
use domain::candidate::GivenProfile;
use domain::ids::{
    AccountId, AnswerId, ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId,
    QuestionId, ResumeId,
};
use domain::interview::{ConsentPurpose, Interview, Mode, Party, PlanRound, RoundType, Status};
use domain::job::{Description, Difficulty, Dimension, Question, QuestionType};
use domain::values::{Spelled, Weight};
use domain::verdict::Verdict;
use domain::{
    Actor, Aggregate, Caller, Event, Role, application, candidate, interview, job, member,
};
use eventlog::clock::{Clock, ManualClock};
use eventlog::codec::{Codec, Recorded};
use eventlog::consume::{Consumer, StreamWork};
use eventlog::deadlines::MemoryDeadlines;
use eventlog::envelope::{StreamId, Version};
use eventlog::fail_point::{FailPoint, no_fail_point};
use eventlog::files::Files;
use eventlog::ledger::{Ledger, MemoryLedger};
use eventlog::store::memory::MemoryStore;
use eventlog::store::{EventStore, Filter};
use eventlog::vault::memory::MemoryVault;
use eventlog::vault::secrets::Secrets;
use reactors::ai::Ai;
use reactors::ai::rules::RulesAi;
use reactors::resume::text::TextReader;
use reactors::runner::RunnerSettings;
use reactors::timers::Alarm;
use reactors::{Deps, all};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));
pub const MANAGER: MemberId = MemberId(Uuid::from_u128(2));
pub const JOB: JobId = JobId(Uuid::from_u128(10));

/// An id that no other call gives.
pub fn id() -> Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(u128::from(next) | 0x0198_0000_0000_7000_8000_0000_0000_0000)
}

fn person(roles: Vec<Role>) -> Caller {
    Caller::new(COMPANY, Actor::Member(MANAGER), roles)
}

/// Takes a question out of the job.
pub async fn remove_question(bus: &Bus, question_id: QuestionId) {
    let remove = job::Command::RemoveQuestion { question_id };
    let order = Order::of_client(id(), vec![]);
    bus.execute::<job::Job>(&person(vec![Role::Hr]), JOB.0, remove, order).await.unwrap();
}

pub struct World {
    pub clock: Arc<ManualClock>,
    pub store: Arc<MemoryStore>,
    pub codec: Codec,
    pub bus: Arc<Bus>,
    pub ledger: Arc<dyn Ledger>,
    pub deadlines: Arc<MemoryDeadlines>,
    pub files: Files,
    pub vault: MemoryVault,
    pub reactors: Vec<(Arc<dyn Consumer>, Filter)>,
    pub stop: CancellationToken,
    pub fail_point: FailPoint,
}

/// A round and who is interviewed in it.
#[derive(Clone, Copy)]
pub struct Seat {
    pub interview: InterviewId,
    pub candidate: CandidateId,
}

impl Seat {
    pub fn guest(&self) -> Caller {
        let actor = Actor::Guest { interview: self.interview, candidate: self.candidate };
        Caller::new(COMPANY, actor, vec![])
    }

    pub fn stream(&self) -> StreamId {
        StreamId::new(COMPANY, Interview::NAME, self.interview.0)
    }
}

impl World {
    /// A company with the example job of this name, and the built-in rules.
    pub async fn with_job(slug: &str) -> Self {
        Self::with_ai(slug, Arc::new(RulesAi)).await
    }

    pub async fn with_ai(slug: &str, ai: Arc<dyn Ai>) -> Self {
        let mut world = Self::empty();
        world.hire_reactors(ai, Arc::new(MemoryLedger::default()), patient());
        world.open_job(&Job::example(slug)).await;
        world
    }

    pub fn empty() -> Self {
        let noon = DateTime::from_timestamp(1_754_049_600, 0).unwrap();
        let clock = Arc::new(ManualClock::new(noon));
        let vault = MemoryVault::new();
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>, vault.clone()));
        let codec = Codec::new(Arc::new(vault.clone()));
        let bus = Arc::new(Bus::new(
            Arc::clone(&store) as Arc<dyn EventStore>,
            codec.clone(),
            Secrets::in_memory(),
            Arc::clone(&clock) as Arc<dyn Clock>,
            BusSettings::default(),
        ));
        let files = Files::new(Arc::new(object_store::memory::InMemory::new()), codec.clone());
        Self {
            clock,
            store,
            codec,
            bus,
            ledger: Arc::new(MemoryLedger::default()),
            deadlines: Arc::default(),
            files,
            vault,
            reactors: vec![],
            stop: CancellationToken::new(),
            fail_point: no_fail_point(),
        }
    }

    /// Starts the reactors anew, as another process would: nothing is left in their memory.
    pub fn hire_reactors(
        &mut self,
        ai: Arc<dyn Ai>,
        ledger: Arc<dyn Ledger>,
        settings: RunnerSettings,
    ) {
        self.ledger = Arc::clone(&ledger);
        self.reactors = all(Deps {
            bus: Arc::clone(&self.bus),
            store: Arc::clone(&self.store) as Arc<dyn EventStore>,
            codec: self.codec.clone(),
            ledger,
            deadlines: Arc::clone(&self.deadlines) as Arc<_>,
            files: self.files.clone(),
            reader: TextReader::default(),
            ai,
            settings,
            fail_point: Arc::clone(&self.fail_point),
            stop: self.stop.clone(),
        });
    }

    /// Lets the reactors do all there is to do.
    pub async fn settle(&self) {
        loop {
            let mut n_worked = 0;
            for (reactor, filter) in &self.reactors {
                let work = self.unseen(&**reactor, filter).await;
                n_worked += work.len();
                reactor.apply(work, &[]).await.unwrap();
            }
            if n_worked == 0 {
                return;
            }
        }
    }

    /// What a reactor has not seen yet, by stream.
    pub async fn unseen(&self, reactor: &dyn Consumer, filter: &Filter) -> Vec<StreamWork> {
        let versions = self.store.stream_versions(filter, None, 10_000).await.unwrap();
        let streams: Vec<_> = versions.iter().map(|(stream, _)| stream.clone()).collect();
        let applied = reactor.applied(&streams).await.unwrap();
        let mut work = vec![];
        for stream in streams {
            let applied = applied.get(&stream).cloned().unwrap_or_default();
            let from = applied.version;
            let events = self.store.read_stream(&stream, from, 10_000).await.unwrap();
            if !events.is_empty() && !applied.parked {
                work.push(StreamWork { stream, from, events, skipped: vec![] });
            }
        }
        work
    }

    /// Moves the clock and acts on what is due then.
    pub async fn pass(&self, by: TimeDelta) {
        self.clock.advance(by);
        let alarm = Alarm::new(Arc::clone(&self.deadlines) as Arc<_>, Arc::clone(&self.bus));
        alarm.fire_due(self.clock.now()).await.unwrap();
    }

    pub async fn send<A: Aggregate>(
        &self,
        caller: &Caller,
        stream_id: Uuid,
        command: A::Command,
    ) -> Result<Receipt, CommandError> {
        self.bus.execute::<A>(caller, stream_id, command, Order::of_client(id(), vec![])).await
    }

    pub async fn open_job(&self, example: &Job) {
        let admin = person(vec![Role::CompanyAdmin, Role::Hr]);
        let invite = member::Command::Invite {
            member_id: MANAGER,
            email: "manager@example.com".into(),
            full_name: "A Manager".into(),
            role: Role::HiringManager,
            department: None,
        };
        self.send::<member::Member>(&admin, MANAGER.0, invite).await.unwrap();
        let clerk = Caller::system(COMPANY, "accounts");
        let join = member::Command::Join { account_id: AccountId(id()) };
        self.send::<member::Member>(&clerk, MANAGER.0, join).await.unwrap();
        let mut commands = vec![
            job::Command::Open {
                description: Description {
                    title: example.title.clone(),
                    department: None,
                    location: None,
                    language: example.language.clone(),
                    text: "The job.".into(),
                },
                hiring_manager: MANAGER,
            },
            job::Command::SetRubric { dimensions: example.dimensions() },
        ];
        let questions = example.questions.iter().map(JobQuestion::question);
        commands.extend(questions.map(|question| job::Command::AddQuestion { question }));
        commands.push(job::Command::Publish);
        for command in commands {
            self.send::<job::Job>(&admin, JOB.0, command).await.unwrap();
        }
    }

    pub async fn register(&self) -> CandidateId {
        let candidate = CandidateId(id());
        let profile = GivenProfile {
            full_name: "Mira Okafor".into(),
            email: format!("{}@example.com", candidate.0.simple()),
            phone: None,
            source: None,
        };
        let register = candidate::Command::Register { candidate_id: candidate, profile };
        let hr = person(vec![Role::Hr]);
        self.send::<candidate::Candidate>(&hr, candidate.0, register).await.unwrap();
        candidate
    }

    /// A scheduled round of a new candidate.
    pub async fn invite(&self, mode: Mode) -> Seat {
        let hr = person(vec![Role::Hr]);
        let candidate = self.register().await;
        let application = ApplicationId(id());
        let submit = application::Command::Submit { candidate_id: candidate, job_id: JOB };
        self.send::<application::Application>(&hr, application.0, submit).await.unwrap();
        let interview = InterviewId(id());
        let round = PlanRound {
            application_id: application,
            round_number: 1,
            round_type: RoundType::TechnicalAi,
            mode,
            interviewer_id: (mode != Mode::AiConducted).then_some(MANAGER),
            resume_id: None,
            restart_of: None,
            candidate_id: candidate,
            job_id: JOB,
        };
        let at = self.clock.now();
        let schedule =
            interview::Command::Schedule { round: Some(round), at, duration_minutes: 60 };
        self.send::<Interview>(&hr, interview.0, schedule).await.unwrap();
        Seat { interview, candidate }
    }

    /// A round led by AI that has begun, with consent.
    pub async fn begin(&self) -> Seat {
        let seat = self.invite(Mode::AiConducted).await;
        let consent =
            interview::Command::GiveConsent { purposes: vec![ConsentPurpose::AiAnalysis] };
        self.guest(&seat, consent).await;
        self.guest(&seat, interview::Command::Join { party: Party::Candidate }).await;
        self.guest(&seat, interview::Command::Start).await;
        seat
    }

    pub async fn guest(&self, seat: &Seat, command: interview::Command) {
        self.send::<Interview>(&seat.guest(), seat.interview.0, command).await.unwrap();
    }

    pub async fn answer(&self, seat: &Seat, question_id: QuestionId, text: &str) {
        self.clock.advance(TimeDelta::seconds(40));
        let answer_id = AnswerId(id());
        let answer = interview::Command::Answer { answer_id, question_id, text: text.into() };
        self.guest(seat, answer).await;
    }

    pub async fn interview(&self, seat: &Seat) -> Interview {
        self.bus.state(COMPANY, seat.interview.0).await.unwrap().unwrap()
    }

    pub async fn status(&self, seat: &Seat) -> Status {
        self.interview(seat).await.status().unwrap()
    }

    /// The open question: its id, the job's question behind it, and whether it asks back.
    pub async fn open_question(&self, seat: &Seat) -> Option<(QuestionId, QuestionId, bool)> {
        let interview = self.interview(seat).await;
        let open = interview.open_question()?.clone();
        let base = open.follow_up_of.unwrap_or(open.question_id);
        let base = interview.questions().iter().find(|q| q.question_id == base).unwrap().clone();
        Some((open.question_id, base.job_question_id.unwrap(), open.follow_up_of.is_some()))
    }

    /// Has a whole interview with this candidate.
    pub async fn talk(&self, seat: &Seat, said: &Talk) {
        self.settle().await;
        while let Some((question, job_question, again)) = self.open_question(seat).await {
            self.answer(seat, question, said.reply(job_question, again)).await;
            self.settle().await;
        }
    }

    /// All events of a stream, opened.
    pub async fn history(&self, stream: &StreamId) -> Vec<Recorded> {
        let stored = self.store.read_stream(stream, Version(0), 10_000).await.unwrap();
        self.codec.open(stored).await.unwrap()
    }

    /// Stored names of a stream's events.
    pub async fn names(&self, aggregate: &'static str, stream_id: Uuid) -> Vec<String> {
        let stream = StreamId::new(COMPANY, aggregate, stream_id);
        self.history(&stream).await.into_iter().map(|recorded| recorded.stored.name).collect()
    }

    pub async fn count(&self, aggregate: &'static str, stream_id: Uuid, name: &str) -> usize {
        let names = self.names(aggregate, stream_id).await;
        names.iter().filter(|of| of.as_str() == name).count()
    }

    /// The verdict of a round, if it was opened.
    pub async fn verdict(&self, seat: &Seat) -> Option<(Uuid, Verdict)> {
        let filter = Filter::of_aggregates([Verdict::NAME]);
        let streams = self.store.stream_versions(&filter, None, 1000).await.unwrap();
        for (stream, _) in streams {
            let verdict: Verdict = self.bus.state(COMPANY, stream.id).await.unwrap().unwrap();
            if verdict.record().unwrap().interview_id == seat.interview {
                return Some((stream.id, verdict));
            }
        }
        None
    }

    pub async fn proposal(&self, seat: &Seat) -> domain::verdict::Proposal {
        let (verdict, _) = self.verdict(seat).await.unwrap();
        let stream = StreamId::new(COMPANY, Verdict::NAME, verdict);
        let proposed = self.history(&stream).await.into_iter().find_map(|r| match r.event {
            Event::Verdict(domain::verdict::Event::Proposed { proposal }) => Some(proposal),
            _ => None,
        });
        proposed.unwrap()
    }

    /// What an answer said, by its id.
    pub async fn said(&self, seat: &Seat) -> HashMap<AnswerId, String> {
        let history = self.history(&seat.stream()).await;
        let answers = history.into_iter().filter_map(|r| match r.event {
            Event::Interview(interview::Event::AnswerRecorded { answer_id, text, .. }) => {
                Some((answer_id, text.into_inner().unwrap()))
            }
            _ => None,
        });
        answers.collect()
    }

    pub async fn n_events(&self) -> u64 {
        self.store.head().await.unwrap().0
    }

    pub async fn restart_assessment(&self, verdict: Uuid) {
        let hr = person(vec![Role::Hr]);
        let restart = domain::verdict::Command::RestartAssessment;
        self.send::<Verdict>(&hr, verdict, restart).await.unwrap();
    }

    pub async fn upload(&self, candidate: CandidateId, bytes: &[u8]) -> ResumeId {
        let subject = domain::Subject::Candidate(candidate);
        let hash = self.files.put(COMPANY, subject, bytes).await.unwrap();
        self.upload_as(candidate, hash, bytes.len()).await
    }

    pub async fn upload_as(&self, candidate: CandidateId, hash: String, n: usize) -> ResumeId {
        let resume = ResumeId(id());
        let upload = domain::resume::Command::Upload {
            candidate_id: candidate,
            hash,
            name: "resume".into(),
            size_bytes: n as u64,
            media_type: "text/plain".into(),
        };
        let hr = person(vec![Role::Hr]);
        self.send::<domain::resume::Resume>(&hr, resume.0, upload).await.unwrap();
        resume
    }
}

/// A batch is waited for, however long it takes.
pub fn patient() -> RunnerSettings {
    RunnerSettings {
        patience: Duration::from_secs(3600),
        retry_after: Duration::from_millis(1),
        ..RunnerSettings::default()
    }
}

// --- the examples

#[derive(Deserialize)]
pub struct Job {
    pub title: String,
    pub language: String,
    pub rubric: Vec<reactors::ai::Dimension>,
    pub questions: Vec<JobQuestion>,
}

#[derive(Clone, Deserialize)]
pub struct JobQuestion {
    pub id: String,
    pub text: String,
    pub r#type: String,
    pub difficulty: String,
    pub weight: u8,
    pub dimensions: Vec<String>,
    pub expected_keywords: Vec<String>,
}

/// A candidate's words, by question.
pub struct Talk(HashMap<QuestionId, (String, Option<String>)>);

#[derive(Deserialize)]
struct Script {
    answers: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    question: String,
    text: String,
    follow_up: Option<String>,
}

pub fn example(path: &str) -> Vec<u8> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    std::fs::read(examples.join(path)).unwrap()
}

/// A question's id: the same for the same slug.
pub fn question_id(slug: &str) -> QuestionId {
    let mut bytes = [0; 16];
    for (at, byte) in slug.bytes().enumerate() {
        bytes[at % 16] ^= byte.rotate_left(u32::try_from(at / 16).unwrap());
    }
    QuestionId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

impl Job {
    pub fn example(slug: &str) -> Self {
        let page = String::from_utf8(example(&format!("jobs/{slug}.md"))).unwrap();
        toml::from_str(page.split("+++").nth(1).unwrap()).unwrap()
    }

    fn dimensions(&self) -> Vec<Dimension> {
        let dimension = |d: &reactors::ai::Dimension| Dimension {
            key: d.key.clone(),
            label: d.label.clone(),
            weight: Weight::parse("weight", d.weight).unwrap(),
        };
        self.rubric.iter().map(dimension).collect()
    }
}

impl JobQuestion {
    pub fn question(&self) -> Question {
        Question {
            question_id: question_id(&self.id),
            text: self.text.clone(),
            question_type: QuestionType::parse(&self.r#type).unwrap(),
            difficulty: Difficulty::parse(&self.difficulty).unwrap(),
            weight: self.weight,
            dimensions: self.dimensions.clone(),
            expected_keywords: self.expected_keywords.clone(),
        }
    }
}

impl Talk {
    /// The words of an example: `senior-backend-engineer.good`.
    pub fn example(name: &str) -> Self {
        let script = String::from_utf8(example(&format!("interviews/{name}.toml"))).unwrap();
        let script: Script = toml::from_str(&script).unwrap();
        let said = |line: Line| (question_id(&line.question), (line.text, line.follow_up));
        Self(script.answers.into_iter().map(said).collect())
    }

    pub fn reply(&self, question: QuestionId, again: bool) -> &str {
        let (text, follow_up) = &self.0[&question];
        if again { follow_up.as_deref().unwrap_or(text) } else { text }
    }
}
