//! The people and things that the tests are about.

use chrono::{DateTime, TimeDelta, Utc};
use domain::candidate::Candidate;
use domain::ids::{
    AccountId, AnswerId, ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId,
    QuestionId, ResumeId,
};
use domain::interview::{
    AskedBy, ConsentPurpose, Event, Interview, Mode, Party, QuestionText, Round, RoundType,
};
use domain::job::{Conversation, Description, Difficulty, Dimension, Job, Question, QuestionType};
use domain::member::Member;
use domain::personal::{Personal, Subject};
use domain::testing::state;
use domain::values::{Provenance, Weight};
use domain::{Actor, Caller, Facts, Role, application, candidate, job, member, resume};
use uuid::Uuid;

pub const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));
pub const ADA: MemberId = MemberId(Uuid::from_u128(2));
pub const BO: MemberId = MemberId(Uuid::from_u128(3));
/// Invited, but has not joined.
pub const CY: MemberId = MemberId(Uuid::from_u128(4));
pub const JOB: JobId = JobId(Uuid::from_u128(10));
pub const JOB_QUESTION: QuestionId = QuestionId(Uuid::from_u128(11));
pub const MIRA: CandidateId = CandidateId(Uuid::from_u128(20));
pub const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(21));
pub const RESUME: ResumeId = ResumeId(Uuid::from_u128(22));
pub const INTERVIEW: InterviewId = InterviewId(Uuid::from_u128(30));

pub fn question(n: u128) -> QuestionId {
    QuestionId(Uuid::from_u128(100 + n))
}

pub fn answer(n: u128) -> AnswerId {
    AnswerId(Uuid::from_u128(200 + n))
}

/// When everything that is given has happened.
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_754_049_600, 0).expect("a time")
}

pub fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}

fn member_with(id: MemberId, roles: Vec<Role>) -> Caller {
    Caller::new(COMPANY, Actor::Member(id), roles)
}

pub fn ada() -> Caller {
    member_with(ADA, vec![Role::Hr])
}

pub fn bo() -> Caller {
    member_with(BO, vec![Role::HiringManager])
}

pub fn administrator() -> Caller {
    member_with(ADA, vec![Role::CompanyAdmin])
}

pub fn mira() -> Caller {
    let actor = Actor::Guest { interview: INTERVIEW, candidate: MIRA };
    Caller::new(COMPANY, actor, vec![])
}

/// The same person by a login.
pub fn signed_in_mira() -> Caller {
    Caller::new(COMPANY, Actor::Candidate(MIRA), vec![])
}

pub fn machine() -> Caller {
    Caller::ai(COMPANY, "conductor")
}

pub fn provenance() -> Provenance {
    Provenance {
        call_id: Uuid::from_u128(50),
        provider: "rules".into(),
        model: "rules".into(),
        prompt_version: "1".into(),
        fallback: false,
    }
}

pub fn personal(text: &str) -> Personal<String> {
    Personal::new(Subject::Candidate(MIRA), text.to_owned())
}

pub fn dimension(key: &str, weight: f64) -> Dimension {
    let weight = Weight::parse("weight", weight).expect("in range");
    Dimension { key: key.into(), label: key.into(), weight }
}

pub fn rubric() -> Vec<Dimension> {
    vec![dimension("design", 0.3), dimension("depth", 0.2), dimension("manners", 0.5)]
}

pub fn job_question(id: QuestionId, dimensions: &[&str]) -> Question {
    Question {
        question_id: id,
        text: "What did you build last?".into(),
        question_type: QuestionType::Behavioral,
        difficulty: Difficulty::Warmup,
        weight: 10,
        dimensions: dimensions.iter().map(|key| (*key).to_owned()).collect(),
        expected_keywords: vec!["users|customers".into()],
    }
}

pub fn description() -> Description {
    Description {
        title: "Backend Engineer".into(),
        department: None,
        location: None,
        language: "en".into(),
        text: "You build services.".into(),
    }
}

pub fn published_job() -> Vec<job::Event> {
    vec![
        job::Event::Opened { description: description(), hiring_manager: BO },
        job::Event::RubricSet { version: 1, dimensions: rubric() },
        job::Event::QuestionAdded { question: job_question(JOB_QUESTION, &["design"]) },
        job::Event::Published {},
    ]
}

pub fn invited(id: MemberId, role: Role) -> member::Event {
    let own = |text: &str| Personal::new(Subject::Member(id), text.to_owned());
    member::Event::Invited {
        email: own("person@example.com"),
        full_name: own("A Person"),
        role,
        department: None,
    }
}

pub fn joined() -> member::Event {
    member::Event::Joined { account_id: AccountId(Uuid::from_u128(60)) }
}

pub fn registered() -> candidate::Event {
    candidate::Event::Registered {
        profile: candidate::Profile {
            full_name: personal("Mira Okafor"),
            email: personal("mira@example.com"),
            phone: None,
            source: None,
        },
    }
}

pub fn submitted() -> application::Event {
    application::Event::Submitted { candidate_id: MIRA, job_id: JOB }
}

pub fn uploaded() -> resume::Event {
    resume::Event::Uploaded {
        candidate_id: MIRA,
        file: resume::File {
            hash: "ab".repeat(32),
            name: personal("mira.pdf"),
            size_bytes: 1_000,
            media_type: "application/pdf".into(),
        },
    }
}

/// A company in which an interview can be held.
pub fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.jobs.insert(JOB, state::<Job>(noon(), published_job()));
    facts.candidates.insert(MIRA, state::<Candidate>(noon(), [registered()]));
    facts.applications.insert(APPLICATION, state(noon(), [submitted()]));
    facts.resumes.insert(RESUME, state(noon(), [uploaded()]));
    facts.members.insert(ADA, state::<Member>(noon(), [invited(ADA, Role::Hr), joined()]));
    facts.members.insert(BO, state::<Member>(noon(), [invited(BO, Role::HiringManager), joined()]));
    facts.members.insert(CY, state::<Member>(noon(), [invited(CY, Role::Employee)]));
    facts
}

pub fn round(mode: Mode) -> Round {
    Round {
        candidate_id: MIRA,
        job_id: JOB,
        application_id: APPLICATION,
        round_number: 1,
        round_type: RoundType::TechnicalAi,
        mode,
        interviewer_id: (mode != Mode::AiConducted).then_some(ADA),
        hiring_manager: BO,
        resume_id: Some(RESUME),
        rubric_version: 1,
        conversation: Conversation::default(),
        restart_of: None,
    }
}

pub fn scheduled(mode: Mode) -> Event {
    Event::Scheduled { round: Some(round(mode)), at: noon(), duration_minutes: 45 }
}

pub fn consented() -> Event {
    Event::ConsentGiven { purposes: vec![ConsentPurpose::AiAnalysis] }
}

pub fn candidate_joined() -> Event {
    Event::Joined { party: Party::Candidate }
}

pub fn interviewer_joined() -> Event {
    Event::Joined { party: Party::Interviewer }
}

/// A round that goes on, with the candidate's consent.
pub fn in_progress(mode: Mode) -> Vec<Event> {
    let mut events = vec![scheduled(mode), consented(), candidate_joined()];
    if mode != Mode::AiConducted {
        events.push(interviewer_joined());
    }
    events.push(Event::Started {});
    events
}

pub fn asked(n: u128, sequence: u32) -> Event {
    asked_about(n, sequence, &["design"])
}

pub fn asked_about(n: u128, sequence: u32, dimensions: &[&str]) -> Event {
    Event::QuestionAsked {
        question_id: question(n),
        sequence,
        job_question_id: None,
        text: QuestionText::Own { text: personal("Why events?") },
        question_type: QuestionType::Technical,
        difficulty: Difficulty::Standard,
        dimensions: dimensions.iter().map(|key| (*key).to_owned()).collect(),
        asked_by: AskedBy::Ai { provenance: provenance() },
    }
}

pub fn answered(question_n: u128, answer_n: u128, sequence: u32) -> Event {
    Event::AnswerRecorded {
        answer_id: answer(answer_n),
        question_id: question(question_n),
        sequence,
        text: personal("Because they happened."),
        response_time_ms: 0,
    }
}

/// These facts, and an interview with this history.
pub fn facts_with(events: Vec<Event>) -> Facts {
    let mut facts = facts();
    facts.interviews.insert(INTERVIEW, state::<Interview>(noon(), events));
    facts
}
