//! The rules of an interview.

use chrono::{DateTime, TimeDelta, Utc};

use super::command::{Ask, Command, Party, PlanRound};
use super::event::{AskedBy, Event, Judgement, Mode, QuestionText, Round};
use super::refusal::Refusal;
use super::state::{AnswerState, Interview, QuestionState, Status};
use crate::aggregate::{Aggregate, Context};
use crate::caller::Caller;
use crate::facts::{Facts, Reference};
use crate::ids::{AnswerId, QuestionId};
use crate::permission::{Action, Relation};
use crate::personal::{Personal, Subject};
use crate::values::{self, Invalid, MAX_ANSWER_CHARS, MAX_NOTE_CHARS, Provenance, Score, Share};

impl Aggregate for Interview {
    const NAME: &'static str = "interview";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn event(event: &crate::Event) -> Option<&Event> {
        match event {
            crate::Event::Interview(event) => Some(event),
            _ => None,
        }
    }

    fn action(command: &Command) -> Action {
        match command {
            Command::Plan { .. }
            | Command::Schedule { .. }
            | Command::Reschedule { .. }
            | Command::AssignInterviewer { .. }
            | Command::IssueAccess { .. }
            | Command::RevokeAccess { .. }
            | Command::Cancel { .. } => Action::ScheduleInterview,
            Command::MarkNoShow => Action::MarkNoShow,
            Command::Abandon => Action::AbandonInterview,
            Command::TimeOut { .. } => Action::TimeOutQuestion,
            Command::UseAccess { .. }
            | Command::GiveConsent { .. }
            | Command::WithdrawConsent
            | Command::Answer { .. }
            | Command::Join { party: Party::Candidate }
            | Command::Leave { party: Party::Candidate } => Action::TakePartAsCandidate,
            Command::Join { party: Party::Interviewer }
            | Command::Leave { party: Party::Interviewer }
            | Command::Ask { .. }
            | Command::AddNote { .. } => Action::TakePartAsInterviewer,
            Command::Start | Command::Complete => Action::ConductInterview,
            Command::AskAsAi { .. }
            | Command::FollowUpAsAi { .. }
            | Command::JudgeAsAi { .. }
            | Command::ChangeDifficulty { .. }
            | Command::CompleteAsAi { .. } => Action::ConductAsAi,
        }
    }

    fn relation(&self, caller: &Caller, command: &Command, facts: &Facts) -> Relation {
        let mut relation = self.stands_to(caller);
        if let Command::Plan { round } | Command::Schedule { round: Some(round), .. } = command {
            let manager = facts.jobs.get(&round.job_id).and_then(crate::job::Job::manager);
            relation.own_job = manager.is_some() && manager == caller.member();
        }
        relation
    }

    fn references(&self, command: &Command) -> Vec<Reference> {
        match command {
            Command::Plan { round } | Command::Schedule { round: Some(round), .. } => {
                let mut references = vec![
                    Reference::Application(round.application_id),
                    Reference::Candidate(round.candidate_id),
                    Reference::Job(round.job_id),
                ];
                references.extend(round.interviewer_id.map(Reference::Member));
                references.extend(round.resume_id.map(Reference::Resume));
                references.extend(round.restart_of.map(Reference::Interview));
                references
            }
            Command::AssignInterviewer { member_id } => vec![Reference::Member(*member_id)],
            Command::Ask { ask: Ask::JobQuestion(_), .. }
            | Command::AskAsAi { ask: Ask::JobQuestion(_), .. } => {
                self.round.iter().map(|round| Reference::Job(round.job_id)).collect()
            }
            _ => vec![],
        }
    }

    fn subject(&self) -> Option<Subject> {
        self.candidate().map(Subject::Candidate)
    }

    fn decide(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        let (Some(status), Some(round)) = (self.status, self.round.as_ref()) else {
            return self.make(command, context);
        };
        match command {
            Command::Plan { .. } | Command::Schedule { round: Some(_), .. } => {
                Err(Refusal::AlreadyPlanned)
            }
            Command::Schedule { round: None, at, duration_minutes } => match status {
                Status::Planned => {
                    time(at, duration_minutes, context.now)?;
                    Ok(vec![Event::Scheduled { round: None, at, duration_minutes }])
                }
                Status::Scheduled if self.is_at(at, duration_minutes) => Ok(vec![]),
                _ => Err(illegal(status, "become SCHEDULED")),
            },
            Command::Reschedule { at, duration_minutes } => match status {
                Status::Scheduled if self.is_at(at, duration_minutes) => Ok(vec![]),
                Status::Scheduled
                | Status::WaitingForCandidate
                | Status::WaitingForInterviewer
                | Status::NoShow => {
                    time(at, duration_minutes, context.now)?;
                    Ok(vec![Event::Rescheduled { at, duration_minutes }])
                }
                _ => Err(illegal(status, "become SCHEDULED anew")),
            },
            Command::AssignInterviewer { member_id } => {
                if round.mode == Mode::AiConducted {
                    return Err(Refusal::NoInterviewerWanted);
                }
                if status.is_end() {
                    return Err(illegal(status, "get another interviewer"));
                }
                if !active_member(context.facts, member_id) {
                    return Err(Refusal::NoSuchInterviewer);
                }
                let already = round.interviewer_id == Some(member_id);
                Ok(if already { vec![] } else { vec![Event::InterviewerAssigned { member_id }] })
            }
            Command::IssueAccess { access_id, token_hash, expires_at } => {
                if status.is_end() {
                    return Err(illegal(status, "be given access to"));
                }
                if self.accesses.iter().any(|access| access.access_id == access_id) {
                    return Ok(vec![]);
                }
                if expires_at <= context.now || expires_at > context.now + TimeDelta::days(730) {
                    let why = "must lie in the future, within two years".to_owned();
                    return Err(Invalid { field: "expiresAt", why }.into());
                }
                Ok(vec![Event::AccessIssued { access_id, token_hash, expires_at }])
            }
            Command::UseAccess { access_id } => {
                match self.accesses.iter().find(|access| access.access_id == access_id) {
                    None => Err(Refusal::NoSuchAccess),
                    Some(access) if self.access(&access.token_hash, context.now).is_none() => {
                        Err(Refusal::AccessOver)
                    }
                    Some(access) if access.used => Ok(vec![]),
                    Some(_) => Ok(vec![Event::AccessFirstUsed { access_id }]),
                }
            }
            Command::RevokeAccess { access_id } => {
                match self.accesses.iter().find(|access| access.access_id == access_id) {
                    None => Err(Refusal::NoSuchAccess),
                    Some(access) if access.revoked => Ok(vec![]),
                    // Even after the end: a session that was opened before still reads.
                    Some(_) => Ok(vec![Event::AccessRevoked { access_id }]),
                }
            }
            Command::GiveConsent { mut purposes } => {
                if status.is_end() {
                    return Err(illegal(status, "be consented to"));
                }
                purposes.sort_unstable();
                purposes.dedup();
                if purposes.is_empty() {
                    let why = "name what is consented to".to_owned();
                    return Err(Invalid { field: "purposes", why }.into());
                }
                let already = self.consent == purposes;
                Ok(if already { vec![] } else { vec![Event::ConsentGiven { purposes }] })
            }
            Command::WithdrawConsent if self.consent.is_empty() => Ok(vec![]),
            Command::WithdrawConsent => Ok(vec![Event::ConsentWithdrawn {}]),
            Command::Join { party } => self.join(party, status, round),
            Command::Leave { party } => {
                let present = match party {
                    Party::Candidate => self.candidate_present,
                    Party::Interviewer => self.interviewer_present,
                };
                // Nobody is in a round that is over, so that leaving it is no news.
                let over = status.is_end() || status == Status::NoShow;
                Ok(if present && !over { vec![Event::Left { party }] } else { vec![] })
            }
            Command::Start => self.start(status, round),
            Command::Ask { question_id, ask } => {
                let member_id = context.caller.member().ok_or(Refusal::NeedsInterviewer)?;
                if round.mode == Mode::AiConducted {
                    return Err(Refusal::NoInterviewerWanted);
                }
                self.ask(question_id, ask, AskedBy::Member { member_id }, context)
            }
            Command::AskAsAi { question_id, ask, provenance } => {
                if round.mode != Mode::AiConducted {
                    return Err(Refusal::NoAi);
                }
                self.needs_consent()?;
                self.ask(question_id, ask, AskedBy::Ai { provenance }, context)
            }
            Command::FollowUpAsAi { question_id, follow_up_of, text, provenance } => {
                if round.mode != Mode::AiConducted {
                    return Err(Refusal::NoAi);
                }
                self.needs_consent()?;
                self.follow_up(question_id, follow_up_of, &text, provenance)
            }
            Command::Answer { answer_id, question_id, text } => {
                self.answer(answer_id, question_id, &text, context.now)
            }
            Command::JudgeAsAi { answer_id, completeness, score, feedback, provenance } => {
                self.needs_consent()?;
                let subject = Subject::Candidate(round.candidate_id);
                let feedback = values::bounded("feedback", &feedback, MAX_NOTE_CHARS)?;
                let judgement = Judgement {
                    completeness: Share::parse("completeness", completeness)?,
                    score: Score::parse("score", score)?,
                    feedback: Personal::new(subject, feedback),
                    provenance,
                };
                match self.find_answer(answer_id) {
                    None => Err(Refusal::NoSuchAnswer),
                    Some(AnswerState { judged: true, .. }) => Ok(vec![]),
                    Some(_) => Ok(vec![Event::AnswerJudged { answer_id, judgement }]),
                }
            }
            Command::TimeOut { question_id } => {
                let question = self.find_question(question_id).ok_or(Refusal::NoSuchQuestion)?;
                if question.timed_out || question.answer.is_some() || status.is_end() {
                    return Ok(vec![]);
                }
                let patience = TimeDelta::seconds(round.conversation.answer_timeout_s.into());
                if context.now < question.asked_at + patience {
                    return Err(Refusal::TooEarly);
                }
                Ok(vec![Event::QuestionTimedOut { question_id }])
            }
            Command::ChangeDifficulty { to } => {
                self.in_progress("change its difficulty, as one that is IN_PROGRESS")?;
                self.needs_consent()?;
                let from = self.difficulty();
                Ok(if from == to { vec![] } else { vec![Event::DifficultyChanged { from, to }] })
            }
            Command::AddNote { text } => {
                let member_id = context.caller.member().ok_or(Refusal::NeedsInterviewer)?;
                let text = values::bounded("text", &text, MAX_NOTE_CHARS)?;
                let text = Personal::new(Subject::Candidate(round.candidate_id), text);
                Ok(vec![Event::NoteAdded { member_id, text }])
            }
            Command::Complete => self.complete(status, super::CompletionReason::ClosedByPerson),
            Command::CompleteAsAi { reason } => {
                if round.mode != Mode::AiConducted {
                    return Err(Refusal::NoAi);
                }
                self.complete(status, reason)
            }
            Command::Abandon => self.abandon(status, round, context.now),
            Command::Cancel { reason } => {
                let reason =
                    reason.map(|r| values::bounded("reason", &r, MAX_NOTE_CHARS)).transpose()?;
                let reason =
                    reason.map(|r| Personal::new(Subject::Candidate(round.candidate_id), r));
                match status {
                    Status::Cancelled => Ok(vec![]),
                    Status::InProgress if reason.is_none() => Err(Refusal::NeedsReason),
                    Status::Completed | Status::Abandoned => {
                        Err(illegal(status, "become CANCELLED"))
                    }
                    _ => Ok(vec![Event::Cancelled { reason }]),
                }
            }
            Command::MarkNoShow => match status {
                Status::NoShow => Ok(vec![]),
                Status::Scheduled | Status::WaitingForCandidate | Status::WaitingForInterviewer => {
                    match self.scheduled_at {
                        Some(begin) if context.now < begin => Err(Refusal::TooEarly),
                        _ => Ok(vec![Event::MarkedNoShow {}]),
                    }
                }
                _ => Err(illegal(status, "become NO_SHOW")),
            },
        }
    }

    fn evolve(self, event: &Event, at: DateTime<Utc>) -> Self {
        self.apply(event, at)
    }
}

fn illegal(from: Status, order: &'static str) -> Refusal {
    match from {
        Status::Completed => Refusal::AlreadyCompleted,
        _ => Refusal::IllegalTransition { from, order },
    }
}

fn active_member(facts: &Facts, id: crate::ids::MemberId) -> bool {
    facts.members.get(&id).is_some_and(crate::member::Member::is_active)
}

/// A time that a round can have: not past (five minutes of grace), within two years.
fn time(at: DateTime<Utc>, duration_minutes: u16, now: DateTime<Utc>) -> Result<(), Invalid> {
    if at < now - TimeDelta::minutes(5) || at > now + TimeDelta::days(730) {
        let why = "must lie in the future, within two years".to_owned();
        return Err(Invalid { field: "scheduledAt", why });
    }
    if !(5..=480).contains(&duration_minutes) {
        let why = "must be between 5 and 480 minutes".to_owned();
        return Err(Invalid { field: "durationMinutes", why });
    }
    Ok(())
}

/// What makes a round: all the references must hold.
fn round(planned: &PlanRound, facts: &Facts) -> Result<Round, Refusal> {
    let application = facts.applications.get(&planned.application_id);
    let application = application
        .filter(|application| application.is_open())
        .ok_or(Refusal::NoSuchApplication)?;
    let fits = application.candidate() == Some(planned.candidate_id)
        && application.job() == Some(planned.job_id);
    if !fits {
        return Err(Refusal::NoSuchApplication);
    }
    let candidate = facts.candidates.get(&planned.candidate_id);
    if !candidate.is_some_and(crate::candidate::Candidate::is_active) {
        return Err(Refusal::NoSuchCandidate);
    }
    let job = facts.jobs.get(&planned.job_id).filter(|job| job.is_published());
    let job = job.ok_or(Refusal::NoSuchJob)?;
    let hiring_manager = job.manager().ok_or(Refusal::NoSuchJob)?;
    let rubric_version = job.rubric_version().ok_or(Refusal::NoSuchJob)?;
    match (planned.mode, planned.interviewer_id) {
        (Mode::AiConducted, Some(_)) => return Err(Refusal::NoInterviewerWanted),
        (Mode::HumanAiAssisted | Mode::HumanOnly, None) => return Err(Refusal::NeedsInterviewer),
        (_, Some(id)) if !active_member(facts, id) => return Err(Refusal::NoSuchInterviewer),
        _ => {}
    }
    if let Some(resume_id) = planned.resume_id {
        let resume = facts.resumes.get(&resume_id);
        if resume.and_then(crate::resume::Resume::candidate) != Some(planned.candidate_id) {
            return Err(Refusal::NoSuchResume);
        }
    }
    if let Some(old) = planned.restart_of {
        let restartable = facts.interviews.get(&old).is_some_and(|old| {
            old.status == Some(Status::Abandoned)
                && old.round.as_ref().is_some_and(|r| r.application_id == planned.application_id)
        });
        if !restartable {
            return Err(Refusal::NotRestartable);
        }
    }
    if !(1..=100).contains(&planned.round_number) {
        let why = "must be between 1 and 100".to_owned();
        return Err(Invalid { field: "roundNumber", why }.into());
    }
    Ok(Round {
        candidate_id: planned.candidate_id,
        job_id: planned.job_id,
        application_id: planned.application_id,
        round_number: planned.round_number,
        round_type: planned.round_type,
        mode: planned.mode,
        interviewer_id: planned.interviewer_id,
        hiring_manager,
        resume_id: planned.resume_id,
        rubric_version,
        conversation: job.conversation().clone(),
        restart_of: planned.restart_of,
    })
}

impl Interview {
    fn make(&self, command: Command, context: Context<'_>) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Plan { round: planned } => {
                Ok(vec![Event::Planned { round: round(&planned, context.facts)? }])
            }
            Command::Schedule { round: Some(planned), at, duration_minutes } => {
                let round = round(&planned, context.facts)?;
                time(at, duration_minutes, context.now)?;
                Ok(vec![Event::Scheduled { round: Some(round), at, duration_minutes }])
            }
            _ => Err(Refusal::Missing),
        }
    }

    fn is_at(&self, at: DateTime<Utc>, duration_minutes: u16) -> bool {
        self.scheduled_at == Some(at) && self.duration_minutes == duration_minutes
    }

    fn needs_consent(&self) -> Result<(), Refusal> {
        if self.round.as_ref().is_some_and(|round| round.mode == Mode::HumanOnly) {
            return Err(Refusal::NoAi);
        }
        if self.ai_may_analyse() { Ok(()) } else { Err(Refusal::NoConsent) }
    }

    fn in_progress(&self, order: &'static str) -> Result<(), Refusal> {
        match self.status {
            Some(Status::InProgress) => Ok(()),
            Some(status) => Err(illegal(status, order)),
            None => Err(Refusal::Missing),
        }
    }

    fn find_question(&self, id: QuestionId) -> Option<&QuestionState> {
        self.questions.iter().find(|question| question.question_id == id)
    }

    fn find_answer(&self, id: AnswerId) -> Option<&AnswerState> {
        self.questions.iter().filter_map(|q| q.answer.as_ref()).find(|a| a.answer_id == id)
    }

    /// Coming: in a round with a person, who comes second starts it.
    fn join(&self, party: Party, status: Status, round: &Round) -> Result<Vec<Event>, Refusal> {
        if party == Party::Interviewer && round.mode == Mode::AiConducted {
            return Err(Refusal::NoInterviewerWanted);
        }
        let (present, other) = match party {
            Party::Candidate => (self.candidate_present, self.interviewer_present),
            Party::Interviewer => (self.interviewer_present, self.candidate_present),
        };
        let joined = Event::Joined { party };
        match status {
            _ if status.is_end() => Err(illegal(status, "be joined, as one that is SCHEDULED")),
            Status::Planned | Status::NoShow => {
                Err(illegal(status, "be joined, as one that is SCHEDULED"))
            }
            _ if present => Ok(vec![]),
            Status::InProgress => Ok(vec![joined]),
            _ if round.mode != Mode::AiConducted && other => Ok(vec![joined, Event::Started {}]),
            _ => Ok(vec![joined]),
        }
    }

    /// Starting by hand: a round conducted by AI, once the candidate came and consented.
    fn start(&self, status: Status, round: &Round) -> Result<Vec<Event>, Refusal> {
        match (status, round.mode) {
            (Status::InProgress, _) => Ok(vec![]),
            (Status::Scheduled, Mode::AiConducted) => {
                self.needs_consent()?;
                if !self.candidate_present {
                    return Err(Refusal::CandidateAbsent);
                }
                Ok(vec![Event::Started {}])
            }
            _ => Err(illegal(status, "become IN_PROGRESS")),
        }
    }

    fn ask(
        &self,
        question_id: QuestionId,
        ask: Ask,
        asked_by: AskedBy,
        context: Context<'_>,
    ) -> Result<Vec<Event>, Refusal> {
        self.in_progress("be asked in, as one that is IN_PROGRESS")?;
        if self.find_question(question_id).is_some() {
            return Err(Refusal::QuestionExists);
        }
        if self.open_question().is_some() {
            return Err(Refusal::QuestionOpen);
        }
        let round = self.round.as_ref().ok_or(Refusal::Missing)?;
        let subject = Subject::Candidate(round.candidate_id);
        let sequence = self.sequence + 1;
        match ask {
            Ask::JobQuestion(id) => {
                let job = context.facts.jobs.get(&round.job_id).ok_or(Refusal::NoSuchJob)?;
                let question = job.questions().iter().find(|q| q.question_id == id);
                let question = question.ok_or(Refusal::NoSuchQuestion)?.clone();
                Ok(vec![Event::QuestionAsked {
                    question_id,
                    sequence,
                    job_question_id: Some(id),
                    text: QuestionText::Job { text: question.text },
                    question_type: question.question_type,
                    difficulty: question.difficulty,
                    dimensions: question.dimensions,
                    asked_by,
                }])
            }
            Ask::Own { text, question_type, difficulty, dimensions } => {
                let text = values::bounded("text", &text, MAX_NOTE_CHARS)?;
                Ok(vec![Event::QuestionAsked {
                    question_id,
                    sequence,
                    job_question_id: None,
                    text: QuestionText::Own { text: Personal::new(subject, text) },
                    question_type,
                    difficulty,
                    dimensions,
                    asked_by,
                }])
            }
        }
    }

    fn follow_up(
        &self,
        question_id: QuestionId,
        follow_up_of: QuestionId,
        text: &str,
        provenance: Provenance,
    ) -> Result<Vec<Event>, Refusal> {
        self.in_progress("be asked in, as one that is IN_PROGRESS")?;
        let of = self.find_question(follow_up_of).ok_or(Refusal::NoSuchQuestion)?;
        let followed = self.questions.iter().any(|q| q.follow_up_of == Some(follow_up_of));
        if of.follow_up_of.is_some() || followed {
            return Err(Refusal::AlreadyFollowedUp);
        }
        if self.find_question(question_id).is_some() {
            return Err(Refusal::QuestionExists);
        }
        if self.open_question().is_some() {
            return Err(Refusal::QuestionOpen);
        }
        let candidate = self.candidate().ok_or(Refusal::Missing)?;
        let text = values::bounded("text", text, MAX_NOTE_CHARS)?;
        Ok(vec![Event::FollowUpAsked {
            question_id,
            sequence: self.sequence + 1,
            follow_up_of,
            text: Personal::new(Subject::Candidate(candidate), text),
            asked_by: AskedBy::Ai { provenance },
        }])
    }

    fn answer(
        &self,
        answer_id: AnswerId,
        question_id: QuestionId,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Event>, Refusal> {
        self.in_progress("be answered in, as one that is IN_PROGRESS")?;
        let question = self.find_question(question_id).ok_or(Refusal::NoSuchQuestion)?;
        if question.answer.is_some() {
            return Err(Refusal::AlreadyAnswered);
        }
        if question.timed_out {
            return Err(Refusal::QuestionClosed);
        }
        if self.find_answer(answer_id).is_some() {
            return Err(Refusal::AnswerExists);
        }
        let candidate = self.candidate().ok_or(Refusal::Missing)?;
        let text = values::bounded("text", text, MAX_ANSWER_CHARS)?;
        let waited = (now - question.asked_at).num_milliseconds();
        Ok(vec![Event::AnswerRecorded {
            answer_id,
            question_id,
            sequence: self.sequence + 1,
            text: Personal::new(Subject::Candidate(candidate), text),
            response_time_ms: u64::try_from(waited).unwrap_or(0),
        }])
    }

    fn complete(
        &self,
        status: Status,
        reason: super::CompletionReason,
    ) -> Result<Vec<Event>, Refusal> {
        match status {
            Status::InProgress => Ok(vec![Event::Completed { reason }]),
            _ => Err(illegal(status, "become COMPLETED")),
        }
    }

    fn abandon(
        &self,
        status: Status,
        round: &Round,
        now: DateTime<Utc>,
    ) -> Result<Vec<Event>, Refusal> {
        match (status, self.last_activity) {
            (Status::Abandoned, _) => Ok(vec![]),
            (Status::InProgress, Some(last)) => {
                let patience = TimeDelta::seconds(round.conversation.abandon_after_s.into());
                if now < last + patience {
                    Err(Refusal::TooEarly)
                } else {
                    Ok(vec![Event::Abandoned {}])
                }
            }
            _ => Err(illegal(status, "become ABANDONED")),
        }
    }
}
