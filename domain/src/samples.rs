//! One realistic, fixed sample of every event. The golden samples under `schemas/` are made of them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::aggregate::Aggregate;
use crate::caller::{Actor, Role};
use crate::event::Event;
use crate::ids::{
    AccountId, AnswerId, ApiKeyId, ApplicationId, CandidateId, CompanyId, CompanyRequestId,
    InterviewId, JobId, MemberId, QuestionId, ResumeId, RoleId,
};
use crate::permission::Action;
use crate::personal::{Personal, Subject};
use crate::values::{HumanScore, Provenance, Score, Share, Weight};
use crate::{
    access, account, ai_call, application, candidate, company, company_request, custom_role,
    interview, job, member, observation, resume, verdict,
};

const fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0198_5d2e_7a00_7000_8000_0000_0000_0000 + n)
}

/// The company of all samples.
pub const COMPANY: CompanyId = CompanyId(id(0x01));
const ACCOUNT: AccountId = AccountId(id(0x02));
const REQUEST: CompanyRequestId = CompanyRequestId(id(0x05));
const API_KEY: ApiKeyId = ApiKeyId(id(0x06));
const ROLE: RoleId = RoleId(id(0x07));
const RECRUITER: MemberId = MemberId(id(0x03));
const MANAGER: MemberId = MemberId(id(0x04));
const JOB: JobId = JobId(id(0x10));
const WARMUP: QuestionId = QuestionId(id(0x11));
const CANDIDATE: CandidateId = CandidateId(id(0x20));
const APPLICATION: ApplicationId = ApplicationId(id(0x21));
const RESUME: ResumeId = ResumeId(id(0x22));
const INTERVIEW: InterviewId = InterviewId(id(0x30));
const ABANDONED: InterviewId = InterviewId(id(0x31));
const ASKED: QuestionId = QuestionId(id(0x32));
const FOLLOW_UP: QuestionId = QuestionId(id(0x33));
const ANSWER: AnswerId = AnswerId(id(0x34));
const ACCESS: Uuid = id(0x35);
const VERDICT: Uuid = id(0x40);
const CALL: Uuid = id(0x50);
const READS: Uuid = id(0x60);

const TOKEN_HASH: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const FILE_HASH: &str = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9";
const REQUEST_HASH: &str = "baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096";

/// The stream that holds the samples of `aggregate`.
#[must_use]
pub fn stream(aggregate: &str) -> Uuid {
    match aggregate {
        access::Access::NAME => READS,
        account::Account::NAME => ACCOUNT.0,
        application::Application::NAME => APPLICATION.0,
        candidate::Candidate::NAME => CANDIDATE.0,
        company::Company::NAME => COMPANY.0,
        company_request::CompanyRequest::NAME => REQUEST.0,
        job::Job::NAME => JOB.0,
        member::Member::NAME => RECRUITER.0,
        resume::Resume::NAME => RESUME.0,
        verdict::Verdict::NAME => VERDICT,
        // What is observed in an interview and what models were asked about it share its id.
        _ => INTERVIEW.0,
    }
}

/// Everybody whose data stands in the samples.
#[must_use]
pub fn subjects() -> [Subject; 4] {
    [
        Subject::Account(ACCOUNT),
        Subject::Candidate(CANDIDATE),
        Subject::CompanyRequest(REQUEST),
        Subject::Member(RECRUITER),
    ]
}

/// Who caused the samples.
#[must_use]
pub fn actor() -> Actor {
    Actor::Member(RECRUITER)
}

/// When the samples happened.
#[must_use]
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_753_952_400, 0).unwrap_or_default()
}

fn minute(n: i64) -> DateTime<Utc> {
    start() + TimeDelta::minutes(n)
}

fn of_candidate<T>(value: T) -> Personal<T> {
    Personal::new(Subject::Candidate(CANDIDATE), value)
}

fn text(value: &str) -> Personal<String> {
    of_candidate(value.to_owned())
}

fn texts(values: &[&str]) -> Personal<Vec<String>> {
    of_candidate(strings(values))
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn score(number: f64) -> Score {
    Score::parse("score", number).expect("a sample's score is in range")
}

fn share(number: f64) -> Share {
    Share::parse("share", number).expect("a sample's share is in range")
}

fn weight(number: f64) -> Weight {
    Weight::parse("weight", number).expect("a sample's weight is in range")
}

fn human_score(number: i64) -> HumanScore {
    HumanScore::parse("score", number).expect("a sample's score is in range")
}

fn provenance() -> Provenance {
    Provenance {
        call_id: CALL,
        provider: "openai".into(),
        model: "gpt-4o-mini".into(),
        prompt_version: "3".into(),
        fallback: false,
    }
}

/// One sample of every event, by aggregate in the order of their stored names.
#[must_use]
pub fn all() -> Vec<Event> {
    let mut events: Vec<Event> = vec![];
    events.extend(accesses().into_iter().map(Event::from));
    events.extend(accounts().into_iter().map(Event::from));
    events.extend(ai_calls().into_iter().map(Event::from));
    events.extend(applications().into_iter().map(Event::from));
    events.extend(candidates().into_iter().map(Event::from));
    events.extend(companies().into_iter().map(Event::from));
    events.extend(company_requests().into_iter().map(Event::from));
    events.extend(interviews().into_iter().map(Event::from));
    events.extend(jobs().into_iter().map(Event::from));
    events.extend(members().into_iter().map(Event::from));
    events.extend(observations().into_iter().map(Event::from));
    events.extend(resumes().into_iter().map(Event::from));
    events.extend(verdicts().into_iter().map(Event::from));
    events
}

/// Events as they look otherwise: with the members that those of [`all`] leave out.
#[must_use]
pub fn others() -> Vec<Event> {
    let human = || interview::Round {
        round_type: interview::RoundType::ScreeningHuman,
        mode: interview::Mode::HumanOnly,
        interviewer_id: Some(MANAGER),
        ..round()
    };
    let asked_by = || interview::AskedBy::Member { member_id: MANAGER };
    let mut events: Vec<Event> = vec![
        member::Event::CustomRoleAssigned { from: Some(ROLE), to: None }.into(),
        candidate::Event::ProfileChanged { profile: profile() }.into(),
        interview::Event::Planned { round: human() }.into(),
        interview::Event::Scheduled {
            round: Some(human()),
            at: minute(2_880),
            duration_minutes: 30,
        }
        .into(),
        interview::Event::QuestionAsked {
            question_id: ASKED,
            sequence: 1,
            job_question_id: Some(WARMUP),
            text: interview::QuestionText::Job {
                text: "Which system that you built are you proud of?".into(),
            },
            question_type: job::QuestionType::Behavioral,
            difficulty: job::Difficulty::Warmup,
            dimensions: strings(&["communication"]),
            asked_by: asked_by(),
        }
        .into(),
        interview::Event::FollowUpAsked {
            question_id: FOLLOW_UP,
            sequence: 3,
            follow_up_of: ASKED,
            text: text("What would you do differently today?"),
            asked_by: asked_by(),
        }
        .into(),
    ];
    events.extend(verdicts().into_iter().filter_map(|event| match event {
        verdict::Event::Opened { record } => {
            let mode = interview::Mode::HumanOnly;
            let record = verdict::Record { mode, interviewer_id: Some(MANAGER), ..record };
            Some(verdict::Event::Opened { record }.into())
        }
        _ => None,
    }));
    events
}

fn accounts() -> Vec<account::Event> {
    let email = Personal::new(Subject::Account(ACCOUNT), "ada.lindqvist@northwind.example".into());
    let session_id = id(0x60);
    vec![
        account::Event::Registered { email },
        account::Event::SignedIn {
            session_id,
            method: account::SignInMethod::Password,
            at: minute(0),
        },
        account::Event::SignInFailed { count: 4, at: minute(1) },
        account::Event::Locked { until: minute(16) },
        account::Event::Unlocked { at: minute(12) },
        account::Event::EmailVerified { at: minute(12) },
        account::Event::PasswordChanged { at: minute(12) },
        account::Event::PasswordResetRequested { at: minute(11) },
        account::Event::SecondFactorEnrolled { at: minute(13) },
        account::Event::SecondFactorRemoved { at: minute(14) },
        account::Event::SecondFactorTakenAway {
            company_id: COMPANY,
            by: actor().to_string(),
            at: minute(14),
        },
        account::Event::ApiKeyCreated {
            key_id: API_KEY,
            company_id: COMPANY,
            rights: vec![Action::ReadJob, Action::WriteCandidate],
            expires_at: minute(129_600),
            at: minute(15),
        },
        account::Event::ApiKeyRevoked { key_id: API_KEY, company_id: COMPANY, at: minute(18) },
        account::Event::SignOnConfigured {
            company_id: COMPANY,
            issuer: "https://login.northwind.example".into(),
            at: minute(19),
        },
        account::Event::SignedOut { session_id, at: minute(20) },
        account::Event::SessionsRevoked {
            reason: account::RevocationReason::TokenReused,
            count: 1,
            at: minute(30),
        },
    ]
}

fn accesses() -> Vec<access::Event> {
    use access::{Fields, Purpose, View, What};
    vec![access::Event::Viewed {
        purpose: Purpose::Hiring,
        views: vec![
            View {
                what: What::Candidate,
                subject_id: CANDIDATE.0,
                candidate_id: CANDIDATE,
                fields: vec![Fields::Contact, Fields::Notes],
            },
            View {
                what: What::Report,
                subject_id: VERDICT,
                candidate_id: CANDIDATE,
                fields: vec![Fields::Scores],
            },
        ],
    }]
}

fn ai_calls() -> Vec<ai_call::Event> {
    vec![
        ai_call::Event::Completed(ai_call::Call {
            purpose: ai_call::Purpose::JudgeAnswer,
            provenance: provenance(),
            request_hash: REQUEST_HASH.into(),
            tokens_in: 812,
            tokens_out: 96,
            cost_micro_usd: 179,
            latency_ms: 1_240,
            attempt: 1,
            prompt: text("Judge this answer: \"I put a queue between the two services.\""),
            answer: text("{\"completeness\": 0.8, \"score\": 74.5}"),
        }),
        ai_call::Event::Failed {
            call_id: id(0x51),
            purpose: ai_call::Purpose::ProposeScores,
            code: "AI_001".into(),
            n_attempts: 3,
        },
    ]
}

fn applications() -> Vec<application::Event> {
    use application::{Event, Status};
    vec![
        Event::Submitted { candidate_id: CANDIDATE, job_id: JOB },
        Event::StatusChanged {
            from: Status::Screening,
            to: Status::Interviewing,
            reason: Some(text("Strong background in payment systems.")),
        },
        Event::Withdrawn { reason: Some(text("Accepted another offer.")) },
    ]
}

fn profile() -> candidate::Profile {
    candidate::Profile {
        full_name: text("Mira Okafor"),
        email: text("mira.okafor@mail.example"),
        phone: Some(text("+46 70 123 45 67")),
        source: Some("referral".into()),
    }
}

fn candidates() -> Vec<candidate::Event> {
    use candidate::Event;
    vec![
        Event::Registered { profile: profile() },
        Event::ProfileChanged { profile: candidate::Profile { phone: None, ..profile() } },
        Event::Assigned { member_id: MANAGER },
        Event::Unassigned {},
        Event::NoteAdded { text: text("Prefers afternoons, works remotely on Fridays.") },
        Event::AccountLinked { account_id: ACCOUNT },
        Event::AccountUnlinked {},
        Event::Archived {},
    ]
}

fn companies() -> Vec<company::Event> {
    use company::Event;
    vec![
        Event::Registered {
            name: "Northwind Payments".into(),
            domain: Some("northwind.example".into()),
        },
        Event::Renamed { name: "Northwind".into() },
        Event::DomainChanged {
            from: Some("northwind.example".into()),
            to: Some("northwind-pay.example".into()),
        },
        Event::OperatorEntered { session_id: id(0x61) },
        Event::RoleDefined {
            role_id: ROLE,
            name: "Bar raiser".into(),
            permissions: vec![permission(Action::ReadInterview, custom_role::Reach::All)],
        },
        Event::RoleChanged {
            role_id: ROLE,
            name: "Bar raiser".into(),
            permissions: vec![
                permission(Action::ReadInterview, custom_role::Reach::All),
                permission(Action::SignVerdict, custom_role::Reach::Assigned),
                permission(Action::ReadVerdict, custom_role::Reach::OwnJobs),
            ],
        },
        Event::RoleRemoved { role_id: ROLE },
    ]
}

fn permission(right: Action, reach: custom_role::Reach) -> custom_role::Permission {
    custom_role::Permission { right, reach }
}

fn company_requests() -> Vec<company_request::Event> {
    use company_request::Event;
    let own = |value: &str| Personal::new(Subject::CompanyRequest(REQUEST), value.to_owned());
    vec![
        Event::Submitted {
            company_name: "Northwind Payments".into(),
            domain: Some("northwind.example".into()),
            contact_name: own("Ada Lindqvist"),
            contact_email: own("ada.lindqvist@northwind.example"),
        },
        Event::Approved { company_id: COMPANY },
        Event::Rejected { reason: own("There is no such company in the register.") },
    ]
}

fn round() -> interview::Round {
    interview::Round {
        candidate_id: CANDIDATE,
        job_id: JOB,
        application_id: APPLICATION,
        round_number: 1,
        round_type: interview::RoundType::TechnicalAi,
        mode: interview::Mode::AiConducted,
        interviewer_id: None,
        hiring_manager: MANAGER,
        resume_id: Some(RESUME),
        rubric_version: 1,
        conversation: job::Conversation::default(),
        restart_of: Some(ABANDONED),
    }
}

fn interviews() -> Vec<interview::Event> {
    let mut events = rounds();
    events.extend(conversation());
    events
}

fn rounds() -> Vec<interview::Event> {
    use interview::{Event, Party};
    vec![
        Event::Planned { round: round() },
        Event::Scheduled { round: Some(round()), at: minute(2_880), duration_minutes: 45 },
        Event::Rescheduled { at: minute(4_320), duration_minutes: 60 },
        Event::InterviewerAssigned { member_id: MANAGER },
        Event::AccessIssued {
            access_id: ACCESS,
            token_hash: TOKEN_HASH.into(),
            expires_at: minute(10_080),
        },
        Event::AccessFirstUsed { access_id: ACCESS },
        Event::AccessRevoked { access_id: ACCESS },
        Event::ConsentGiven { purposes: vec![interview::ConsentPurpose::AiAnalysis] },
        Event::ConsentWithdrawn {},
        Event::Joined { party: Party::Candidate },
        Event::Left { party: Party::Candidate },
        Event::Started {},
        Event::Completed { reason: interview::CompletionReason::AllAsked },
        Event::Abandoned {},
        Event::Cancelled { reason: Some(text("The candidate is ill.")) },
        Event::MarkedNoShow {},
    ]
}

fn conversation() -> Vec<interview::Event> {
    use interview::{AskedBy, Event, Judgement, QuestionText};
    vec![
        Event::QuestionAsked {
            question_id: ASKED,
            sequence: 1,
            job_question_id: None,
            text: QuestionText::Own {
                text: text("You moved a ledger to events. What broke first, and why?"),
            },
            question_type: job::QuestionType::Technical,
            difficulty: job::Difficulty::Standard,
            dimensions: strings(&["system_design"]),
            asked_by: AskedBy::Ai { provenance: provenance() },
        },
        Event::AnswerRecorded {
            answer_id: ANSWER,
            question_id: ASKED,
            sequence: 2,
            text: text("I put a queue between the two services, so a replay had to be idempotent."),
            response_time_ms: 48_200,
        },
        Event::AnswerJudged {
            answer_id: ANSWER,
            judgement: Judgement {
                completeness: share(0.8),
                score: score(74.5),
                feedback: text("Names idempotency, leaves out ordering."),
                provenance: provenance(),
            },
        },
        Event::FollowUpAsked {
            question_id: FOLLOW_UP,
            sequence: 3,
            follow_up_of: ASKED,
            text: text("How did you keep the order of one account's events?"),
            asked_by: AskedBy::Ai { provenance: provenance() },
        },
        Event::QuestionTimedOut { question_id: FOLLOW_UP },
        Event::DifficultyChanged { from: job::Difficulty::Standard, to: job::Difficulty::Advanced },
        Event::NoteAdded {
            member_id: MANAGER,
            text: text("Calm, thinks aloud, asks back before answering."),
        },
    ]
}

fn description() -> job::Description {
    job::Description {
        title: "Senior Backend Engineer".into(),
        department: Some("Payments".into()),
        location: Some("Stockholm".into()),
        language: "en".into(),
        text: "You design, build and run the services that move money.".into(),
    }
}

fn dimensions() -> Vec<job::Dimension> {
    let dimension = |key: &str, label: &str, number| job::Dimension {
        key: key.into(),
        label: label.into(),
        weight: weight(number),
    };
    vec![
        dimension("system_design", "System design", 0.6),
        dimension("communication", "Communication", 0.4),
    ]
}

fn jobs() -> Vec<job::Event> {
    use job::Event;
    vec![
        Event::Opened { description: description(), hiring_manager: MANAGER },
        Event::Described {
            description: job::Description {
                location: Some("Stockholm or remote".into()),
                ..description()
            },
        },
        Event::QuestionAdded {
            question: job::Question {
                question_id: WARMUP,
                text: "Which system that you built are you proud of?".into(),
                question_type: job::QuestionType::Behavioral,
                difficulty: job::Difficulty::Warmup,
                weight: 10,
                dimensions: strings(&["communication"]),
                expected_keywords: strings(&["users|customers", "trade-off"]),
            },
        },
        Event::QuestionRemoved { question_id: WARMUP },
        Event::RubricSet { version: 1, dimensions: dimensions() },
        Event::InterviewingConfigured {
            conversation: job::Conversation {
                answer_timeout_s: 240,
                ..job::Conversation::default()
            },
        },
        Event::Published {},
        Event::Closed {},
    ]
}

fn members() -> Vec<member::Event> {
    use member::Event;
    let own = |value: &str| Personal::new(Subject::Member(RECRUITER), value.to_owned());
    vec![
        Event::Invited {
            email: own("ada.lindqvist@northwind.example"),
            full_name: own("Ada Lindqvist"),
            role: Role::Hr,
            department: Some("People".into()),
        },
        Event::InvitationRenewed {},
        Event::Joined { account_id: ACCOUNT },
        Event::ProfileChanged {
            full_name: own("Ada Lindqvist-Berg"),
            department: Some("Recruiting".into()),
            manager_id: Some(MANAGER),
        },
        Event::RoleAssigned { from: Role::Hr, to: Role::CompanyAdmin },
        Event::CustomRoleAssigned { from: None, to: Some(ROLE) },
        Event::Deactivated {},
        Event::Reactivated {},
    ]
}

fn observations() -> Vec<observation::Event> {
    use observation::{Event, InsightType, Severity};
    vec![
        Event::InsightRaised {
            insight_type: InsightType::ResponseTime,
            severity: Severity::Info,
            ms_from_start: 48_200,
            value: Some(48.2),
            explanation: text("Took 48 s, where 20 s are usual for this question."),
        },
        Event::IntegrityFlagged {
            insight_type: InsightType::Paste,
            severity: Severity::Warning,
            ms_from_start: 212_000,
            explanation: text("A text of 640 characters was pasted into the answer."),
        },
    ]
}

fn resumes() -> Vec<resume::Event> {
    use resume::{Event, File, ParsedFacts};
    let domains = [("payments", "expert"), ("kubernetes", "intermediate")];
    let domains = domains.map(|(domain, level)| (domain.to_owned(), level.to_owned()));
    vec![
        Event::Uploaded {
            candidate_id: CANDIDATE,
            file: File {
                hash: FILE_HASH.into(),
                name: text("mira-okafor.pdf"),
                size_bytes: 184_320,
                media_type: "application/pdf".into(),
            },
        },
        Event::TextExtracted {
            text: text("Mira Okafor. Backend engineer, eight years in payments."),
            n_chars: 55,
            truncated: false,
        },
        Event::Parsed {
            facts: of_candidate(ParsedFacts {
                skills: strings(&["Rust", "PostgreSQL", "Kafka"]),
                experience_years: 8.0,
                education: strings(&["MSc Computer Science, KTH"]),
                previous_roles: strings(&["Backend Engineer, Ledgerly"]),
                technical_domains: BTreeMap::from(domains),
            }),
            provenance: provenance(),
        },
        Event::ParsingFailed { code: "RESUME_UNSUPPORTED_KIND".into() },
    ]
}

fn verdicts() -> Vec<verdict::Event> {
    use verdict::Event;
    vec![
        Event::Opened {
            record: verdict::Record {
                interview_id: INTERVIEW,
                candidate_id: CANDIDATE,
                job_id: JOB,
                application_id: APPLICATION,
                interview_end: interview::Status::Completed,
                mode: interview::Mode::AiConducted,
                interviewer_id: None,
                hiring_manager: MANAGER,
                rubric_version: 1,
                dimensions: dimensions(),
                answers: vec![verdict::CitableAnswer {
                    answer_id: ANSWER,
                    question_id: ASKED,
                    dimensions: strings(&["system_design"]),
                }],
                ai_may_propose: true,
            },
        },
        Event::Proposed { proposal: proposal() },
        Event::AssessmentFailed { code: "AI_001".into() },
        Event::AssessmentRestarted { attempt: 2 },
        Event::Signed { signature: signature() },
        Event::PrivateNotesRecorded {
            member_id: RECRUITER,
            text: text("Expects more than the band allows; talk to finance first."),
        },
    ]
}

fn proposal() -> verdict::Proposal {
    verdict::Proposal {
        scores: vec![verdict::DimensionScore {
            dimension: "system_design".into(),
            score: score(74.5),
            confidence: share(0.7),
            evidence: vec![verdict::Evidence {
                answer_id: ANSWER,
                quote: text("a replay had to be idempotent"),
                why: text("Shows the consequence of at-least-once delivery."),
            }],
        }],
        unscored: strings(&["communication"]),
        overall: score(74.5),
        recommendation: verdict::Recommendation::Review,
        strengths: texts(&["Thinks in failure modes."]),
        weaknesses: texts(&["Ordering was left open."]),
        summary: text("Solid on delivery guarantees, one open question on ordering."),
        provenance: provenance(),
    }
}

fn signature() -> verdict::Signature {
    use verdict::{Ground, ScoreKind, SignedScore};
    verdict::Signature {
        signer: RECRUITER,
        decision: verdict::Decision::Advance,
        scores: vec![
            SignedScore {
                kind: ScoreKind::Overall,
                score: human_score(8),
                grounds: vec![Ground::Answer { answer_id: ANSWER }],
            },
            SignedScore {
                kind: ScoreKind::Communication,
                score: human_score(7),
                grounds: vec![Ground::OwnNote {}],
            },
        ],
        strengths: texts(&["Knows what breaks."]),
        weaknesses: texts(&[]),
        notes: Some(text("Clear and friendly; would work with her tomorrow.")),
        proposal_seen: true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_has_exactly_one_sample() {
        let named: Vec<String> = all().iter().map(crate::schema::stored_name).collect();
        let sampled: BTreeSet<String> = named.iter().cloned().collect();
        assert_eq!(sampled.len(), named.len(), "an event is sampled twice");
        let declared: BTreeSet<String> = crate::schema::names()
            .into_iter()
            .map(|(aggregate, kind)| format!("{aggregate}.{kind}"))
            .collect();
        assert_eq!(sampled, declared);
    }
}
