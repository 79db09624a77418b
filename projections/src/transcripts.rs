//! Transcripts: the turns of an interview in order. A judgement stands in its answer's turn, a
//! time-out in its question's.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::{AnswerId, CompanyId, InterviewId, QuestionId};
use domain::interview::Event::{
    Abandoned, AccessFirstUsed, AccessIssued, AccessRevoked, AnswerJudged, AnswerRecorded,
    Cancelled, Completed, ConsentGiven, ConsentWithdrawn, DifficultyChanged, FollowUpAsked,
    InterviewerAssigned, Joined, Left, MarkedNoShow, NoteAdded, Planned, QuestionAsked,
    QuestionTimedOut, Rescheduled, Scheduled, Started,
};
use domain::interview::{AskedBy, Judgement as DomainJudgement, QuestionText};
use domain::job::{Difficulty, QuestionType};
use domain::spelled;
use domain::values::{Provenance, Score, Share};
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Model;
use crate::page::{self, Bound, List, Order, Page, PageError, PageRequest, Place, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Transcripts>();

/// The read model of transcripts.
pub enum Transcripts {}

spelled! {
    /// What a turn is.
    Kind {
        /// A question.
        Question = "QUESTION",
        /// Something asked back.
        FollowUp = "FOLLOW_UP",
        /// An answer.
        Answer = "ANSWER",
    }
}

spelled! {
    /// What became of a question.
    Outcome {
        /// It waits for its answer, or the round ended before there was one.
        Open = "OPEN",
        /// It was answered.
        Answered = "ANSWERED",
        /// It was let go.
        TimedOut = "TIMED_OUT",
    }
}

spelled! {
    /// Whose turn it is.
    Speaker {
        /// Who asks, a person or the AI.
        Interviewer = "INTERVIEWER",
        /// Who answers.
        Candidate = "CANDIDATE",
    }
}

/// Names a row. The speaker keeps questions' ids and answers' ids apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
    /// Whose turn it is.
    pub speaker: Speaker,
    /// The question's id in this interview, or the answer's.
    pub turn_id: Uuid,
}

/// How good an answer is, as advice.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// 0 to 1: whether the question was dealt with.
    pub completeness: Share,
    /// 0 to 100.
    pub score: Score,
    /// In words; `None` once the person was erased.
    pub feedback: Option<String>,
    /// The recorded call that judged.
    pub provenance: Provenance,
    /// When.
    pub at: DateTime<Utc>,
}

/// A turn.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
    /// Whose turn it is.
    pub speaker: Speaker,
    /// The question's id in this interview, or the answer's.
    pub turn_id: Uuid,
    /// 1, 2, 3 … over all turns.
    pub sequence: u32,
    /// What the turn is.
    pub kind: Kind,
    /// The question itself, or the one that an answer answers.
    pub question_id: QuestionId,
    /// The question that a follow-up follows up.
    pub follow_up_of: Option<QuestionId>,
    /// The job's question that a question is, if one.
    pub job_question_id: Option<QuestionId>,
    /// What was said; `None` once the person was erased.
    pub text: Option<String>,
    /// What a question is about; follow-ups and answers have none of their own.
    pub question_type: Option<QuestionType>,
    /// How hard a question is; follow-ups and answers have none of their own.
    pub difficulty: Option<Difficulty>,
    /// Keys of the rubric dimensions that a question measures.
    pub dimensions: Vec<String>,
    /// Who asked.
    pub asked_by: Option<AskedBy>,
    /// What became of a question.
    pub outcome: Option<Outcome>,
    /// From the question to its answer, in milliseconds.
    pub response_time_ms: Option<u64>,
    /// How good an answer is, once judged.
    pub judgement: Option<Judgement>,
    /// When it was said.
    pub at: DateTime<Utc>,
    /// Version of the stream that last changed the turn.
    pub version: u64,
}

fn key(recorded: &Recorded, speaker: Speaker, turn_id: Uuid) -> Key {
    let stream = &recorded.stored.stream;
    let interview_id = InterviewId(stream.id);
    Key { company_id: stream.company, interview_id, speaker, turn_id }
}

fn turn(key: &Key, recorded: &Recorded, kind: Kind, sequence: u32, question: QuestionId) -> Row {
    Row {
        company_id: key.company_id,
        interview_id: key.interview_id,
        speaker: key.speaker,
        turn_id: key.turn_id,
        sequence,
        kind,
        question_id: question,
        follow_up_of: None,
        job_question_id: None,
        text: None,
        question_type: None,
        difficulty: None,
        dimensions: vec![],
        asked_by: None,
        outcome: match kind {
            Kind::Question | Kind::FollowUp => Some(Outcome::Open),
            Kind::Answer => None,
        },
        response_time_ms: None,
        judgement: None,
        at: recorded.stored.occurred_at,
        version: recorded.stored.version.0,
    }
}

fn judgement(judgement: &DomainJudgement, at: DateTime<Utc>) -> Judgement {
    Judgement {
        completeness: judgement.completeness,
        score: judgement.score,
        feedback: judgement.feedback.get().cloned(),
        provenance: judgement.provenance.clone(),
        at,
    }
}

fn text_of(text: &QuestionText) -> Option<String> {
    text.get().map(str::to_owned)
}

impl Projector for Transcripts {
    const NAME: &'static str = "transcripts";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_transcript_turn";
    const KEY: &'static [&'static str] = &["company_id", "interview_id", "speaker", "turn_id"];
    const STREAM: &'static str = "interview_id";
    const AGGREGATES: &'static [&'static str] = &["interview"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let Event::Interview(event) = &recorded.event else {
            return Keys::none();
        };
        let question = |id: &QuestionId| key(recorded, Speaker::Interviewer, id.0);
        let answer = |id: &AnswerId| key(recorded, Speaker::Candidate, id.0);
        match event {
            QuestionAsked { question_id, .. }
            | FollowUpAsked { question_id, .. }
            | QuestionTimedOut { question_id } => Keys::one(question(question_id)),
            AnswerRecorded { answer_id, question_id, .. } => {
                Keys::These(vec![question(question_id), answer(answer_id)])
            }
            AnswerJudged { answer_id, .. } => Keys::one(answer(answer_id)),
            Planned { .. }
            | Scheduled { .. }
            | Rescheduled { .. }
            | InterviewerAssigned { .. }
            | AccessIssued { .. }
            | AccessFirstUsed { .. }
            | AccessRevoked { .. }
            | ConsentGiven { .. }
            | ConsentWithdrawn {}
            | Joined { .. }
            | Left { .. }
            | Started {}
            | DifficultyChanged { .. }
            | NoteAdded { .. }
            | Completed { .. }
            | Abandoned {}
            | Cancelled { .. }
            | MarkedNoShow {} => Keys::none(),
        }
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Interview(event) = &recorded.event else {
            return row;
        };
        let (version, now) = (recorded.stored.version.0, recorded.stored.occurred_at);
        match event {
            QuestionAsked {
                question_id,
                sequence,
                job_question_id,
                text,
                question_type,
                difficulty,
                dimensions,
                asked_by,
            } => Some(Row {
                job_question_id: *job_question_id,
                text: text_of(text),
                question_type: Some(*question_type),
                difficulty: Some(*difficulty),
                dimensions: dimensions.clone(),
                asked_by: Some(asked_by.clone()),
                ..turn(key, recorded, Kind::Question, *sequence, *question_id)
            }),
            FollowUpAsked { question_id, sequence, follow_up_of, text, asked_by } => Some(Row {
                follow_up_of: Some(*follow_up_of),
                text: text.get().cloned(),
                asked_by: Some(asked_by.clone()),
                ..turn(key, recorded, Kind::FollowUp, *sequence, *question_id)
            }),
            AnswerRecorded { question_id, sequence, text, response_time_ms, .. } => {
                match key.speaker {
                    Speaker::Interviewer => {
                        row.map(|row| Row { outcome: Some(Outcome::Answered), version, ..row })
                    }
                    Speaker::Candidate => Some(Row {
                        text: text.get().cloned(),
                        response_time_ms: Some(*response_time_ms),
                        ..turn(key, recorded, Kind::Answer, *sequence, *question_id)
                    }),
                }
            }
            AnswerJudged { judgement: given, .. } => {
                row.map(|row| Row { judgement: Some(judgement(given, now)), version, ..row })
            }
            QuestionTimedOut { .. } => {
                row.map(|row| Row { outcome: Some(Outcome::TimedOut), version, ..row })
            }
            Planned { .. }
            | Scheduled { .. }
            | Rescheduled { .. }
            | InterviewerAssigned { .. }
            | AccessIssued { .. }
            | AccessFirstUsed { .. }
            | AccessRevoked { .. }
            | ConsentGiven { .. }
            | ConsentWithdrawn {}
            | Joined { .. }
            | Left { .. }
            | Started {}
            | DifficultyChanged { .. }
            | NoteAdded { .. }
            | Completed { .. }
            | Abandoned {}
            | Cancelled { .. }
            | MarkedNoShow {} => row,
        }
    }
}

const LIST: List = List {
    name: "transcripts",
    table: Transcripts::VIEW,
    row: "to_jsonb(t)",
    sort: "t.sequence",
    kind: SortKind::Number,
    id: "turn_id",
    order: Order::Ascending,
};

/// A page of an interview's turns, in the order of the conversation.
///
/// # Errors
/// See [`QueryError`].
pub async fn list(
    reads: &Reads,
    view: &View,
    interview_id: InterviewId,
    request: &PageRequest,
) -> Result<Page<Row>, QueryError> {
    let restrict = |sql: &mut Sql| restrict(sql, view, interview_id);
    let request = request.clone().within(interview_id.0);
    page::page(reads, &LIST, view.company, &request, restrict).await
}

/// The cursor of a turn, as [`list`] gives it.
#[must_use]
pub fn cursor(row: &Row) -> String {
    let place = Place { sort: row.sequence.into(), id: row.turn_id };
    LIST.cursor(bound(row.company_id, row.interview_id), place)
}

/// The place in the conversation that a cursor of this interview's turns names.
///
/// # Errors
/// [`PageError::CursorInvalid`].
pub fn sequence(
    company_id: CompanyId,
    interview_id: InterviewId,
    cursor: &str,
) -> Result<u32, PageError> {
    let place = LIST.place(bound(company_id, interview_id), cursor)?;
    u32::try_from(place.sort).map_err(|_| PageError::CursorInvalid)
}

fn bound(company: CompanyId, InterviewId(of): InterviewId) -> Bound {
    Bound { company, order: LIST.order, of: Some(of), filter: None }
}

/// How many turns an interview has, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(
    reads: &Reads,
    view: &View,
    interview_id: InterviewId,
) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| restrict(sql, view, interview_id)).await
}

fn restrict(sql: &mut Sql, view: &View, interview_id: InterviewId) {
    scope::of_interview(sql, view, "t", "interview_id");
    sql.push(" and t.interview_id = ").push_bind(interview_id.0);
}

/// All turns of these interviews that the view shows, each in the order of its conversation.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_interviews(
    reads: &Reads,
    view: &View,
    ids: &[InterviewId],
) -> Result<HashMap<InterviewId, Vec<Row>>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::of_interview(sql, view, "t", "interview_id");
    let rows = page::batch(reads, &LIST, view.company, "interview_id", ids, restrict).await?;
    Ok(page::grouped(rows, |row: &Row| row.interview_id))
}

/// The answers' turns with these ids that the view shows: what a verdict cites.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn answers_by_ids(
    reads: &Reads,
    view: &View,
    ids: &[AnswerId],
) -> Result<HashMap<AnswerId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let rows = turns(reads, view, Speaker::Candidate, ids).await?;
    Ok(page::by_key(rows, |row| AnswerId(row.turn_id)))
}

/// The questions' turns with these ids that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn questions_by_ids(
    reads: &Reads,
    view: &View,
    ids: &[QuestionId],
) -> Result<HashMap<QuestionId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let rows = turns(reads, view, Speaker::Interviewer, ids).await?;
    Ok(page::by_key(rows, |row| QuestionId(row.turn_id)))
}

async fn turns(
    reads: &Reads,
    view: &View,
    speaker: Speaker,
    ids: Vec<Uuid>,
) -> Result<Vec<Row>, QueryError> {
    use domain::values::Spelled as _;
    let restrict = |sql: &mut Sql| {
        scope::of_interview(sql, view, "t", "interview_id");
        sql.push(" and t.speaker = ").push_bind(speaker.as_str());
    };
    page::batch(reads, &LIST, view.company, "turn_id", ids, restrict).await
}
