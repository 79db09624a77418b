//! Interviews: list, detail and live board.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::Event;
use domain::ids::{
    ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId, QuestionId, ResumeId,
};
use domain::interview::Event::{
    Abandoned, AccessFirstUsed, AccessIssued, AccessRevoked, AnswerJudged, AnswerRecorded,
    Cancelled, Completed, ConsentGiven, ConsentWithdrawn, DifficultyChanged, FollowUpAsked,
    InterviewerAssigned, Joined, Left, MarkedNoShow, NoteAdded, Planned, QuestionAsked,
    QuestionTimedOut, Rescheduled, Scheduled, Started,
};
use domain::interview::{
    AskedBy, CompletionReason, ConsentPurpose, Mode, Party, Round, RoundType, Status,
};
use domain::job::{Conversation, Difficulty};
use domain::values::Spelled;
use eventlog::codec::Recorded;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Model;
use crate::page::{self, List, Order, Page, PageRequest, SortKind};
use crate::projector::{Keys, Projector};
use crate::query::{QueryError, Reads, Sql, View};
use crate::scope;

/// The registration of this model.
pub const MODEL: Model = Model::of::<Interviews>();

/// The read model of interviews.
pub enum Interviews {}

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
}

/// An access that was given to the candidate. Its token is never shown, nor the token's hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Names the access.
    pub access_id: Uuid,
    /// When it was given.
    pub issued_at: DateTime<Utc>,
    /// End of validity.
    pub expires_at: DateTime<Utc>,
    /// When it was first used, if it was.
    pub first_used_at: Option<DateTime<Utc>>,
    /// When it was taken back, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The question that waits for its answer. Its text stands in the transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurrentQuestion {
    /// Its id in this interview.
    pub question_id: QuestionId,
    /// Its place in the conversation.
    pub sequence: u32,
    /// The question it follows up, if it does.
    pub follow_up_of: Option<QuestionId>,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
}

/// An interviewer's note.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Who wrote it.
    pub member_id: MemberId,
    /// What; `None` once its subject was erased.
    pub text: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Version of the stream that the note made.
    pub version: u64,
}

/// An interview.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tenant.
    pub company_id: CompanyId,
    /// The interview.
    pub interview_id: InterviewId,
    /// The candidate.
    pub candidate_id: CandidateId,
    /// The job.
    pub job_id: JobId,
    /// The application that rounds are grouped by.
    pub application_id: ApplicationId,
    /// 1, 2, 3 … within the application.
    pub round_number: u16,
    /// Kind of round.
    pub round_type: RoundType,
    /// Who conducts it.
    pub mode: Mode,
    /// The interviewer, where a person conducts.
    pub interviewer_id: Option<MemberId>,
    /// Owner of the job when the round was made.
    pub hiring_manager: MemberId,
    /// The résumé it is tailored to.
    pub resume_id: Option<ResumeId>,
    /// Version of the job's rubric that scores it.
    pub rubric_version: u32,
    /// Counts and time-outs.
    pub conversation: Conversation,
    /// The abandoned round that this one starts anew.
    pub restart_of: Option<InterviewId>,
    /// Where it stands.
    pub status: Status,
    /// When it is to begin, once it has a time.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// Length in minutes, once it has a time.
    pub duration_minutes: Option<u16>,
    /// When the conversation began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was completed, abandoned or cancelled.
    pub ended_at: Option<DateTime<Utc>>,
    /// When a person last did something; silence from here on ends a round.
    pub last_activity: Option<DateTime<Utc>>,
    /// What the candidate consents to at present.
    pub consent: Vec<ConsentPurpose>,
    /// When the candidate last gave consent.
    pub consent_given_at: Option<DateTime<Utc>>,
    /// When the candidate last took it back.
    pub consent_withdrawn_at: Option<DateTime<Utc>>,
    /// Whether the candidate is there.
    pub candidate_present: bool,
    /// Whether the interviewer is there.
    pub interviewer_present: bool,
    /// How hard questions are at present, once the conversation began.
    pub difficulty: Option<Difficulty>,
    /// The question that waits for its answer.
    pub current_question: Option<CurrentQuestion>,
    /// Questions asked so far, without follow-ups.
    pub n_questions: u32,
    /// Follow-ups asked so far.
    pub n_follow_ups: u32,
    /// Answers recorded so far.
    pub n_answers: u32,
    /// Questions let go unanswered so far.
    pub n_timed_out: u32,
    /// Accesses given to the candidate, oldest first.
    pub accesses: Vec<Access>,
    /// Interviewers' notes, oldest first.
    pub notes: Vec<Note>,
    /// Why it was completed, if it was.
    pub completion_reason: Option<CompletionReason>,
    /// Why it was cancelled, if it was and a reason was given.
    pub cancel_reason: Option<String>,
    /// Version of the stream.
    pub version: u64,
    /// When the round was made.
    pub created_at: DateTime<Utc>,
    /// When something last changed.
    pub updated_at: DateTime<Utc>,
}

impl Row {
    fn new(key: Key, round: &Round, version: u64, at: DateTime<Utc>) -> Self {
        Self {
            company_id: key.company_id,
            interview_id: key.interview_id,
            candidate_id: round.candidate_id,
            job_id: round.job_id,
            application_id: round.application_id,
            round_number: round.round_number,
            round_type: round.round_type,
            mode: round.mode,
            interviewer_id: round.interviewer_id,
            hiring_manager: round.hiring_manager,
            resume_id: round.resume_id,
            rubric_version: round.rubric_version,
            conversation: round.conversation.clone(),
            restart_of: round.restart_of,
            status: Status::Planned,
            scheduled_at: None,
            duration_minutes: None,
            started_at: None,
            ended_at: None,
            last_activity: None,
            consent: vec![],
            consent_given_at: None,
            consent_withdrawn_at: None,
            candidate_present: false,
            interviewer_present: false,
            difficulty: None,
            current_question: None,
            n_questions: 0,
            n_follow_ups: 0,
            n_answers: 0,
            n_timed_out: 0,
            accesses: vec![],
            notes: vec![],
            completion_reason: None,
            cancel_reason: None,
            version,
            created_at: at,
            updated_at: at,
        }
    }

    fn schedule(&mut self, at: DateTime<Utc>, duration_minutes: u16) {
        self.status = Status::Scheduled;
        self.scheduled_at = Some(at);
        self.duration_minutes = Some(duration_minutes);
    }

    /// Before the start, who of a round with a person is there decides who is waited for.
    fn moved(&mut self, party: Party, present: bool) {
        match party {
            Party::Candidate => self.candidate_present = present,
            Party::Interviewer => self.interviewer_present = present,
        }
        let before_start = matches!(
            self.status,
            Status::Scheduled | Status::WaitingForCandidate | Status::WaitingForInterviewer
        );
        if self.mode == Mode::AiConducted || !before_start {
            return;
        }
        self.status = match (self.candidate_present, self.interviewer_present) {
            (true, false) => Status::WaitingForInterviewer,
            (false, true) => Status::WaitingForCandidate,
            // Both there: the start follows in the same append.
            (true, true) => self.status,
            (false, false) => Status::Scheduled,
        };
    }

    fn end(&mut self, status: Status, at: DateTime<Utc>) {
        self.status = status;
        self.ended_at = Some(at);
        self.current_question = None;
    }

    fn access(&mut self, access_id: Uuid, change: impl FnOnce(&mut Access)) {
        if let Some(access) = self.accesses.iter_mut().find(|a| a.access_id == access_id) {
            change(access);
        }
    }

    fn settle(&mut self, question_id: QuestionId) {
        if self.current_question.as_ref().is_some_and(|q| q.question_id == question_id) {
            self.current_question = None;
        }
    }
}

impl Projector for Interviews {
    const NAME: &'static str = "interviews";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_interview";
    const KEY: &'static [&'static str] = &["company_id", "interview_id"];
    const STREAM: &'static str = "interview_id";
    const AGGREGATES: &'static [&'static str] = &["interview"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        let stream = &recorded.stored.stream;
        Keys::one(Key { company_id: stream.company, interview_id: InterviewId(stream.id) })
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let Event::Interview(event) = &recorded.event else {
            return row;
        };
        let (version, now) = (recorded.stored.version.0, recorded.stored.occurred_at);
        let mut row = if let Planned { round } | Scheduled { round: Some(round), .. } = event {
            Row::new(*key, round, version, now)
        } else {
            row?
        };
        match event {
            Planned { .. } => {}
            Scheduled { at, duration_minutes, .. } => row.schedule(*at, *duration_minutes),
            Rescheduled { at, duration_minutes } => {
                row.schedule(*at, *duration_minutes);
                row.candidate_present = false;
                row.interviewer_present = false;
            }
            InterviewerAssigned { member_id } => {
                row.interviewer_id = Some(*member_id);
                // Who was there is not who is awaited now.
                row.moved(Party::Interviewer, false);
            }
            AccessIssued { access_id, expires_at, .. } => row.accesses.push(Access {
                access_id: *access_id,
                issued_at: now,
                expires_at: *expires_at,
                first_used_at: None,
                revoked_at: None,
            }),
            AccessFirstUsed { access_id } => {
                row.access(*access_id, |access| access.first_used_at = Some(now));
            }
            AccessRevoked { access_id } => {
                row.access(*access_id, |access| access.revoked_at = Some(now));
            }
            ConsentGiven { purposes } => {
                row.consent.clone_from(purposes);
                row.consent_given_at = Some(now);
            }
            ConsentWithdrawn {} => {
                row.consent.clear();
                row.consent_withdrawn_at = Some(now);
            }
            Joined { party } => {
                row.moved(*party, true);
                row.last_activity = Some(now);
            }
            Left { party } => {
                row.moved(*party, false);
                row.last_activity = Some(now);
            }
            Started {} => {
                row.status = Status::InProgress;
                row.started_at = Some(now);
                row.last_activity = Some(now);
                row.difficulty = Some(row.difficulty.unwrap_or(Difficulty::Warmup));
            }
            QuestionAsked { question_id, sequence, asked_by, .. } => {
                row.n_questions += 1;
                // What a machine asks is no sign of life, see the rules.
                if matches!(asked_by, AskedBy::Member { .. }) {
                    row.last_activity = Some(now);
                }
                row.current_question = Some(CurrentQuestion {
                    question_id: *question_id,
                    sequence: *sequence,
                    follow_up_of: None,
                    asked_at: now,
                });
            }
            FollowUpAsked { question_id, sequence, follow_up_of, .. } => {
                row.n_follow_ups += 1;
                row.current_question = Some(CurrentQuestion {
                    question_id: *question_id,
                    sequence: *sequence,
                    follow_up_of: Some(*follow_up_of),
                    asked_at: now,
                });
            }
            AnswerRecorded { question_id, .. } => {
                row.n_answers += 1;
                row.last_activity = Some(now);
                row.settle(*question_id);
            }
            // Judgements stand in the transcript.
            AnswerJudged { .. } => {}
            QuestionTimedOut { question_id } => {
                row.n_timed_out += 1;
                row.settle(*question_id);
            }
            DifficultyChanged { to, .. } => row.difficulty = Some(*to),
            NoteAdded { member_id, text } => {
                row.last_activity = Some(now);
                row.notes.push(Note {
                    member_id: *member_id,
                    text: text.get().cloned(),
                    at: now,
                    version,
                });
            }
            Completed { reason } => {
                row.end(Status::Completed, now);
                row.completion_reason = Some(*reason);
            }
            Abandoned {} => row.end(Status::Abandoned, now),
            Cancelled { reason } => {
                row.end(Status::Cancelled, now);
                row.cancel_reason = reason.as_ref().and_then(|reason| reason.get().cloned());
            }
            MarkedNoShow {} => row.status = Status::NoShow,
        }
        row.version = version;
        row.updated_at = now;
        Some(row)
    }
}

/// Which interviews a list shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only those that stand so, if any is given.
    pub statuses: Vec<Status>,
    /// Only of this candidate.
    pub candidate_id: Option<CandidateId>,
    /// Only for this job.
    pub job_id: Option<JobId>,
    /// Only rounds of this application.
    pub application_id: Option<ApplicationId>,
    /// Only of this interviewer.
    pub interviewer_id: Option<MemberId>,
    /// Only those that are to begin at this time or later.
    pub scheduled_from: Option<DateTime<Utc>>,
    /// Only those that are to begin before this time.
    pub scheduled_before: Option<DateTime<Utc>>,
}

impl Filter {
    fn restrict(&self, sql: &mut Sql, view: &View) {
        scope::rounds(sql, view, "t");
        if !self.statuses.is_empty() {
            let statuses: Vec<&str> = self.statuses.iter().map(|s| s.as_str()).collect();
            sql.push(" and t.status = any(").push_bind(statuses).push(")");
        }
        let ids = [
            (" and t.candidate_id = ", self.candidate_id.map(|id| id.0)),
            (" and t.job_id = ", self.job_id.map(|id| id.0)),
            (" and t.application_id = ", self.application_id.map(|id| id.0)),
            (" and t.interviewer_id = ", self.interviewer_id.map(|id| id.0)),
        ];
        for (condition, id) in ids {
            if let Some(id) = id {
                sql.push(condition).push_bind(id);
            }
        }
        if let Some(from) = self.scheduled_from {
            sql.push(" and t.scheduled_at >= ").push_bind(from);
        }
        if let Some(before) = self.scheduled_before {
            sql.push(" and t.scheduled_at < ").push_bind(before);
        }
    }
}

const LIST: List = List {
    name: "interviews",
    table: Interviews::VIEW,
    row: "to_jsonb(t)",
    // What has no time yet stands where it was made.
    // As the indexes have it, see the migration on why it is no coalesce.
    sort: "case when t.scheduled_at is null then t.created_at else t.scheduled_at end",
    kind: SortKind::Time,
    id: "interview_id",
    order: Order::Descending,
};

/// A page of interviews by the time they are to begin, latest first.
///
/// # Errors
/// See [`QueryError`].
pub async fn list(
    reads: &Reads,
    view: &View,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Row>, QueryError> {
    let restrict = |sql: &mut Sql| filter.restrict(sql, view);
    let request = request.clone().filtered(filter);
    page::page(reads, &LIST, view.company, &request, restrict).await
}

/// How many interviews [`list`] has.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn count(reads: &Reads, view: &View, filter: &Filter) -> Result<u64, QueryError> {
    page::count(reads, &LIST, view.company, |sql| filter.restrict(sql, view)).await
}

/// One interview, if the view shows it.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn get(reads: &Reads, view: &View, id: InterviewId) -> Result<Option<Row>, QueryError> {
    Ok(by_ids(reads, view, &[id]).await?.remove(&id))
}

/// Those of these interviews that the view shows.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_ids(
    reads: &Reads,
    view: &View,
    ids: &[InterviewId],
) -> Result<HashMap<InterviewId, Row>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::rounds(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, LIST.id, ids, restrict).await?;
    Ok(page::by_key(rows, |row: &Row| row.interview_id))
}

/// The rounds of these applications that the view shows, latest first.
///
/// # Errors
/// [`QueryError::Unavailable`].
pub async fn by_applications(
    reads: &Reads,
    view: &View,
    ids: &[ApplicationId],
) -> Result<HashMap<ApplicationId, Vec<Row>>, QueryError> {
    let ids = ids.iter().map(|id| id.0).collect();
    let restrict = |sql: &mut Sql| scope::rounds(sql, view, "t");
    let rows = page::batch(reads, &LIST, view.company, "application_id", ids, restrict).await?;
    Ok(page::grouped(rows, |row: &Row| row.application_id))
}

/// The live board: rounds that go on or wait for somebody, in the order of their times.
///
/// # Errors
/// See [`QueryError`].
pub async fn live_board(
    reads: &Reads,
    view: &View,
    request: &PageRequest,
) -> Result<Page<Row>, QueryError> {
    let statuses =
        vec![Status::InProgress, Status::WaitingForCandidate, Status::WaitingForInterviewer];
    let filter = Filter { statuses, ..Filter::default() };
    list(reads, view, &filter, request).await
}
