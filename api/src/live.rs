//! What subscriptions share: cursors, and the gate that asks for each event whether the caller may
//! see it now.

use std::sync::Arc;
use std::time::Duration;

use domain::Caller;
use domain::caller::Actor;
use domain::ids::{CandidateId, InterviewId};
use domain::permission::{self, Action, Relation};
use domain::{Aggregate, Event, candidate, company, interview, observation, verdict};
use futures::stream::BoxStream;
use projections::live::Topic;
use projections::{Recorded, Token};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ApiState;
use crate::auth::Session;
use crate::error::ApiError;
use crate::scope::{is_candidate, reachable};

/// Longest life of a right that was taken away while a stream runs.
const FRESH: Duration = Duration::from_secs(1);

/// Where a subscription to `topic` goes on: a cursor is the consistency token of an event, so that one
/// kind of token serves mutations, queries and subscriptions alike.
///
/// # Errors
/// `CURSOR_INVALID` for what is no token of an event of the topic.
pub fn place(after: Option<&str>, topic: &Topic) -> Result<Option<Token>, ApiError> {
    let Some(after) = after else { return Ok(None) };
    let token: Option<Token> = after.parse().ok();
    let token = token.filter(|token| topic.covers(&token.stream));
    Ok(Some(token.ok_or_else(foreign_cursor)?))
}

/// A cursor that is not one of what is subscribed to.
#[must_use]
pub fn foreign_cursor() -> ApiError {
    ApiError::new("CURSOR_INVALID", "the cursor is not one of this subscription")
}

/// The cursor of an event.
#[must_use]
pub fn cursor(recorded: &Recorded) -> String {
    token(recorded).to_string()
}

/// The consistency token of an event.
#[must_use]
pub fn token(recorded: &Recorded) -> Token {
    let stored = &recorded.stored;
    let (stream, version, position) = (stored.stream.clone(), stored.version, stored.position);
    Token { stream, version, position }
}

/// Who may see an event at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever holds this right, the interview's candidate included where it has one.
    All(Action),
    /// The same without candidates.
    Staff(Action),
    /// Nobody on a live stream.
    Nobody,
}

impl Audience {
    /// Whether the caller, standing so to the instance, belongs to it.
    #[must_use]
    pub fn has(self, caller: &Caller, relation: Relation) -> bool {
        match self {
            Self::All(action) => permission::allows(caller, action, relation),
            Self::Staff(action) => {
                !is_candidate(caller) && permission::allows(caller, action, relation)
            }
            Self::Nobody => false,
        }
    }
}

/// The one table of who may see which event. Exhaustive, so that a new event asks the question anew.
#[must_use]
pub fn audience(event: &Event) -> Audience {
    use Audience::{All, Nobody, Staff};
    match event {
        Event::Interview(event) => of_interview(event),
        Event::Observation(
            observation::Event::InsightRaised { .. } | observation::Event::IntegrityFlagged { .. },
        ) => Staff(Action::ReadObservations),
        Event::Verdict(event) => match event {
            verdict::Event::Opened { .. }
            | verdict::Event::Proposed { .. }
            | verdict::Event::AssessmentFailed { .. }
            | verdict::Event::AssessmentRestarted { .. }
            | verdict::Event::Signed { .. } => Staff(Action::ReadVerdict),
            verdict::Event::PrivateNotesRecorded { .. } => Staff(Action::ReadPrivateNotes),
        },
        Event::Access(_) | Event::Account(_) | Event::AiCall(_) | Event::CompanyRequest(_) => {
            Nobody
        }
        Event::Application(_) | Event::Candidate(_) | Event::Resume(_) => {
            All(Action::ReadCandidate)
        }
        Event::Company(_) => All(Action::ReadCompany),
        Event::Member(_) => All(Action::ReadMembers),
        Event::Job(_) => All(Action::ReadJob),
    }
}

fn of_interview(event: &interview::Event) -> Audience {
    use interview::Event::{
        Abandoned, AccessFirstUsed, AccessIssued, AccessRevoked, AnswerJudged, AnswerRecorded,
        Cancelled, Completed, ConsentGiven, ConsentWithdrawn, DifficultyChanged, FollowUpAsked,
        InterviewerAssigned, Joined, Left, MarkedNoShow, NoteAdded, Planned, QuestionAsked,
        QuestionTimedOut, Rescheduled, Scheduled, Started,
    };
    match event {
        Planned { .. }
        | Scheduled { .. }
        | Rescheduled { .. }
        | ConsentGiven { .. }
        | ConsentWithdrawn {}
        | Joined { .. }
        | Left { .. }
        | Started {}
        | QuestionAsked { .. }
        | FollowUpAsked { .. }
        | AnswerRecorded { .. }
        | QuestionTimedOut { .. }
        | Completed { .. }
        | Abandoned {}
        | Cancelled { .. }
        | MarkedNoShow {} => Audience::All(Action::ReadInterview),
        InterviewerAssigned { .. }
        | AccessIssued { .. }
        | AccessFirstUsed { .. }
        | AccessRevoked { .. }
        | AnswerJudged { .. }
        | DifficultyChanged { .. }
        | NoteAdded { .. } => Audience::Staff(Action::ReadInterview),
    }
}

/// Knows, at most a second late, who asks while a stream runs, and tells the session of it.
pub struct Gate {
    state: ApiState,
    session: Session,
    caller: Arc<Caller>,
    asked_at: Instant,
}

impl Gate {
    /// A gate for who is signed in.
    ///
    /// # Errors
    /// `AUTH_REQUIRED`.
    pub fn new(state: &ApiState, session: &Session) -> Result<Self, ApiError> {
        let caller = session.caller()?;
        let (state, session) = (state.clone(), session.clone());
        Ok(Self { state, session, caller, asked_at: Instant::now() })
    }

    /// Who asks, as last known.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// A signal each time that something happened on which the caller's rights rest: to the member, to
    /// a custom role, to the candidate's record, to the guest's access, or to who is assigned to the
    /// interview that is watched.
    #[must_use]
    pub fn changes(&self, watched: Option<InterviewId>) -> BoxStream<'static, ()> {
        let caller = Arc::clone(&self.caller);
        self.state.live.changes(move |recorded| touches(&caller, watched, recorded))
    }

    /// Asks again who asks, if that is more than a second old; answers whether it was.
    ///
    /// # Errors
    /// Why the token is no longer good.
    pub async fn refresh(&mut self) -> Result<bool, ApiError> {
        if self.asked_at.elapsed() < FRESH {
            return Ok(false);
        }
        self.caller = self.session.again(&self.state.identity).await?;
        self.asked_at = Instant::now();
        Ok(true)
    }

    /// Asks again who asks, at once.
    ///
    /// # Errors
    /// Why the token is no longer good.
    pub async fn renew(&mut self) -> Result<(), ApiError> {
        self.caller = self.session.anew(&self.state.identity).await?;
        self.asked_at = Instant::now();
        Ok(())
    }

    /// How the caller stands to an interview, by the log itself.
    ///
    /// # Errors
    /// `UNAVAILABLE`, or another reason why the history cannot be read.
    pub async fn stands_to_interview(&self, id: Uuid) -> Result<Relation, ApiError> {
        let state = self.read::<interview::Interview>(id).await?;
        Ok(state.map(|state| state.stands_to(&self.caller)).unwrap_or_default())
    }

    /// The state of an aggregate of the caller's company, by the log itself.
    ///
    /// # Errors
    /// `UNAVAILABLE`, or another reason why the history cannot be read.
    pub async fn read<A: Aggregate>(&self, id: Uuid) -> Result<Option<A>, ApiError> {
        Ok(self.state.bus.state::<A>(self.caller.company, id).await?)
    }
}

/// Whether an event may have changed what the caller may see.
fn touches(caller: &Caller, watched: Option<InterviewId>, recorded: &Recorded) -> bool {
    let stream = &recorded.stored.stream;
    if stream.company != caller.company {
        return false;
    }
    match (&recorded.event, caller.actor) {
        (Event::Member(_), Actor::Member(member)) => member.0 == stream.id,
        // Which custom role the member has may itself have changed since.
        (
            Event::Company(company::Event::RoleChanged { .. } | company::Event::RoleRemoved { .. }),
            Actor::Member(_),
        ) => true,
        (
            Event::Candidate(candidate::Event::Archived {} | candidate::Event::AccountUnlinked {}),
            Actor::Candidate(own),
        ) => own.0 == stream.id,
        (Event::Interview(interview::Event::AccessRevoked { .. }), Actor::Guest { .. })
        | (Event::Interview(interview::Event::InterviewerAssigned { .. }), _) => {
            watched.is_some_and(|watched| watched.0 == stream.id)
        }
        _ => false,
    }
}

/// One interview, whose events and whose verdict's and observations' events are let through one by
/// one.
pub struct Watch {
    gate: Gate,
    interview: InterviewId,
    candidate: CandidateId,
    base: Action,
    relation: Relation,
}

impl Watch {
    /// Begins to watch an interview, for who may see at all what `base` is the right to.
    ///
    /// # Errors
    /// `AUTH_003` for who has no such right to any interview; `INT_001` where it is not there or out of
    /// the caller's reach.
    pub async fn begin(gate: Gate, id: InterviewId, base: Action) -> Result<Self, ApiError> {
        reachable(&gate.caller, id)?;
        if permission::scope(&gate.caller, base).is_empty() {
            return Err(ApiError::forbidden());
        }
        let known = gate.read::<interview::Interview>(id.0).await?;
        let known =
            known.and_then(|state| Some((state.stands_to(&gate.caller), state.candidate()?)));
        let seen = |known: &(Relation, _)| permission::allows(&gate.caller, base, known.0);
        let known = known.filter(seen).ok_or_else(|| ApiError::not_found("INT_001"))?;
        let (relation, candidate) = known;
        Ok(Self { gate, interview: id, candidate, base, relation })
    }

    /// The interview, and whom it is held with.
    #[must_use]
    pub fn about(&self) -> (InterviewId, CandidateId) {
        (self.interview, self.candidate)
    }

    /// Who watches.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// See [`Gate::changes`].
    #[must_use]
    pub fn changes(&self) -> BoxStream<'static, ()> {
        self.gate.changes(Some(self.interview))
    }

    /// Whether the caller may see this event now.
    ///
    /// # Errors
    /// `AUTH_003` once the right to the whole stream is gone, and the stream ends with it; or why the
    /// token is no longer good.
    pub async fn lets_through(&mut self, recorded: &Recorded) -> Result<bool, ApiError> {
        let refreshed = self.gate.refresh().await?;
        let reassigned = matches!(
            recorded.event,
            Event::Interview(interview::Event::InterviewerAssigned { .. })
        );
        if refreshed || reassigned {
            self.relate().await?;
        }
        self.holds()?;
        Ok(audience(&recorded.event).has(&self.gate.caller, self.relation))
    }

    /// Looks at once whether the right to the whole stream is still there.
    ///
    /// # Errors
    /// See [`Watch::lets_through`].
    pub async fn renew(&mut self) -> Result<(), ApiError> {
        self.gate.renew().await?;
        self.relate().await?;
        self.holds()
    }

    /// Finds out anew how the caller stands to the interview, where that can change.
    async fn relate(&mut self) -> Result<(), ApiError> {
        let caller = &self.gate.caller;
        if !is_candidate(caller) && !permission::scope(caller, self.base).all {
            self.relation = self.gate.stands_to_interview(self.interview.0).await?;
        }
        Ok(())
    }

    fn holds(&self) -> Result<(), ApiError> {
        match permission::allows(&self.gate.caller, self.base, self.relation) {
            true => Ok(()),
            false => Err(ApiError::forbidden()),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::caller::{Actor, Role};
    use domain::ids::{CandidateId, CompanyId, MemberId};
    use domain::samples;

    use super::*;

    fn caller(actor: Actor, roles: Vec<Role>) -> Caller {
        Caller::new(CompanyId(Uuid::from_u128(9)), actor, roles)
    }

    fn member(role: Role) -> Caller {
        caller(Actor::Member(MemberId(Uuid::from_u128(1))), vec![role])
    }

    fn guest() -> Caller {
        let interview = InterviewId(Uuid::from_u128(2));
        caller(Actor::Guest { interview, candidate: CandidateId(Uuid::from_u128(3)) }, vec![])
    }

    /// Names of the sample events that the caller sees of what is its own in every way.
    fn seen(caller: &Caller) -> Vec<String> {
        let own = Relation { assigned: true, own_job: true, own: true };
        let mut names: Vec<String> = events()
            .into_iter()
            .filter(|(_, event)| audience(event).has(caller, own))
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn events() -> Vec<(String, Event)> {
        let named = |event: Event| {
            let tagged = event.serialize_tagged(serde_json::value::Serializer).expect("JSON");
            let kind = tagged["type"].as_str().expect("a type").to_owned();
            (format!("{}.{kind}", event.aggregate()), event)
        };
        samples::all().into_iter().map(named).collect()
    }

    #[test]
    fn candidates_see_the_conversation_and_nothing_of_what_is_thought_of_it() {
        assert_eq!(
            seen(&guest()),
            [
                "interview.abandoned",
                "interview.answer_recorded",
                "interview.cancelled",
                "interview.completed",
                "interview.consent_given",
                "interview.consent_withdrawn",
                "interview.follow_up_asked",
                "interview.joined",
                "interview.left",
                "interview.marked_no_show",
                "interview.planned",
                "interview.question_asked",
                "interview.question_timed_out",
                "interview.rescheduled",
                "interview.scheduled",
                "interview.started",
            ]
        );
    }

    #[test]
    fn private_notes_are_seen_by_hr_and_administrators_only() {
        let name = "verdict.private_notes_recorded".to_owned();
        let with: Vec<Role> =
            Role::ALL.into_iter().filter(|role| seen(&member(*role)).contains(&name)).collect();
        assert_eq!(with, [Role::SystemAdmin, Role::CompanyAdmin, Role::Hr]);
    }

    #[test]
    fn calls_to_models_and_logins_stand_on_no_live_stream() {
        for role in Role::ALL {
            let seen = seen(&member(role));
            assert!(!seen.iter().any(|n| n.starts_with("ai_call.") || n.starts_with("account.")));
        }
    }

    #[test]
    fn who_lost_the_assignment_sees_nothing_any_more() {
        let employee = member(Role::Employee);
        let lost = Relation::default();
        let interviews = events().into_iter().filter(|(name, _)| name.starts_with("interview."));
        for (name, event) in interviews {
            assert!(!audience(&event).has(&employee, lost), "{name}");
        }
    }
}
