//! The access log for auditors: who was shown which person's data, when, and what for.

use async_graphql::{Context, Enum, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use domain::access as rules;
use domain::caller::Actor as Caller;
use domain::ids::{CandidateId, InterviewId, MemberId, ResumeId, VerdictId};
use domain::permission::{Action, Rights};
use projections::access_log;
use uuid::Uuid;

use crate::company::Actor;
use crate::error::ApiError;
use crate::inputs::optional_id;
use crate::pagination::{connections, forward, wants_total};
use crate::scope::Scoped;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::What")]
pub enum AccessSubject {
    /// A candidate's record, applications included.
    Candidate,
    /// An uploaded résumé.
    Resume,
    /// An interview with what was said in it and noted about it.
    Transcript,
    /// The verdict on an interview.
    Report,
}

/// A class of fields that hold a person's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Fields")]
pub enum AccessFields {
    /// Name, e-mail address, phone number, source.
    Contact,
    /// What people noted: notes and reasons.
    Notes,
    /// What a résumé says: its file's name, its text, the facts read out of it.
    ResumeText,
    /// The résumé's file itself.
    ResumeFile,
    /// What was asked and answered.
    Transcript,
    /// How answers were judged and scored, proposals and signed decisions.
    Scores,
    /// Insights and integrity flags.
    Observations,
    /// Private notes on a verdict.
    PrivateNotes,
    /// The whole history of an interview, event by event.
    History,
}

/// What persons' data were looked at for, as whoever looked said: in the header `x-purpose`, or in
/// `extensions.purpose` of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "rules::Purpose")]
pub enum AccessPurpose {
    /// To decide whom to hire; a request that says nothing is for this.
    Hiring,
    /// To check how others decided.
    Audit,
    /// To help a user or mend a fault.
    Support,
    /// To answer what the person asks about the own data.
    DataSubjectRequest,
    /// For a dispute or an authority.
    Legal,
}

/// One thing that was shown to somebody. The same to the same viewer within five minutes is one entry.
pub struct AccessEntry(access_log::Row);

/// One thing that was shown to somebody. The same to the same viewer within five minutes is one entry.
#[Object]
impl AccessEntry {
    /// Names the entry.
    async fn id(&self) -> Uuid {
        self.0.view_id
    }

    /// To whom it was shown.
    async fn viewer(&self) -> Actor {
        Actor::parse(&self.0.viewer)
    }

    /// What it is.
    async fn subject(&self) -> AccessSubject {
        self.0.what.into()
    }

    /// Its global id: of the candidate, the résumé, the interview or the verdict.
    async fn subject_id(&self) -> ID {
        let id = self.0.subject_id;
        match self.0.what {
            rules::What::Candidate => CandidateId(id).to_string(),
            rules::What::Resume => ResumeId(id).to_string(),
            rules::What::Transcript => InterviewId(id).to_string(),
            rules::What::Report => VerdictId(id).to_string(),
        }
        .into()
    }

    /// Global id of the candidate whom it is about, `cand_…`.
    async fn candidate_id(&self) -> ID {
        self.0.candidate_id.to_string().into()
    }

    /// Which of its fields were shown.
    async fn fields(&self) -> Vec<AccessFields> {
        self.0.fields.iter().map(|class| (*class).into()).collect()
    }

    /// What for, as the viewer said.
    async fn purpose(&self) -> AccessPurpose {
        self.0.purpose.into()
    }

    /// When, UTC.
    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }
}

connections! {
    AccessConnection, AccessEdge: AccessEntry = "the company's access log";
}

/// Which entries of the access log a list shows.
#[derive(Debug, Default, InputObject)]
pub struct AccessLogFilter {
    /// Only about this candidate, whatever was looked at.
    candidate_id: Option<ID>,
    /// Only by this viewer: a member, `memb_…`, or a program's key, `akey_…`.
    viewer_id: Option<ID>,
    /// Only of such things.
    subject: Option<AccessSubject>,
    /// Only of this one: a candidate, a résumé, an interview or a verdict.
    subject_id: Option<ID>,
    /// Only for this purpose.
    purpose: Option<AccessPurpose>,
    /// Only at this time, UTC, or later.
    from: Option<DateTime<Utc>>,
    /// Only before this time, UTC.
    before: Option<DateTime<Utc>>,
}

impl AccessLogFilter {
    fn read(self) -> Result<access_log::Filter, ApiError> {
        Ok(access_log::Filter {
            candidate_id: optional_id("candidateId", self.candidate_id.as_ref())?,
            viewer: self.viewer_id.as_ref().map(viewer),
            what: self.subject.map(Into::into),
            subject_id: self.subject_id.as_ref().map(subject),
            purpose: self.purpose.map(Into::into),
            from: self.from,
            before: self.before,
        })
    }
}

/// A viewer by its id. What is no id of one names nobody.
fn viewer(id: &ID) -> Caller {
    match id.parse() {
        Ok(id) => Caller::Service { id, rights: Rights::default() },
        Err(_) => Caller::Member(id.parse().unwrap_or(MemberId(Uuid::nil()))),
    }
}

/// What was looked at, by its id. What is no id of such names nothing.
fn subject(id: &ID) -> Uuid {
    let id = id.as_str();
    let candidate = id.parse().map(|CandidateId(id)| id);
    let resume = || id.parse().map(|ResumeId(id)| id);
    let interview = || id.parse().map(|InterviewId(id)| id);
    let verdict = || id.parse().map(|VerdictId(id)| id);
    let found = candidate.or_else(|_| resume()).or_else(|_| interview()).or_else(|_| verdict());
    found.unwrap_or(Uuid::nil())
}

/// Queries on the access log.
#[derive(Default)]
pub struct AccessLogQuery;

#[Object]
impl AccessLogQuery {
    /// Who was shown whose data, newest first: candidates, résumés, transcripts and verdicts. For those
    /// who may replay histories. It shows ids and no person's data, and to read it is not recorded.
    async fn access_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which entries are shown; all without it.")] filter: Option<
            AccessLogFilter,
        >,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor.")] after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<AccessConnection> {
        let view = ctx.view(Action::ReadHistory)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = access_log::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => access_log::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(AccessConnection::of(rows, total, AccessEntry))
    }
}

#[cfg(test)]
mod tests {
    use domain::ids::ApiKeyId;

    use super::*;

    #[test]
    fn viewers_and_subjects_are_found_by_their_ids_and_nothing_by_another() {
        let uuid = Uuid::from_u128(7);
        let key = viewer(&ApiKeyId(uuid).to_string().into()).to_string();
        assert_eq!(key, format!("service:{uuid}"));
        assert_eq!(viewer(&MemberId(uuid).to_string().into()), Caller::Member(MemberId(uuid)));
        assert_eq!(viewer(&"someone".into()), Caller::Member(MemberId(Uuid::nil())));
        for id in [
            CandidateId(uuid).to_string(),
            ResumeId(uuid).to_string(),
            InterviewId(uuid).to_string(),
            VerdictId(uuid).to_string(),
        ] {
            assert_eq!(subject(&id.into()), uuid);
        }
        assert_eq!(subject(&MemberId(uuid).to_string().into()), Uuid::nil());
    }
}
