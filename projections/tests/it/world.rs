//! A company with its people, jobs and interviews, appended to a log without a bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{
    AnswerId, ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId, QuestionId,
    ResumeId, VerdictId,
};
use domain::interview::{
    AskedBy, CompletionReason, ConsentPurpose, Judgement, Mode, Party, QuestionText, Round,
    RoundType, Status,
};
use domain::job::{Conversation, Description, Difficulty, Dimension, Question, QuestionType};
use domain::observation::{InsightType, Severity};
use domain::personal::{Personal, Subject};
use domain::values::{HumanScore, Provenance, Score, Share, Weight};
use domain::verdict::{
    CitableAnswer, Decision, DimensionScore, Evidence, Ground, Proposal, Recommendation, Record,
    ScoreKind, Signature, SignedScore,
};
use domain::{
    Event, Role, access, ai_call, application, candidate, company, interview, job, member,
    observation, resume, verdict,
};
use eventlog::clock::SystemClock;
use eventlog::codec::{Codec, Encoded};
use eventlog::envelope::{Cause, NewEvent, StreamId};
use eventlog::store::memory::MemoryStore;
use eventlog::store::{Append, Appended, EventStore};
use eventlog::vault::memory::MemoryVault;
use projections::{Token, View};
use uuid::Uuid;

/// When the first event of a stream happens; each following one is a second later.
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_754_049_600, 123_456_000).expect("a time")
}

#[derive(Clone)]
pub struct World {
    pub store: Arc<dyn EventStore>,
    pub codec: Codec,
    n: u128,
}

pub fn memory() -> World {
    let vault = MemoryVault::new();
    let store = Arc::new(MemoryStore::new(Arc::new(SystemClock), vault.clone()));
    World::new(store, Codec::new(Arc::new(vault)), 1)
}

fn new_id() -> Uuid {
    static N_IDS: AtomicU64 = AtomicU64::new(1);
    derived(0xe0e0, N_IDS.fetch_add(1, Ordering::Relaxed).into())
}

fn derived(a: u128, b: u128) -> Uuid {
    Uuid::from_u128((a << 64) | b)
}

/// A round and the ids of what belongs to it.
#[derive(Clone, Copy)]
pub struct Story {
    pub n: u128,
    pub candidate: CandidateId,
    pub application: ApplicationId,
    pub resume: ResumeId,
    pub interview: InterviewId,
    pub verdict: VerdictId,
    pub interviewer: Option<MemberId>,
}

impl World {
    pub fn new(store: Arc<dyn EventStore>, codec: Codec, n: u128) -> Self {
        Self { store, codec, n }
    }

    fn id(&self, kind: u128, n: u128) -> Uuid {
        derived(self.n, (kind << 32) | n)
    }

    pub fn company(&self) -> CompanyId {
        CompanyId(self.id(1, 0))
    }

    pub fn all(&self) -> View {
        View::all(self.company())
    }

    pub fn member(&self, n: u128) -> MemberId {
        MemberId(self.id(2, n))
    }

    pub fn job(&self, n: u128) -> JobId {
        JobId(self.id(3, n))
    }

    pub fn question(&self, story: &Story, n: u128) -> QuestionId {
        QuestionId(self.id(4, story.n * 100 + n))
    }

    pub fn answer(&self, story: &Story, n: u128) -> AnswerId {
        AnswerId(self.id(5, story.n * 100 + n))
    }

    pub fn story(&self, n: u128) -> Story {
        Story {
            n,
            candidate: CandidateId(self.id(6, n)),
            application: ApplicationId(self.id(7, n)),
            resume: ResumeId(self.id(8, n)),
            interview: InterviewId(self.id(9, n)),
            verdict: VerdictId(self.id(10, n)),
            interviewer: None,
        }
    }

    pub fn stream(&self, aggregate: &'static str, id: Uuid) -> StreamId {
        StreamId::new(self.company(), aggregate, id)
    }

    /// Appends events to a stream, one append each, and answers the token of the last.
    pub async fn append(&self, stream: &StreamId, events: Vec<Event>) -> Token {
        let mut last = None;
        for event in events {
            last = Some(self.append_one(stream, event).await);
        }
        let last = last.expect("at least one event");
        Token { stream: stream.clone(), version: last.version, position: last.position }
    }

    async fn append_one(&self, stream: &StreamId, event: Event) -> Appended {
        self.append_at_once(stream, vec![event]).await
    }

    /// Appends events to a stream in one append.
    pub async fn append_at_once(&self, stream: &StreamId, events: Vec<Event>) -> Appended {
        let expected = self.store.stream_version(stream).await.expect("the store answers");
        let events: Vec<(Uuid, Event)> =
            events.into_iter().map(|event| (new_id(), event)).collect();
        let sealed = self.codec.seal(stream.company, &events).await.expect("it can be sealed");
        let keys = sealed.iter().flat_map(|sealed| sealed.keys.clone()).collect();
        let new = |((nth, (event_id, _)), sealed): ((u64, &(Uuid, Event)), Encoded)| NewEvent {
            event_id: *event_id,
            name: sealed.name.into(),
            schema_version: sealed.schema_version,
            occurred_at: noon() + TimeDelta::seconds(i64::try_from(nth).expect("small")),
            payload: sealed.payload,
        };
        let append = Append {
            stream: stream.clone(),
            expected,
            guards: vec![],
            claims: vec![],
            keys,
            cause: cause(events[0].0),
            events: (expected.0 + 1..).zip(&events).zip(sealed).map(new).collect(),
        };
        self.store.append(append).await.expect("the append is stored")
    }

    /// Appends bytes that no program of today wrote.
    pub async fn append_raw(&self, stream: &StreamId, name: &'static str, payload: &'static str) {
        self.append_version(stream, name, 1, payload).await;
    }

    /// The same in a shape of this version.
    pub async fn append_version(
        &self,
        stream: &StreamId,
        name: &'static str,
        schema_version: u16,
        payload: &'static str,
    ) {
        let expected = self.store.stream_version(stream).await.expect("the store answers");
        let event_id = new_id();
        let new = NewEvent {
            event_id,
            name: name.into(),
            schema_version,
            occurred_at: noon(),
            payload: bytes::Bytes::from_static(payload.as_bytes()),
        };
        let append = Append {
            stream: stream.clone(),
            expected,
            guards: vec![],
            claims: vec![],
            keys: vec![],
            cause: cause(event_id),
            events: vec![new],
        };
        self.store.append(append).await.expect("the append is stored");
    }

    /// The company, three members (recruiter, manager, interviewer), and two of the manager's jobs.
    pub async fn found(&self) {
        let id = self.company().0;
        let name = "Northwind".to_owned();
        let registered = company::Event::Registered { name, domain: None };
        let renamed = company::Event::Renamed { name: "Northwind Traders".into() };
        self.append(&self.stream("company", id), vec![registered.into(), renamed.into()]).await;
        for (n, role) in [(0, Role::Hr), (1, Role::HiringManager), (2, Role::Employee)] {
            let id = self.member(n);
            let own = |text: &str| Personal::new(Subject::Member(id), text.to_owned());
            let invited = member::Event::Invited {
                email: own(&format!("m{n}@northwind.example")),
                full_name: own("Ada Lindqvist"),
                role,
                department: Some("Payments".into()),
            };
            let joined = member::Event::Joined { account_id: domain::ids::AccountId(id.0) };
            self.append(&self.stream("member", id.0), vec![invited.into(), joined.into()]).await;
        }
        for n in 0..2 {
            self.append(&self.stream("job", self.job(n).0), self.job_events()).await;
        }
    }

    fn job_events(&self) -> Vec<Event> {
        let description = Description {
            title: "Platform engineer".into(),
            department: None,
            location: Some("Gothenburg".into()),
            language: "en".into(),
            text: "You keep payments flowing.".into(),
        };
        let question = Question {
            question_id: QuestionId(self.id(4, 0)),
            text: "What is a queue for?".into(),
            question_type: QuestionType::Technical,
            difficulty: Difficulty::Warmup,
            weight: 10,
            dimensions: vec!["system_design".into()],
            expected_keywords: vec!["buffer|decouple".into()],
        };
        vec![
            job::Event::Opened { description, hiring_manager: self.member(1) }.into(),
            job::Event::RubricSet { version: 1, dimensions: dimensions() }.into(),
            job::Event::QuestionAdded { question }.into(),
            job::Event::InterviewingConfigured { conversation: Conversation::default() }.into(),
            job::Event::Published {}.into(),
        ]
    }

    /// One candidate's way for the first job, from the record to the signed verdict.
    pub async fn tell(&self, story: &Story) {
        let subject = Subject::Candidate(story.candidate);
        let own = |text: &str| Personal::new(subject, text.to_owned());
        let profile = candidate::Profile {
            full_name: own(&format!("Mira Okafor {}", story.n)),
            email: own(&format!("mira{}@mail.example", story.n)),
            phone: Some(own("+46 70 123 45 67")),
            source: Some("referral".into()),
        };
        let stream = self.stream("candidate", story.candidate.0);
        let registered = candidate::Event::Registered { profile };
        let noted = candidate::Event::NoteAdded { text: own("Met at a fair. 𝄞") };
        self.append(&stream, vec![registered.into(), noted.into()]).await;

        let stream = self.stream("application", story.application.0);
        let submitted =
            application::Event::Submitted { candidate_id: story.candidate, job_id: self.job(0) };
        let moved = application::Event::StatusChanged {
            from: application::Status::New,
            to: application::Status::Interviewing,
            reason: Some(own("Strong background.")),
        };
        self.append(&stream, vec![submitted.into(), moved.into()]).await;

        let stream = self.stream("resume", story.resume.0);
        self.append(&stream, self.resume_events(story)).await;
        let stream = self.stream("interview", story.interview.0);
        self.append(&stream, self.interview_events(story)).await;

        let noticed = observation::Event::InsightRaised {
            insight_type: InsightType::ResponseTime,
            severity: Severity::Info,
            ms_from_start: 61_000,
            value: Some(0.1 + 0.2),
            explanation: own("Answered after a minute."),
        };
        let flagged = observation::Event::IntegrityFlagged {
            insight_type: InsightType::TabSwitch,
            severity: Severity::Warning,
            ms_from_start: 75_000,
            explanation: own("The page was left."),
        };
        let stream = self.stream("observation", story.interview.0);
        self.append(&stream, vec![noticed.into(), flagged.into()]).await;

        let completed = ai_call::Event::Completed(ai_call::Call {
            purpose: ai_call::Purpose::JudgeAnswer,
            provenance: self.provenance(story),
            request_hash: "00".repeat(32),
            tokens_in: 812,
            tokens_out: 96,
            cost_micro_usd: 179,
            latency_ms: 1_240,
            attempt: 1,
            prompt: own("Judge this."),
            answer: own("{}"),
        });
        let failed = ai_call::Event::Failed {
            call_id: self.id(12, story.n),
            purpose: ai_call::Purpose::ProposeScores,
            code: "AI_001".into(),
            n_attempts: 3,
        };
        let stream = self.stream("ai_call", story.interview.0);
        self.append(&stream, vec![completed.into(), failed.into()]).await;

        let view = |what, subject_id, fields| access::View {
            what,
            subject_id,
            candidate_id: story.candidate,
            fields,
        };
        let shown = access::Event::Viewed {
            purpose: access::Purpose::Hiring,
            views: vec![
                view(access::What::Candidate, story.candidate.0, vec![access::Fields::Contact]),
                view(access::What::Transcript, story.interview.0, vec![access::Fields::Transcript]),
            ],
        };
        let stream = self.stream("access", self.id(14, story.n));
        self.append(&stream, vec![shown.into()]).await;

        let stream = self.stream("verdict", story.verdict.0);
        self.append(&stream, self.verdict_events(story)).await;
    }

    pub fn provenance(&self, story: &Story) -> Provenance {
        Provenance {
            call_id: self.id(11, story.n),
            provider: "rules".into(),
            model: "rules".into(),
            prompt_version: "1".into(),
            fallback: false,
        }
    }

    fn resume_events(&self, story: &Story) -> Vec<Event> {
        let subject = Subject::Candidate(story.candidate);
        let facts = resume::ParsedFacts {
            skills: vec!["rust".into(), "a\0b".into()],
            experience_years: 7.3,
            technical_domains: [("pay\0ments".to_owned(), "deep".to_owned())].into(),
            ..resume::ParsedFacts::default()
        };
        let file = resume::File {
            hash: "fc".repeat(32),
            name: Personal::new(subject, "mira.pdf".into()),
            size_bytes: 84_211,
            media_type: "application/pdf".into(),
        };
        let text = Personal::new(subject, "Seven years of payments.".to_owned());
        vec![
            resume::Event::Uploaded { candidate_id: story.candidate, file }.into(),
            resume::Event::TextExtracted { text, n_chars: 24, truncated: false }.into(),
            resume::Event::Parsed {
                facts: Personal::new(subject, facts),
                provenance: self.provenance(story),
            }
            .into(),
        ]
    }

    pub fn round(&self, story: &Story) -> Round {
        Round {
            candidate_id: story.candidate,
            job_id: self.job(0),
            application_id: story.application,
            round_number: 1,
            round_type: RoundType::TechnicalAi,
            mode: match story.interviewer {
                Some(_) => Mode::HumanAiAssisted,
                None => Mode::AiConducted,
            },
            interviewer_id: story.interviewer,
            hiring_manager: self.member(1),
            resume_id: Some(story.resume),
            rubric_version: 1,
            conversation: Conversation::default(),
            restart_of: None,
        }
    }

    /// Up to the start.
    pub fn opening(&self, story: &Story) -> Vec<Event> {
        let access_id = self.id(13, story.n);
        let at = noon() + TimeDelta::hours(1);
        let mut events = vec![
            interview::Event::Planned { round: self.round(story) },
            interview::Event::Scheduled { round: None, at, duration_minutes: 45 },
            interview::Event::AccessIssued {
                access_id,
                token_hash: "2c".repeat(32),
                expires_at: at,
            },
            interview::Event::AccessFirstUsed { access_id },
            interview::Event::ConsentGiven { purposes: vec![ConsentPurpose::AiAnalysis] },
            interview::Event::Joined { party: Party::Candidate },
        ];
        if story.interviewer.is_some() {
            events.push(interview::Event::Joined { party: Party::Interviewer });
        }
        events.push(interview::Event::Started {});
        events.into_iter().map(Event::from).collect()
    }

    /// The n-th question (from 0), a follow-up where n is odd.
    pub fn asked(&self, story: &Story, n: u128, sequence: u32) -> Event {
        let asked_by = AskedBy::Ai { provenance: self.provenance(story) };
        let question_id = self.question(story, n);
        let text = Personal::new(Subject::Candidate(story.candidate), format!("Question {n}?"));
        if n % 2 == 1 {
            let follow_up_of = self.question(story, n - 1);
            let event = interview::Event::FollowUpAsked {
                question_id,
                sequence,
                follow_up_of,
                text,
                asked_by,
            };
            return event.into();
        }
        let event = interview::Event::QuestionAsked {
            question_id,
            sequence,
            job_question_id: None,
            text: QuestionText::Own { text },
            question_type: QuestionType::Technical,
            difficulty: Difficulty::Warmup,
            dimensions: vec!["system_design".into()],
            asked_by,
        };
        event.into()
    }

    pub fn answered(&self, story: &Story, n: u128, sequence: u32) -> Event {
        let text = format!("Answer {n}.");
        let event = interview::Event::AnswerRecorded {
            answer_id: self.answer(story, n),
            question_id: self.question(story, n),
            sequence,
            text: Personal::new(Subject::Candidate(story.candidate), text),
            response_time_ms: 61_000,
        };
        event.into()
    }

    pub fn judged(&self, story: &Story, n: u128) -> Event {
        let judgement = Judgement {
            completeness: Share::parse("completeness", 0.8).expect("in range"),
            score: Score::parse("score", 74.55).expect("in range"),
            feedback: Personal::new(Subject::Candidate(story.candidate), "Sound.".into()),
            provenance: self.provenance(story),
        };
        interview::Event::AnswerJudged { answer_id: self.answer(story, n), judgement }.into()
    }

    pub fn interview_events(&self, story: &Story) -> Vec<Event> {
        let mut events = self.opening(story);
        events.extend([
            self.asked(story, 0, 1),
            self.answered(story, 0, 2),
            self.judged(story, 0),
            self.asked(story, 1, 3),
            self.answered(story, 1, 4),
            interview::Event::DifficultyChanged {
                from: Difficulty::Warmup,
                to: Difficulty::Standard,
            }
            .into(),
            self.asked(story, 2, 5),
            interview::Event::QuestionTimedOut { question_id: self.question(story, 2) }.into(),
            interview::Event::NoteAdded {
                member_id: self.member(0),
                text: Personal::new(Subject::Candidate(story.candidate), "Calm.".into()),
            }
            .into(),
            interview::Event::Completed { reason: CompletionReason::AllAsked }.into(),
        ]);
        events
    }

    pub fn verdict_events(&self, story: &Story) -> Vec<Event> {
        let subject = Subject::Candidate(story.candidate);
        let own = |text: &str| Personal::new(subject, text.to_owned());
        let texts = |text: &str| Personal::new(subject, vec![text.to_owned()]);
        let answer_id = self.answer(story, 0);
        let record = Record {
            interview_id: story.interview,
            candidate_id: story.candidate,
            job_id: self.job(0),
            application_id: story.application,
            interview_end: Status::Completed,
            mode: self.round(story).mode,
            interviewer_id: story.interviewer,
            hiring_manager: self.member(1),
            rubric_version: 1,
            dimensions: dimensions(),
            answers: vec![CitableAnswer {
                answer_id,
                question_id: self.question(story, 0),
                dimensions: vec![],
            }],
            ai_may_propose: true,
        };
        let score = Score::parse("score", 76.0).expect("in range");
        let proposal = Proposal {
            scores: vec![DimensionScore {
                dimension: "system_design".into(),
                score,
                confidence: Share::parse("confidence", 0.755).expect("in range"),
                evidence: vec![Evidence { answer_id, quote: own("Answer"), why: own("Sound.") }],
            }],
            unscored: vec![],
            overall: score,
            recommendation: Recommendation::Pass,
            strengths: texts("Clear."),
            weaknesses: texts("Brief."),
            summary: own("Good."),
            provenance: self.provenance(story),
        };
        let signature = Signature {
            signer: self.member(0),
            decision: Decision::Advance,
            scores: vec![SignedScore {
                kind: ScoreKind::Overall,
                score: HumanScore::parse("score", 8).expect("in range"),
                grounds: vec![Ground::Answer { answer_id }, Ground::OwnNote {}],
            }],
            strengths: texts("Clear."),
            weaknesses: texts("Brief."),
            notes: Some(own("Hire.")),
            proposal_seen: true,
        };
        vec![
            verdict::Event::Opened { record }.into(),
            verdict::Event::AssessmentFailed { code: "AI_001".into() }.into(),
            verdict::Event::AssessmentRestarted { attempt: 2 }.into(),
            verdict::Event::Proposed { proposal }.into(),
            verdict::Event::Signed { signature }.into(),
            verdict::Event::PrivateNotesRecorded {
                member_id: self.member(0),
                text: own("Asks for much."),
            }
            .into(),
        ]
    }
}

pub fn dimensions() -> Vec<Dimension> {
    vec![Dimension {
        key: "system_design".into(),
        label: "System design".into(),
        weight: Weight::parse("weight", 0.3).expect("in range"),
    }]
}

fn cause(id: Uuid) -> Cause {
    Cause {
        command_id: id,
        fingerprint: vec![1; 32],
        correlation_id: id,
        causation_id: None,
        actor: "member:00000000-0000-0000-0000-000000000001".into(),
        trace_parent: None,
    }
}
