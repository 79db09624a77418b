//! A verdict: an AI may propose, only a person may sign. All between an interview's end and the
//! decision. Opened with a copy of what it rests on, so that nothing else is needed to judge it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Context, PublicCode};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::{AnswerId, ApplicationId, CandidateId, InterviewId, JobId, MemberId, QuestionId};
use crate::interview::{Mode, Status as InterviewStatus};
use crate::job::Dimension;
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::spelled;
use crate::values::{self, HumanScore, Invalid, MAX_NOTE_CHARS, Provenance, Score, Share};

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// A person's decision (VRD-05).
    Decision {
        /// On to the next step.
        Advance = "ADVANCE",
        /// No.
        Reject = "REJECT",
        /// Not yet.
        Hold = "HOLD",
        /// Another round on the same.
        Reassess = "REASSESS",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// A machine's advice (C08).
    Recommendation {
        /// Speaks for the candidate.
        Pass = "PASS",
        /// A person should look closely.
        Review = "REVIEW",
        /// Speaks against.
        Fail = "FAIL",
    }
}

spelled! {
    #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
    /// What a person scores (VRD-04).
    ScoreKind {
        /// All in all.
        Overall = "OVERALL",
        /// Knowledge of the field.
        Technical = "TECHNICAL",
        /// How the person communicates.
        Communication = "COMMUNICATION",
        /// How the person fits in.
        CulturalFit = "CULTURAL_FIT",
    }
}

/// An answer that a verdict may cite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CitableAnswer {
    /// The answer.
    pub answer_id: AnswerId,
    /// The question it answers.
    pub question_id: QuestionId,
    /// Keys of the rubric dimensions the question measures; none means any.
    pub dimensions: Vec<String>,
}

/// What the verdict rests on, copied when it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// The interview.
    pub interview_id: InterviewId,
    /// Its candidate.
    pub candidate_id: CandidateId,
    /// Its job.
    pub job_id: JobId,
    /// Its application.
    pub application_id: ApplicationId,
    /// How it ended: COMPLETED or ABANDONED.
    pub interview_end: InterviewStatus,
    /// Who conducted it.
    pub mode: Mode,
    /// The interviewer, where a person conducted it.
    pub interviewer_id: Option<MemberId>,
    /// Owner of the job.
    pub hiring_manager: MemberId,
    /// Version of the rubric.
    pub rubric_version: u32,
    /// What the rubric scores.
    pub dimensions: Vec<Dimension>,
    /// The recorded answers.
    pub answers: Vec<CitableAnswer>,
    /// Whether the candidate's consent allows a machine to propose.
    pub ai_may_propose: bool,
}

/// A machine's citation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The answer cited.
    pub answer_id: AnswerId,
    /// The words cited.
    pub quote: Personal<String>,
    /// Why they matter.
    pub why: Personal<String>,
}

/// A machine's score of one dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DimensionScore {
    /// Key of the dimension.
    pub dimension: String,
    /// 0 to 100.
    pub score: Score,
    /// 0 to 1.
    pub confidence: Share,
    /// At least one recorded answer.
    pub evidence: Vec<Evidence>,
}

/// A machine's proposal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Proposal {
    /// Scores by dimension.
    pub scores: Vec<DimensionScore>,
    /// Keys of the dimensions without a score, because no answer speaks to them.
    pub unscored: Vec<String>,
    /// Mean of the scores by the weights of their dimensions (VRD-18).
    pub overall: Score,
    /// Advice.
    pub recommendation: Recommendation,
    /// What speaks for the candidate.
    pub strengths: Personal<Vec<String>>,
    /// What speaks against.
    pub weaknesses: Personal<Vec<String>>,
    /// In a few sentences.
    pub summary: Personal<String>,
    /// The recorded call.
    pub provenance: Provenance,
}

/// A citation as a machine gives it.
#[derive(Clone, Debug)]
pub struct GivenEvidence {
    /// The answer cited.
    pub answer_id: AnswerId,
    /// The words cited.
    pub quote: String,
    /// Why they matter.
    pub why: String,
}

/// A score as a machine gives it.
#[derive(Clone, Debug)]
pub struct GivenDimensionScore {
    /// Key of the dimension.
    pub dimension: String,
    /// 0 to 100.
    pub score: f64,
    /// 0 to 1.
    pub confidence: f64,
    /// What it rests on.
    pub evidence: Vec<GivenEvidence>,
}

/// A proposal as a machine gives it.
#[derive(Clone, Debug)]
pub struct GivenProposal {
    /// Scores by dimension.
    pub scores: Vec<GivenDimensionScore>,
    /// Advice.
    pub recommendation: Recommendation,
    /// What speaks for the candidate.
    pub strengths: Vec<String>,
    /// What speaks against.
    pub weaknesses: Vec<String>,
    /// In a few sentences.
    pub summary: String,
    /// The recorded call.
    pub provenance: Provenance,
}

/// What a person's score rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ground {
    /// A recorded answer.
    Answer {
        /// Which.
        answer_id: AnswerId,
    },
    /// The signer's own note, which stands in the same signature.
    OwnNote {},
}

/// A person's score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignedScore {
    /// Of what.
    pub kind: ScoreKind,
    /// 1 to 10, as entered.
    pub score: HumanScore,
    /// At least one.
    pub grounds: Vec<Ground>,
}

/// A person's decision, signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Signature {
    /// Who signed.
    pub signer: MemberId,
    /// The decision.
    pub decision: Decision,
    /// Scores, OVERALL among them.
    pub scores: Vec<SignedScore>,
    /// What speaks for the candidate.
    pub strengths: Personal<Vec<String>>,
    /// What speaks against.
    pub weaknesses: Personal<Vec<String>>,
    /// The signer's note.
    pub notes: Option<Personal<String>>,
    /// Whether a machine's proposal stood when it was signed.
    pub proposal_seen: bool,
}

/// A decision as a person gives it.
#[derive(Clone, Debug)]
pub struct GivenSignature {
    /// The decision.
    pub decision: Decision,
    /// Scores, OVERALL among them.
    pub scores: Vec<SignedScore>,
    /// What speaks for the candidate.
    pub strengths: Vec<String>,
    /// What speaks against.
    pub weaknesses: Vec<String>,
    /// The signer's note.
    pub notes: Option<String>,
    /// A note for HR and administrators only.
    pub private_notes: Option<String>,
}

/// What can be asked of a verdict.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open it, once the interview has ended.
    Open {
        /// Of which interview.
        interview_id: InterviewId,
        /// The interview's job, so that the bus can load its rubric.
        job_id: JobId,
    },
    /// Propose, as a machine.
    Propose {
        /// What.
        proposal: GivenProposal,
    },
    /// Record that the machine's assessment failed.
    FailAssessment {
        /// A public code, such as `AI_001`.
        code: String,
    },
    /// Ask for the assessment to be made again.
    RestartAssessment,
    /// Sign, as a person.
    Sign {
        /// What.
        signature: GivenSignature,
    },
}

/// What has happened to a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// It can be decided now.
    Opened {
        /// What it rests on.
        record: Record,
    },
    /// A machine proposed.
    Proposed {
        /// What.
        proposal: Proposal,
    },
    /// The machine's assessment failed; a person can still sign.
    AssessmentFailed {
        /// A public code.
        code: String,
    },
    /// The assessment is to be made again.
    AssessmentRestarted {
        /// 2, 3 …
        attempt: u16,
    },
    /// A person decided.
    Signed {
        /// What.
        signature: Signature,
    },
    /// The signer's note for HR and administrators, in an event of its own, so that leaving it out
    /// of an export changes no other hash.
    PrivateNotesRecorded {
        /// Who wrote it.
        member_id: MemberId,
        /// What.
        text: Personal<String>,
    },
}

/// Why not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such verdict.
    #[error("there is no such verdict")]
    Missing,
    /// The verdict exists already.
    #[error("the verdict is open already")]
    AlreadyOpened,
    /// There is no such interview.
    #[error("there is no such interview")]
    NoSuchInterview,
    /// The interview has not ended.
    #[error("the interview is still going on")]
    InterviewNotOver,
    /// The rubric is gone.
    #[error("the interview's rubric cannot be found")]
    NoSuchRubric,
    /// No machine without consent.
    #[error("the candidate has not consented to analysis by AI")]
    NoConsent,
    /// A score without evidence is refused.
    #[error("the score of {of} cites nothing")]
    NoEvidence {
        /// Dimension or kind of score.
        of: String,
    },
    /// Evidence is a recorded answer of this interview.
    #[error("the score of {of} cites an answer that is not of this interview")]
    ForeignEvidence {
        /// Dimension or kind of score.
        of: String,
    },
    /// Evidence speaks to the dimension it is cited for.
    #[error("the score of {of} cites an answer to a question about something else")]
    MisplacedEvidence {
        /// Dimension.
        of: String,
    },
    /// The rubric has no such dimension, or it is scored twice.
    #[error("the rubric has no dimension {key}, or it is scored twice")]
    WrongDimension {
        /// The key given.
        key: String,
    },
    /// Nothing was scored.
    #[error("a proposal scores at least one dimension")]
    NothingScored,
    /// Signed once.
    #[error("the verdict was already signed by {signer}")]
    AlreadySigned {
        /// By whom.
        signer: MemberId,
    },
    /// Only a person signs.
    #[error("only a person may sign a verdict")]
    OnlyAPersonSigns,
    /// OVERALL must be there, each kind once.
    #[error("a signature needs an overall score, and each kind once")]
    WrongScores,
}

impl PublicCode for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Missing => "VERDICT_NOT_FOUND",
            Self::AlreadyOpened => "VERDICT_ALREADY_OPEN",
            Self::NoSuchInterview => "INT_001",
            Self::InterviewNotOver => "VERDICT_INTERVIEW_NOT_OVER",
            Self::NoSuchRubric => "VERDICT_NO_RUBRIC",
            Self::NoConsent => "INT_NO_CONSENT",
            Self::NoEvidence { .. } => "VERDICT_NO_EVIDENCE",
            Self::ForeignEvidence { .. } => "VERDICT_FOREIGN_EVIDENCE",
            Self::MisplacedEvidence { .. } => "VERDICT_MISPLACED_EVIDENCE",
            Self::WrongDimension { .. } => "VERDICT_WRONG_DIMENSION",
            Self::NothingScored => "VERDICT_NOTHING_SCORED",
            Self::AlreadySigned { .. } => "VERDICT_ALREADY_SIGNED",
            Self::OnlyAPersonSigns => "VERDICT_ONLY_A_PERSON_SIGNS",
            Self::WrongScores => "VERDICT_WRONG_SCORES",
        }
    }
}

/// What decisions about a verdict read.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    record: Option<Record>,
    proposed: bool,
    attempt: u16,
    signer: Option<MemberId>,
}

impl Verdict {
    /// What it rests on.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// Whether a person has decided.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signer.is_some()
    }

    /// Which attempt at an assessment holds, from 1.
    #[must_use]
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Whether a machine's proposal of the present attempt stands.
    #[must_use]
    pub fn is_proposed(&self) -> bool {
        self.proposed
    }

    /// How a caller stands to it.
    #[must_use]
    pub fn stands_to(&self, caller: &Caller) -> Relation {
        let Some(record) = &self.record else {
            return Relation::default();
        };
        let member = caller.member();
        Relation {
            assigned: member.is_some() && record.interviewer_id == member,
            own_job: member == Some(record.hiring_manager),
            own: false,
        }
    }
}

impl Aggregate for Verdict {
    const NAME: &'static str = "verdict";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Verdict(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Open { .. } => Action::OpenVerdict,
            Command::Propose { .. } | Command::FailAssessment { .. } => Action::ProposeVerdict,
            Command::RestartAssessment => Action::RestartAssessment,
            Command::Sign { .. } => Action::SignVerdict,
        }
    }

    fn relation(&self, caller: &Caller, _: &Command, _: &Facts) -> Relation {
        self.stands_to(caller)
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::Open { interview_id, job_id } => {
                vec![Reference::Interview(*interview_id), Reference::Job(*job_id)]
            }
            // The consent may have been taken back since the verdict was opened.
            Command::Propose { .. } | Command::RestartAssessment => {
                self.record.iter().map(|r| Reference::Interview(r.interview_id)).collect()
            }
            Command::FailAssessment { .. } | Command::Sign { .. } => vec![],
        }
    }

    fn subject(&self) -> Option<Subject> {
        self.record.as_ref().map(|record| Subject::Candidate(record.candidate_id))
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let Some(record) = &self.record else {
            return match command {
                Command::Open { interview_id, job_id } => {
                    Ok(vec![Event::Opened { record: open(interview_id, job_id, context.facts)? }])
                }
                _ => Err(Refusal::Missing),
            };
        };
        match (command, self.signer) {
            (Command::Open { interview_id, .. }, _) if record.interview_id == interview_id => {
                Ok(vec![])
            }
            (Command::Open { .. }, _) => Err(Refusal::AlreadyOpened),
            (Command::Sign { .. }, Some(signer)) => Err(Refusal::AlreadySigned { signer }),
            (Command::RestartAssessment, Some(signer)) => Err(Refusal::AlreadySigned { signer }),
            // Advice that comes after the decision is not news any more.
            (Command::Propose { .. } | Command::FailAssessment { .. }, Some(_)) => Ok(vec![]),
            (Command::Propose { .. }, None) if self.proposed => Ok(vec![]),
            (Command::Propose { proposal }, None) => {
                needs_consent(record, context.facts)?;
                Ok(vec![Event::Proposed { proposal: propose(record, proposal)? }])
            }
            (Command::FailAssessment { .. }, None) if self.proposed => Ok(vec![]),
            (Command::FailAssessment { code }, None) => Ok(vec![Event::AssessmentFailed { code }]),
            (Command::RestartAssessment, None) => {
                needs_consent(record, context.facts)?;
                Ok(vec![Event::AssessmentRestarted { attempt: self.attempt + 1 }])
            }
            (Command::Sign { signature }, None) => {
                let signer = context.caller.member().ok_or(Refusal::OnlyAPersonSigns)?;
                sign(record, signer, signature, self.proposed)
            }
        }
    }

    fn evolve(mut self, event: &Event, _: DateTime<Utc>) -> Self {
        match event {
            Event::Opened { record } => {
                self.record = Some(record.clone());
                self.attempt = 1;
            }
            Event::Proposed { .. } => self.proposed = true,
            Event::AssessmentRestarted { attempt } => {
                self.attempt = *attempt;
                self.proposed = false;
            }
            Event::Signed { signature } => self.signer = Some(signature.signer),
            Event::AssessmentFailed { .. } | Event::PrivateNotesRecorded { .. } => {}
        }
        self
    }
}

fn open(interview_id: InterviewId, job_id: JobId, facts: &Facts) -> Result<Record, Refusal> {
    let interview = facts.interviews.get(&interview_id).ok_or(Refusal::NoSuchInterview)?;
    let round = interview.round().ok_or(Refusal::NoSuchInterview)?;
    let interview_end = match interview.status() {
        Some(end @ (InterviewStatus::Completed | InterviewStatus::Abandoned)) => end,
        _ => return Err(Refusal::InterviewNotOver),
    };
    let job = facts.jobs.get(&job_id).filter(|_| round.job_id == job_id);
    let rubric = job.and_then(|job| job.rubric(round.rubric_version));
    let answers = interview.questions().iter().filter_map(|question| {
        question.answer.as_ref().map(|answer| CitableAnswer {
            answer_id: answer.answer_id,
            question_id: question.question_id,
            dimensions: question.dimensions.clone(),
        })
    });
    Ok(Record {
        interview_id,
        candidate_id: round.candidate_id,
        job_id,
        application_id: round.application_id,
        interview_end,
        mode: round.mode,
        interviewer_id: round.interviewer_id,
        hiring_manager: round.hiring_manager,
        rubric_version: round.rubric_version,
        dimensions: rubric.ok_or(Refusal::NoSuchRubric)?.to_vec(),
        answers: answers.collect(),
        ai_may_propose: interview.ai_may_analyse(),
    })
}

fn texts(field: &'static str, given: &[String]) -> Result<Vec<String>, Invalid> {
    if given.len() > 50 {
        return Err(Invalid { field, why: "has more than 50 entries".into() });
    }
    given.iter().map(|text| values::bounded(field, text, MAX_NOTE_CHARS)).collect()
}

/// A machine may propose where the candidate had consented when the interview ended, and still does.
fn needs_consent(record: &Record, facts: &Facts) -> Result<(), Refusal> {
    let interview = facts.interviews.get(&record.interview_id);
    let still = interview.is_some_and(crate::interview::Interview::ai_may_analyse);
    if record.ai_may_propose && still { Ok(()) } else { Err(Refusal::NoConsent) }
}

fn propose(record: &Record, given: GivenProposal) -> Result<Proposal, Refusal> {
    let subject = Subject::Candidate(record.candidate_id);
    let personal = |field, text: &str| -> Result<Personal<String>, Invalid> {
        Ok(Personal::new(subject, values::bounded(field, text, MAX_NOTE_CHARS)?))
    };
    let mut scores: Vec<DimensionScore> = vec![];
    let mut weighted = vec![];
    for score in given.scores {
        let key = score.dimension;
        let dimension = record.dimensions.iter().find(|d| d.key == key);
        let dimension = dimension.filter(|_| scores.iter().all(|s| s.dimension != key));
        let Some(dimension) = dimension else {
            return Err(Refusal::WrongDimension { key });
        };
        if score.evidence.is_empty() {
            return Err(Refusal::NoEvidence { of: key });
        }
        let mut evidence = vec![];
        for cited in score.evidence {
            let answer = record.answers.iter().find(|a| a.answer_id == cited.answer_id);
            let Some(answer) = answer else {
                return Err(Refusal::ForeignEvidence { of: key });
            };
            if !answer.dimensions.is_empty() && !answer.dimensions.contains(&key) {
                return Err(Refusal::MisplacedEvidence { of: key });
            }
            evidence.push(Evidence {
                answer_id: cited.answer_id,
                quote: personal("quote", &cited.quote)?,
                why: personal("why", &cited.why)?,
            });
        }
        let number = Score::parse("score", score.score)?;
        weighted.push((number, dimension.weight));
        let confidence = Share::parse("confidence", score.confidence)?;
        scores.push(DimensionScore { dimension: key, score: number, confidence, evidence });
    }
    let overall = values::weighted_mean(&weighted).ok_or(Refusal::NothingScored)?;
    let unscored = record.dimensions.iter().map(|d| &d.key);
    let unscored = unscored.filter(|key| scores.iter().all(|s| s.dimension != **key));
    Ok(Proposal {
        unscored: unscored.cloned().collect(),
        overall,
        recommendation: given.recommendation,
        strengths: Personal::new(subject, texts("strengths", &given.strengths)?),
        weaknesses: Personal::new(subject, texts("weaknesses", &given.weaknesses)?),
        summary: personal("summary", &given.summary)?,
        provenance: given.provenance,
        scores,
    })
}

fn sign(
    record: &Record,
    signer: MemberId,
    given: GivenSignature,
    proposal_seen: bool,
) -> Result<Vec<Event>, Refusal> {
    let subject = Subject::Candidate(record.candidate_id);
    let personal = |field, text: Option<String>| -> Result<Option<Personal<String>>, Invalid> {
        let text = text.map(|text| values::bounded(field, &text, MAX_NOTE_CHARS)).transpose()?;
        Ok(text.map(|text| Personal::new(subject, text)))
    };
    let notes = personal("notes", given.notes)?;
    let private = personal("privateNotes", given.private_notes)?;
    let mut kinds: Vec<ScoreKind> = given.scores.iter().map(|score| score.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.len() != given.scores.len() || !kinds.contains(&ScoreKind::Overall) {
        return Err(Refusal::WrongScores);
    }
    for score in &given.scores {
        let of = || values::Spelled::as_str(score.kind).to_owned();
        if score.grounds.is_empty() {
            return Err(Refusal::NoEvidence { of: of() });
        }
        for ground in &score.grounds {
            match ground {
                Ground::Answer { answer_id } => {
                    if record.answers.iter().all(|answer| answer.answer_id != *answer_id) {
                        return Err(Refusal::ForeignEvidence { of: of() });
                    }
                }
                Ground::OwnNote {} if notes.is_none() && private.is_none() => {
                    return Err(Refusal::NoEvidence { of: of() });
                }
                Ground::OwnNote {} => {}
            }
        }
    }
    let signature = Signature {
        signer,
        decision: given.decision,
        scores: given.scores,
        strengths: Personal::new(subject, texts("strengths", &given.strengths)?),
        weaknesses: Personal::new(subject, texts("weaknesses", &given.weaknesses)?),
        notes,
        proposal_seen,
    };
    let mut events = vec![Event::Signed { signature }];
    events.extend(private.map(|text| Event::PrivateNotesRecorded { member_id: signer, text }));
    Ok(events)
}
