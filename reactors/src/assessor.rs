//! The assessor proposes scores for a verdict, from the interview's record alone, each score with
//! the answers it rests on. A proposal is advice: whether one comes or fails, a person decides.

use async_trait::async_trait;
use domain::Aggregate;
use domain::caller::Caller;
use domain::ids::AnswerId;
use domain::interview::Interview;
use domain::job::Job;
use domain::personal::Subject;
use domain::values::{Provenance, Spelled};
use domain::verdict::{
    Command, Event, GivenDimensionScore, GivenEvidence, GivenProposal, Recommendation, Record,
    Verdict,
};
use eventlog::codec::Recorded;
use eventlog::envelope::{StoredEvent, StreamId};
use uuid::Uuid;

use crate::ai;
use crate::ai_log::{Asking, Recalled};
use crate::history::View;
use crate::reactor::{Fault, Reactor, Settled, Tools};
use crate::talk::{self, Talk};

/// What all orders of one event share: an event leads to one outcome of an assessment.
const PURPOSE: &str = "assess";
/// Nothing was answered, so that nothing can be scored.
const NO_ANSWERS: &str = "ASSESSMENT_NO_ANSWERS";

/// Proposes scores.
#[derive(Debug, Clone, Copy, Default)]
pub struct Assessor;

/// Assess the record of the verdict at hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Assess {
    /// What the verdict rests on.
    pub record: Box<Record>,
    /// Which attempt this is, from 1.
    pub attempt: u16,
}

#[async_trait]
impl Reactor for Assessor {
    const NAME: &'static str = "reactor.assessor";
    const AGGREGATE: &'static str = Verdict::NAME;
    const EVENTS: &'static [&'static str] = &["verdict.opened", "verdict.assessment_restarted"];
    type Action = Assess;

    fn react(&self, view: &View, event: &Recorded) -> Vec<Assess> {
        match Verdict::event(&event.event) {
            Some(Event::Opened { .. } | Event::AssessmentRestarted { .. }) => {
                let verdict: Verdict = view.state();
                let record = verdict.record().filter(|record| record.ai_may_propose);
                let attempt = verdict.attempt();
                let assess = |record: &Record| Assess { record: Box::new(record.clone()), attempt };
                record.map(assess).into_iter().collect()
            }
            _ => vec![],
        }
    }

    async fn act(
        &self,
        Assess { record, attempt }: Assess,
        _: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault> {
        let verdict: Verdict = tools.histories.now(&cause.stream).await?.state();
        if verdict.is_signed() || verdict.is_proposed() || verdict.attempt() != attempt {
            return Ok(());
        }
        let caller = Caller::ai(cause.stream.company, "assessor");
        let command = match assess(&record, cause, tools, &caller).await? {
            Ok(proposal) => Command::Propose { proposal },
            Err(code) => Command::FailAssessment { code },
        };
        let settled = order(command, cause, tools, &caller).await?;
        if let Settled::Refused(code) = settled {
            // What the rules refuse, such as evidence that belongs elsewhere, is no proposal.
            let failed = Command::FailAssessment { code: code.to_owned() };
            order(failed, cause, tools, &caller).await?;
        }
        Ok(())
    }
}

async fn order(
    command: Command,
    cause: &StoredEvent,
    tools: &Tools,
    caller: &Caller,
) -> Result<Settled, Fault> {
    tools.order::<Verdict>(caller, cause.stream.id, command, cause, PURPOSE).await
}

/// A proposal, or the public code of why there is none.
async fn assess(
    record: &Record,
    cause: &StoredEvent,
    tools: &Tools,
    caller: &Caller,
) -> Result<Result<GivenProposal, String>, Fault> {
    let stream = |aggregate, id| StreamId::new(cause.stream.company, aggregate, id);
    let interview = tools.histories.now(&stream(Interview::NAME, record.interview_id.0)).await?;
    let Some(talk) = Talk::of(&interview) else {
        return Ok(Err(NO_ANSWERS.to_owned()));
    };
    // Consent may have been withdrawn since the end, and then nothing may reach a model.
    if !talk.state.ai_may_analyse() {
        return Ok(Err("INT_NO_CONSENT".to_owned()));
    }
    let job = tools.histories.now(&stream(Job::NAME, record.job_id.0)).await?;
    let request = request(record, &talk, &job);
    if request.answers.is_empty() {
        return Ok(Err(NO_ANSWERS.to_owned()));
    }
    let asking = Asking {
        caller,
        cause,
        about: record.interview_id.0,
        subject: Subject::Candidate(record.candidate_id),
        attempt: 0,
    };
    Ok(match tools.ai.ask(&asking, &request).await? {
        Recalled::Answered { value, provenance } => given(value, provenance),
        Recalled::Failed { code } => Err(code),
    })
}

/// The record as the AI is to see it: every citable answer with its question, what the job expects
/// to hear, and how it was judged.
fn request(record: &Record, talk: &Talk, job: &View) -> ai::ProposeScores {
    let all_keys = || record.dimensions.iter().map(|dimension| dimension.key.clone()).collect();
    let answers = record.answers.iter().filter_map(|citable| {
        let turn = talk.turn_of(citable.answer_id)?;
        let said = turn.answer.as_ref()?;
        let expected = turn.job_question_id.and_then(|id| talk::question_of(job, id));
        Some(ai::AnsweredQuestion {
            answer_id: citable.answer_id.0.to_string(),
            question: turn.text.clone()?,
            // A question that names no dimension may be cited for any.
            dimension_keys: if citable.dimensions.is_empty() {
                all_keys()
            } else {
                citable.dimensions.clone()
            },
            question_type: turn.question_type.as_str().to_owned(),
            difficulty: talk::difficulty(turn.difficulty),
            expected_keywords: expected.map(|q| q.expected_keywords.clone()).unwrap_or_default(),
            answer: said.text.clone()?,
            judged_score: said.judged.map(|judged| judged.score),
        })
    });
    let dimensions = record.dimensions.iter().map(|dimension| ai::Dimension {
        key: dimension.key.clone(),
        label: dimension.label.clone(),
        weight: dimension.weight.get(),
    });
    ai::ProposeScores {
        brief: talk::brief(&job.state()),
        dimensions: dimensions.collect(),
        answers: answers.collect(),
    }
}

/// The port's proposal as the verdict takes it.
fn given(proposal: ai::Proposal, provenance: Provenance) -> Result<GivenProposal, String> {
    let evidence = |cited: ai::Citation| {
        let answer_id = Uuid::try_parse(&cited.answer_id).ok().map(AnswerId)?;
        Some(GivenEvidence { answer_id, quote: cited.quote, why: cited.why })
    };
    let scores = proposal.scores.into_iter().map(|score| {
        Some(GivenDimensionScore {
            dimension: score.key,
            score: score.score,
            confidence: score.confidence,
            evidence: score.evidence.into_iter().map(evidence).collect::<Option<_>>()?,
        })
    });
    let scores: Option<Vec<_>> = scores.collect();
    Ok(GivenProposal {
        scores: scores.ok_or_else(|| "AI_INVALID_ANSWER".to_owned())?,
        recommendation: match proposal.recommendation {
            ai::Recommendation::Pass => Recommendation::Pass,
            ai::Recommendation::Review => Recommendation::Review,
            ai::Recommendation::Fail => Recommendation::Fail,
        },
        strengths: proposal.strengths,
        weaknesses: proposal.weaknesses,
        summary: proposal.summary,
        provenance,
    })
}
