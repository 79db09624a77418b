//! The one port to artificial intelligence: four typed tasks, typed answers, and where each came from.
//!
//! Everything that answers, the built-in rules, a model behind an endpoint, an ordered list of
//! both, is an [`Ai`]. What comes out of it has been checked against the request: a score lies in
//! its range and a citation really stands in the answer it names. The types here are plain data
//! and know nothing of the product's aggregates, so a stored event can change without a prompt
//! changing and the other way round.
//!
//! Absent on purpose: storage, budgets and consent. They are facts of an interview, so the
//! reactors know them before they ask.

pub mod checks;
pub mod guard;
pub mod openai;
pub mod prompts;
pub mod quota;
pub mod rules;
pub mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Answers the four tasks. Implemented by each adapter and by the list of them.
#[async_trait]
pub trait Ai: Send + Sync {
    /// Judges one answer: how complete it is, how good, and whether to ask once more.
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement>;

    /// Chooses what to ask next.
    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep>;

    /// Proposes a score per rubric dimension, each with the answers it rests on.
    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal>;

    /// Reads the facts out of a résumé's text.
    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts>;
}

/// An answer with its origin, or why there is none.
pub type Outcome<T> = Result<Answered<T>, Box<Failed>>;

/// The tasks, by the names under which prompts, metrics and records know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// See [`JudgeAnswer`].
    JudgeAnswer,
    /// See [`NextQuestion`].
    NextQuestion,
    /// See [`ProposeScores`].
    ProposeScores,
    /// See [`ReadResume`].
    ReadResume,
}

impl Task {
    /// The stored name, such as `judge_answer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JudgeAnswer => "judge_answer",
            Self::NextQuestion => "next_question",
            Self::ProposeScores => "propose_scores",
            Self::ReadResume => "read_resume",
        }
    }
}

/// What a job says about how its interviews are held. All of it is optional.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brief {
    /// The job's title, as context for the model.
    pub job_title: Option<String>,
    /// BCP 47 tag of the language that questions and feedback are written in; none means English.
    pub language: Option<String>,
    /// The company's own instructions for this job, added after the fixed ones.
    pub instructions: Option<String>,
    /// The model this job wants. A provider that does not offer it uses its own.
    pub model: Option<String>,
}

/// How hard a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// Opens the talk.
    Warmup,
    /// The bulk of an interview.
    Standard,
    /// Looks for the limit.
    Advanced,
}

/// One question and its answer, to be judged.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeAnswer {
    /// How the job wants it.
    #[serde(default)]
    pub brief: Brief,
    /// The question as it was asked.
    pub question: String,
    /// The job's own kind of question, such as `TECHNICAL`; context only.
    pub question_type: String,
    /// How hard the question is.
    pub difficulty: Difficulty,
    /// What a good answer speaks of. `a|b` inside one keyword are synonyms.
    pub expected_keywords: Vec<String>,
    /// What was answered. Personal data.
    pub answer: String,
    /// Whether this question was followed up before; there is at most one follow-up.
    pub already_followed_up: bool,
}

/// How an answer was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// 0 (nothing of it answered) to 1 (all of it).
    pub completeness: f64,
    /// 0 to 100 with two decimal places.
    pub score: f64,
    /// For those who read the interview, in a sentence or two. Personal data.
    pub feedback: String,
    /// Which expected keywords the answer speaks of, as they were given.
    pub matched_keywords: Vec<String>,
    /// Which it does not.
    pub missing_keywords: Vec<String>,
    /// What to ask once more; none if the answer suffices or was already followed up.
    pub follow_up: Option<String>,
}

/// The talk so far and the questions left, to choose from.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct NextQuestion {
    /// How the job wants it.
    #[serde(default)]
    pub brief: Brief,
    /// The job's questions that were not asked yet.
    pub remaining: Vec<RemainingQuestion>,
    /// What was asked and answered, oldest first; at most the last five are looked at.
    pub transcript: Vec<Exchange>,
    /// The difficulty the talk has arrived at.
    pub wanted: Difficulty,
    /// Whether a question of the provider's own may be asked instead of a remaining one.
    pub may_invent: bool,
}

/// A question of the job that can still be asked.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RemainingQuestion {
    /// The job's id of the question.
    pub id: String,
    /// Its text.
    pub text: String,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// How much it matters; greater comes first.
    pub weight: f64,
    /// Its place in the job's list; smaller comes first.
    pub order: u32,
}

/// One question with its answer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was asked.
    pub question: String,
    /// What was answered. Personal data.
    pub answer: String,
}

/// What comes next in a talk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Ask this question of the job, by its id.
    Job(String),
    /// Ask this text, which is the provider's own.
    Own(String),
    /// Nothing is left to ask.
    Close,
}

/// An interview's rubric and answered questions, to be scored.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ProposeScores {
    /// How the job wants it.
    #[serde(default)]
    pub brief: Brief,
    /// What is scored.
    pub dimensions: Vec<Dimension>,
    /// What was asked and answered.
    pub answers: Vec<AnsweredQuestion>,
}

/// One dimension of the rubric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its key within the rubric.
    pub key: String,
    /// What people call it.
    pub label: String,
    /// Its share of the overall score, relative to the other weights.
    pub weight: f64,
}

/// One answered question of an interview.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AnsweredQuestion {
    /// Identifies the answer; citations name it.
    pub answer_id: String,
    /// The question as it was asked.
    pub question: String,
    /// Which rubric dimensions the question measures. One that names none is evidence for none.
    pub dimension_keys: Vec<String>,
    /// The job's own kind of question.
    pub question_type: String,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// What a good answer speaks of. `a|b` inside one keyword are synonyms.
    pub expected_keywords: Vec<String>,
    /// What was answered; blank if nothing was. Personal data.
    pub answer: String,
    /// The score the answer got when it was judged, if it was.
    pub judged_score: Option<f64>,
}

impl ProposeScores {
    /// The answers on which a score of this dimension can rest: those to questions that measure
    /// it and that say something.
    pub fn evidence_for<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a AnsweredQuestion> {
        self.answers
            .iter()
            .filter(move |a| a.dimension_keys.iter().any(|k| k == key))
            .filter(|a| !a.answer.trim().is_empty())
    }
}

/// A proposed assessment. Advice: a person signs or does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// One per dimension that has evidence, in the rubric's order.
    pub scores: Vec<DimensionScore>,
    /// Keys of the dimensions no answer speaks for. They get no score and no default.
    pub unscored: Vec<String>,
    /// Mean of the scores by the rubric's weights, normalised over the scored dimensions, two
    /// decimal places. None if nothing could be scored.
    pub overall: Option<f64>,
    /// What is advised.
    pub recommendation: Recommendation,
    /// What spoke for the candidate. Personal data.
    pub strengths: Vec<String>,
    /// What spoke against. Personal data.
    pub weaknesses: Vec<String>,
    /// The whole in a few sentences. Personal data.
    pub summary: String,
}

/// The proposed score of one dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DimensionScore {
    /// The dimension's key.
    pub key: String,
    /// 0 to 100 with two decimal places.
    pub score: f64,
    /// 0 (a guess) to 1 (certain).
    pub confidence: f64,
    /// What the score rests on; never empty.
    pub evidence: Vec<Citation>,
}

/// A passage of an answer, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The answer that is cited.
    pub answer_id: String,
    /// Words that stand in that answer. Personal data.
    pub quote: String,
    /// What they show.
    pub why: String,
}

/// What an assessment advises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Recommendation {
    /// Go on with this candidate.
    Pass,
    /// A person should look closer before deciding either way.
    Review,
    /// Do not go on.
    Fail,
}

/// A résumé's text, to be read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadResume {
    /// How the job wants it.
    #[serde(default)]
    pub brief: Brief,
    /// The extracted text. Personal data.
    pub text: String,
    /// The day on which `present` means, as `YYYY-MM-DD`.
    pub today: chrono::NaiveDate,
}

/// What a résumé says about its owner. Personal data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResumeFacts {
    /// Skills under their usual names, in order of first mention.
    pub skills: Vec<String>,
    /// Years of work, overlapping jobs counted once, one decimal place. 0 if none are stated.
    pub experience_years: f64,
    /// One line per school, degree or certificate.
    pub education: Vec<String>,
    /// One line per position held, as the résumé orders them.
    pub previous_roles: Vec<String>,
    /// Fields of work with how well they are known.
    pub technical_domains: BTreeMap<String, Level>,
}

/// How well a field is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Has touched it.
    Beginner,
    /// Works in it.
    Intermediate,
    /// Is at home in it.
    Advanced,
}

/// Shows that a value is there and hides what it says, because requests hold what people wrote.
macro_rules! hide_contents {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}
hide_contents!(
    Brief,
    JudgeAnswer,
    NextQuestion,
    RemainingQuestion,
    Exchange,
    ProposeScores,
    AnsweredQuestion,
    ReadResume
);

/// An answer and everything that is known about how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered<T> {
    /// The checked answer.
    pub value: T,
    /// Who gave it; goes into the event that carries the answer.
    pub provenance: Provenance,
    /// The call itself, for the record of calls.
    pub call: Call,
    /// Calls to providers earlier in the list, which failed. Empty if the first one answered.
    pub failed_calls: Vec<FailedCall>,
}

/// Who gave an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The provider's configured name, or `rules`.
    pub provider: String,
    /// The model as the provider names it.
    pub model: String,
    /// Which version of the prompt was used, such as `judge_answer/1`.
    pub prompt_version: String,
    /// Whether an earlier provider of the list had failed before.
    pub fallback: bool,
}

/// What one answered call cost.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked for.
    pub task: Task,
    /// SHA-256 in lowercase hex of the canonical request: task, prompt version, provider, model
    /// and content, keys sorted.
    pub request_hash: String,
    /// Tokens sent and received, and their price, over all attempts.
    pub usage: Usage,
    /// From the first attempt's start to the answer, waits included, in milliseconds.
    pub latency_ms: u64,
    /// Which attempt succeeded, from 1.
    pub attempt: u32,
    /// The prompt as it was sent. Personal data: to be sealed, never logged. Empty for rules.
    pub prompt: String,
    /// The answer as it was received. Personal data: to be sealed, never logged. Empty for rules.
    pub raw_answer: String,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("task", &self.task)
            .field("request_hash", &self.request_hash)
            .field("usage", &self.usage)
            .field("latency_ms", &self.latency_ms)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Tokens and what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens received.
    pub tokens_out: u64,
    /// Price in millionths of a US dollar, by the configured prices.
    pub cost_micro_usd: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(other.cost_micro_usd);
    }
}

/// A call that gave no answer; tokens may have been paid for nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCall {
    /// What was asked for.
    pub task: Task,
    /// Which provider, model and prompt failed.
    pub provenance: Provenance,
    /// As in [`Call`].
    pub request_hash: String,
    /// As in [`Call`].
    pub usage: Usage,
    /// As in [`Call`].
    pub latency_ms: u64,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: AiError,
}

/// No provider gave an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// What to tell the caller.
    pub error: AiError,
    /// Each provider's failure, in the order of the list.
    pub calls: Vec<FailedCall>,
}

/// Why there is no answer. Carries nothing of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AiError {
    /// The provider could not be reached, answered too late or failed. Trying later may help.
    #[error("the AI provider is unavailable: {0}")]
    Unavailable(Outage),
    /// The provider asks for fewer requests. Trying after the time helps.
    #[error("the AI provider limits the rate of requests")]
    RateLimited {
        /// How long to wait, if the provider said so.
        retry_after: Option<Duration>,
    },
    /// As many calls were made as the settings allow, and the next one would have to wait too long.
    #[error("more calls to AI providers are not allowed at present")]
    QuotaSpent {
        /// How long it would have had to wait.
        retry_after: Duration,
    },
    /// What the provider answered breaks the contract, in each attempt.
    #[error("the AI provider's answer is not valid: {0}")]
    InvalidAnswer(Violation),
    /// The provider refuses the credentials or the request itself. Trying again does not help.
    #[error("the AI provider refused the request with status {status}")]
    Refused {
        /// The HTTP status; 401 and 403 mean the credentials.
        status: u16,
    },
}

impl AiError {
    /// The public code, which never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "AI_001",
            Self::RateLimited { .. } | Self::QuotaSpent { .. } => "AI_002",
            Self::InvalidAnswer(_) => "AI_INVALID_ANSWER",
            Self::Refused { .. } => "AI_REFUSED",
        }
    }
}

/// How a provider was out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// No connection, or it broke.
    #[error("no connection")]
    Connection,
    /// No complete answer within the time of one attempt.
    #[error("no answer in time")]
    TimedOut,
    /// An HTTP status of the provider's own failure.
    #[error("status {0}")]
    Status(u16),
    /// The list of providers is empty, or they failed for different reasons.
    #[error("no provider could answer")]
    NoProvider,
}

/// How an answer breaks the contract. Names keys and ids, never what a person said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not JSON, or cut off before its end.
    #[error("not complete JSON")]
    NotJson,
    /// JSON, but not of the asked shape.
    #[error("not of the asked shape at `{0}`")]
    WrongShape(String),
    /// The model declined to answer.
    #[error("the model declined")]
    Declined,
    /// A number outside its range.
    #[error("`{0}` is out of range")]
    OutOfRange(&'static str),
    /// A text that must say something is blank or too long.
    #[error("`{0}` is blank or too long")]
    BadText(&'static str),
    /// A keyword that was not among the expected ones.
    #[error("a keyword was not among the expected ones")]
    UnknownKeyword,
    /// A question that is not among the remaining ones, or an own one that was not allowed.
    #[error("the chosen question cannot be asked")]
    UnknownQuestion,
    /// A dimension that is not in the rubric, or stands there twice.
    #[error("a dimension is not in the rubric or stands twice")]
    UnknownDimension,
    /// A dimension with answers got no score.
    #[error("dimension `{0}` has answers but no score")]
    DimensionMissing(String),
    /// A score for a dimension that no answer speaks for, or one that cites nothing.
    #[error("dimension `{0}` is scored without evidence")]
    WithoutEvidence(String),
    /// A citation of an answer that was not given.
    #[error("dimension `{0}` cites an answer that does not exist")]
    UnknownAnswer(String),
    /// A citation of an answer whose question measures something else.
    #[error("dimension `{0}` cites an answer to a question that does not measure it")]
    ForeignEvidence(String),
    /// A quote that does not stand in the cited answer.
    #[error("dimension `{0}` quotes what the answer does not say")]
    InventedQuote(String),
}
