//! The conductor leads a talk in a round conducted by AI: the first question, judging each answer,
//! asking back once, the next question by the plan, and closing.
//!
//! Each event leads to at most one order, and all orders of one event share one command id: whatever
//! is decided when the event comes again, what was ordered the first time stands. A difficulty that
//! changes is an event of its own, from which the next question follows.
//!
//! Nothing here can end a talk by failing: an answer that cannot be judged stays unjudged, and where
//! no model chooses a question the built-in rules do.

pub mod plan;

use async_trait::async_trait;
use commands::derive_id;
use domain::Aggregate;
use domain::caller::Caller;
use domain::ids::{AnswerId, QuestionId};
use domain::interview::{Ask, Command, Event, Interview, Party};
use domain::job::{Difficulty, Job, Question};
use domain::personal::Subject;
use domain::values::{Provenance, Spelled};
use eventlog::codec::Recorded;
use eventlog::envelope::{StoredEvent, StreamId};
use uuid::Uuid;

use crate::ai::rules::RulesAi;
use crate::ai::{Exchange, JudgeAnswer, Judgement, NextQuestion, NextStep, RemainingQuestion};
use crate::ai_log::{Asking, Recalled};
use crate::history::View;
use crate::reactor::{Fault, Reactor, Settled, Tools};
use crate::talk::{self, Talk, Turn};
use plan::{Asked, Pool, Step};

/// What all orders of one event share.
const PURPOSE: &str = "lead";
/// How often another question is chosen when the chosen one was taken away meanwhile.
const MOST_CHOICES: u32 = 3;

/// Leads talks in rounds conducted by AI.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conductor;

/// What follows from an event of a talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Judge this answer.
    Judge(AnswerId),
    /// Ask back on this question, if its judge gave a question for it.
    AskBack {
        /// The question.
        question_id: QuestionId,
        /// The call that judged its answer.
        call_id: Uuid,
    },
    /// Go on by the plan.
    GoOn,
}

#[async_trait]
impl Reactor for Conductor {
    const NAME: &'static str = "reactor.conductor";
    const AGGREGATE: &'static str = Interview::NAME;
    const EVENTS: &'static [&'static str] = &[
        "interview.started",
        "interview.answer_recorded",
        "interview.answer_judged",
        "interview.question_timed_out",
        "interview.difficulty_changed",
        "interview.consent_given",
        "interview.joined",
    ];
    type Action = Action;

    fn react(&self, view: &View, event: &Recorded) -> Vec<Action> {
        let Some(event) = Interview::event(&event.event) else {
            return vec![];
        };
        let Some(talk) = Talk::of(view).filter(Talk::is_led_by_ai) else {
            return vec![];
        };
        if talk.has_open_question() {
            return vec![];
        }
        what_follows(&talk, view, event).into_iter().collect()
    }

    async fn act(
        &self,
        action: Action,
        view: &View,
        cause: &StoredEvent,
        tools: &Tools,
    ) -> Result<(), Fault> {
        let Some(talk) = Talk::of(view) else {
            return Ok(());
        };
        // Consent may have been withdrawn since the event, and then nothing may reach a model.
        let now = tools.histories.now(&cause.stream).await?;
        if !Talk::of(&now).is_some_and(|now| now.is_led_by_ai()) {
            return Ok(());
        }
        let caller = Caller::ai(cause.stream.company, "conductor");
        let turn = Lead { talk: &talk, cause, tools, caller: &caller };
        match action {
            Action::Judge(answer_id) => turn.judge(answer_id).await,
            Action::AskBack { question_id, call_id } => turn.ask_back(question_id, call_id).await,
            Action::GoOn => turn.go_on().await,
        }
    }
}

fn what_follows(talk: &Talk, view: &View, event: &Event) -> Option<Action> {
    match event {
        Event::Started {} | Event::DifficultyChanged { .. } => Some(Action::GoOn),
        Event::AnswerRecorded { answer_id, .. } => Some(Action::Judge(*answer_id)),
        Event::AnswerJudged { answer_id, .. } => {
            let turn = talk.turn_of(*answer_id)?;
            Some(asking_back(talk, turn).unwrap_or(Action::GoOn))
        }
        // Nobody is asked who has gone: either the candidate comes back, or the round falls silent.
        Event::QuestionTimedOut { .. } => talk.candidate_present.then_some(Action::GoOn),
        Event::Joined { party: Party::Candidate } => {
            talk.turns.last().is_some_and(|turn| turn.timed_out).then_some(Action::GoOn)
        }
        // Consent that comes back takes the talk up where it stood.
        Event::ConsentGiven { .. } => {
            let before: Interview = view.before().state();
            if before.ai_may_analyse() {
                return None;
            }
            match talk.turns.last().and_then(|turn| turn.answer.as_ref()) {
                Some(said) if said.judged.is_none() => Some(Action::Judge(said.answer_id)),
                _ => Some(Action::GoOn),
            }
        }
        _ => None,
    }
}

/// A base question is asked back on once, where its answer lacks something.
fn asking_back(talk: &Talk, turn: &Turn) -> Option<Action> {
    let judged = turn.answer.as_ref()?.judged?;
    let wanted = turn.follow_up_of.is_none()
        && talk.follow_up_to(turn.question_id).is_none()
        && judged.completeness < plan::FOLLOW_UP_BELOW;
    wanted.then_some(Action::AskBack { question_id: turn.question_id, call_id: judged.call_id })
}

/// Leading on from one event.
struct Lead<'a> {
    talk: &'a Talk,
    cause: &'a StoredEvent,
    tools: &'a Tools,
    caller: &'a Caller,
}

impl Lead<'_> {
    async fn order(&self, command: Command) -> Result<Settled, Fault> {
        let id = self.cause.stream.id;
        self.tools.order::<Interview>(self.caller, id, command, self.cause, PURPOSE).await
    }

    fn asking(&self, attempt: u32) -> Asking<'_> {
        Asking {
            caller: self.caller,
            cause: self.cause,
            about: self.cause.stream.id,
            subject: Subject::Candidate(self.talk.candidate_id()),
            attempt,
        }
    }

    /// The question's id in this interview: the same whenever the event comes.
    fn question_id(&self) -> QuestionId {
        QuestionId(derive_id(self.caller, self.cause.event_id, "question", 0))
    }

    async fn job(&self) -> Result<View, Fault> {
        let stream = StreamId::new(self.cause.stream.company, Job::NAME, self.talk.round.job_id.0);
        self.tools.histories.now(&stream).await
    }

    async fn judge(&self, answer_id: AnswerId) -> Result<(), Fault> {
        let job = self.job().await?;
        let Some(request) = judging(self.talk, &job, answer_id) else {
            return Ok(());
        };
        if let Recalled::Answered { value, provenance } =
            self.tools.ai.ask(&self.asking(0), &request).await?
        {
            let Judgement { completeness, score, feedback, .. } = value;
            let command =
                Command::JudgeAsAi { answer_id, completeness, score, feedback, provenance };
            if let Settled::Done(_) = self.order(command).await? {
                return Ok(());
            }
        }
        // Unjudged, the talk goes on: a fault of ours is never the candidate's.
        self.go_on().await
    }

    async fn ask_back(&self, follow_up_of: QuestionId, call_id: Uuid) -> Result<(), Fault> {
        let judged = self.tools.ai.recall::<Judgement>(&self.asking(0), call_id).await?;
        if let Some(Recalled::Answered { value, provenance }) = judged
            && let Some(text) = value.follow_up
        {
            let question_id = self.question_id();
            let command = Command::FollowUpAsAi { question_id, follow_up_of, text, provenance };
            if let Settled::Done(_) = self.order(command).await? {
                return Ok(());
            }
        }
        self.go_on().await
    }

    async fn go_on(&self) -> Result<(), Fault> {
        for choice in 0..MOST_CHOICES {
            let job: Job = self.job().await?.state();
            let left = left(self.talk, &job);
            let level = self.talk.state.difficulty();
            let command = match plan::next(
                level,
                &asked(self.talk),
                &self.talk.round.conversation,
                pool(&left),
            ) {
                Step::GoUp(to) => Command::ChangeDifficulty { to },
                Step::Close(reason) => Command::CompleteAsAi { reason },
                Step::Ask(difficulty) => {
                    let Some((question, provenance)) =
                        self.choose(&job, &left, difficulty, choice).await?
                    else {
                        return Ok(());
                    };
                    let ask = Ask::JobQuestion(question);
                    Command::AskAsAi { question_id: self.question_id(), ask, provenance }
                }
            };
            match self.order(command).await? {
                // Taken out of the job since it was chosen: another one will do.
                Settled::Refused("INT_QUESTION_NOT_FOUND") => {}
                Settled::Done(_) | Settled::Refused(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Lets a model choose among the questions of the wanted difficulty, or the rules if none can.
    async fn choose(
        &self,
        job: &Job,
        left: &[(u32, &Question)],
        wanted: Difficulty,
        choice: u32,
    ) -> Result<Option<(QuestionId, Provenance)>, Fault> {
        let request = NextQuestion {
            brief: talk::brief(job),
            remaining: remaining(left, wanted),
            transcript: transcript(self.talk),
            wanted: talk::difficulty(wanted),
            may_invent: false,
        };
        let asking = self.asking(choice * 2);
        let chosen = self.tools.ai.ask(&asking, &request).await?;
        if let Some(chosen) = chosen_question(chosen) {
            return Ok(Some(chosen));
        }
        let asking = self.asking(choice * 2 + 1);
        let chosen = self.tools.ai.ask_instead(&RulesAi, &asking, &request).await?;
        Ok(chosen_question(chosen))
    }
}

fn chosen_question(recalled: Recalled<NextStep>) -> Option<(QuestionId, Provenance)> {
    match recalled {
        Recalled::Answered { value: NextStep::Job(id), provenance } => {
            Some((QuestionId(Uuid::try_parse(&id).ok()?), provenance))
        }
        Recalled::Answered { value: NextStep::Own(_) | NextStep::Close, .. }
        | Recalled::Failed { .. } => None,
    }
}

/// The base questions asked so far, each with the better of its scores.
fn asked(talk: &Talk) -> Vec<Asked> {
    let base = talk.turns.iter().filter(|turn| turn.follow_up_of.is_none());
    base.map(|turn| {
        let again = talk.follow_up_to(turn.question_id).and_then(Turn::score);
        let score = [turn.score(), again].into_iter().flatten().reduce(f64::max);
        Asked { difficulty: turn.difficulty, score }
    })
    .collect()
}

/// The job's questions that were not asked, each with its place in the job's list.
fn left<'a>(talk: &Talk, job: &'a Job) -> Vec<(u32, &'a Question)> {
    let was_asked =
        |q: &Question| talk.turns.iter().any(|turn| turn.job_question_id == Some(q.question_id));
    (0..).zip(job.questions()).filter(|(_, question)| !was_asked(question)).collect()
}

fn pool(left: &[(u32, &Question)]) -> Pool {
    let n = |difficulty| left.iter().filter(|(_, q)| q.difficulty == difficulty).count();
    Pool {
        n_warmup: n(Difficulty::Warmup),
        n_standard: n(Difficulty::Standard),
        n_advanced: n(Difficulty::Advanced),
    }
}

/// What a model may choose from: heavier questions first, then in the job's order.
fn remaining(left: &[(u32, &Question)], wanted: Difficulty) -> Vec<RemainingQuestion> {
    let mut of_it: Vec<_> = left.iter().filter(|(_, q)| q.difficulty == wanted).collect();
    of_it.sort_by_key(|(order, q)| (std::cmp::Reverse(q.weight), *order));
    let remaining = |(order, question): &(u32, &Question)| RemainingQuestion {
        id: question.question_id.0.to_string(),
        text: question.text.clone(),
        difficulty: talk::difficulty(question.difficulty),
        weight: f64::from(question.weight),
        order: *order,
    };
    of_it.into_iter().map(remaining).collect()
}

fn transcript(talk: &Talk) -> Vec<Exchange> {
    let exchange = |turn: &Turn| {
        let answer = turn.answer.as_ref()?.text.clone()?;
        Some(Exchange { question: turn.text.clone()?, answer })
    };
    talk.turns.iter().filter_map(exchange).collect()
}

/// What is to be judged; none once the texts are forgotten. The answer to a follow-up is judged
/// together with the answer that it completes, because it rests on it.
fn judging(talk: &Talk, job: &View, answer_id: AnswerId) -> Option<JudgeAnswer> {
    let turn = talk.turn_of(answer_id)?;
    let said = turn.answer.as_ref()?.text.clone()?;
    let asked = turn.text.clone()?;
    let first = turn.follow_up_of.and_then(|base| talk.turn(base));
    let (question, answer) = match first {
        None => (asked, said),
        Some(first) => {
            let said_first = first.answer.as_ref()?.text.clone()?;
            (format!("{}\n{asked}", first.text.clone()?), format!("{said_first}\n\n{said}"))
        }
    };
    let expected = turn.job_question_id.and_then(|id| talk::question_of(job, id));
    Some(JudgeAnswer {
        brief: talk::brief(&job.state()),
        question,
        question_type: turn.question_type.as_str().to_owned(),
        difficulty: talk::difficulty(turn.difficulty),
        expected_keywords: expected.map(|q| q.expected_keywords.clone()).unwrap_or_default(),
        answer,
        already_followed_up: turn.follow_up_of.is_some()
            || talk.follow_up_to(turn.question_id).is_some(),
    })
}
