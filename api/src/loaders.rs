//! Batch loading by id: one query for all that the fields of one level ask for. Each loader sees what
//! the caller's right shows and nothing else, so that a nested field cannot widen a view.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};
use domain::ids::{
    AnswerId, ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId, QuestionId,
    ResumeId,
};
use domain::permission::Action;
use projections::{
    Reads, View, applications, candidates, companies, interviews, jobs, members, observations,
    resumes, transcripts, verdicts,
};
use tokio_util::task::TaskTracker;

use crate::ApiState;
use crate::auth::Session;
use crate::error::ApiError;
use crate::last_sign_ins::LastSignIns;
use crate::scope::{Written, view};

/// Where a loader reads, and for whom by which right.
pub struct Source {
    written: Arc<Written>,
    reads: Reads,
    session: Session,
    action: Action,
}

impl Source {
    /// What can be seen: nothing for who has no right to it.
    fn view(&self) -> Option<View> {
        view(&*self.session.caller().ok()?, self.action)
    }
}

macro_rules! loaders {
    ($(
        $(#[$doc:meta])*
        $field:ident: $loader:ident($key:ty => $row:ty) = $action:ident, $load:path;
    )*) => {
        /// The loaders of one request.
        pub struct Loaders {
            /// What mutations of the request have written.
            pub written: Arc<Written>,
            /// When members signed in last.
            pub last_sign_ins: DataLoader<LastSignIns>,
            $($(#[$doc])* pub $field: DataLoader<$loader>,)*
        }

        impl Loaders {
            /// The loaders for who asks.
            #[must_use]
            pub fn new(state: &ApiState, session: &Session) -> Self {
                let written = Arc::new(Written::new(state.reads.clone()));
                let source = |action| Source {
                    written: Arc::clone(&written),
                    reads: state.reads.clone(),
                    session: session.clone(),
                    action,
                };
                let last = LastSignIns::new(state.identity.clone(), session.clone());
                Self {
                    written: Arc::clone(&written),
                    last_sign_ins: self::loader(last, &state.tasks),
                    $($field: loader($loader(source(Action::$action)), &state.tasks),)*
                }
            }
        }

        $(
            $(#[$doc])*
            pub struct $loader(Source);

            impl Loader<$key> for $loader {
                type Value = $row;
                type Error = ApiError;

                async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, $row>, ApiError> {
                    let Some(view) = self.0.view() else { return Ok(HashMap::new()) };
                    self.0.written.is_shown().await?;
                    Ok($load(&self.0.reads, &view, keys).await?)
                }
            }
        )*
    };
}

loaders! {
    /// Companies by id: at most the own one.
    companies: Companies(CompanyId => companies::Row) = ReadCompany, companies::by_ids;
    /// Members by id.
    members: Members(MemberId => members::Row) = ReadCompany, members::by_ids;
    /// Jobs by id.
    jobs: Jobs(JobId => jobs::Row) = ReadJob, jobs::by_ids;
    /// Titles of the jobs of interviews.
    titles_by_interview: TitlesByInterview(JobId => String) = ReadInterview, jobs::titles;
    /// Titles of the jobs of applications.
    titles_by_application: TitlesByApplication(JobId => String) = ReadCandidate, jobs::titles;
    /// Candidates by id.
    candidates: Candidates(CandidateId => candidates::Row) = ReadCandidate, candidates::by_ids;
    /// Applications by id.
    applications: Applications(ApplicationId => applications::Row) = ReadCandidate, applications::by_ids;
    /// Applications by candidate, newest first.
    applications_of: ApplicationsOf(CandidateId => Vec<applications::Row>) = ReadCandidate, applications::by_candidates;
    /// Résumés by id.
    resumes: Resumes(ResumeId => resumes::Row) = ReadCandidate, resumes::by_ids;
    /// Résumés by candidate, newest first.
    resumes_of: ResumesOf(CandidateId => Vec<resumes::Row>) = ReadCandidate, resumes::by_candidates;
    /// Interviews by id.
    interviews: Interviews(InterviewId => interviews::Row) = ReadInterview, interviews::by_ids;
    /// Interviews by application, latest first.
    interviews_of: InterviewsOf(ApplicationId => Vec<interviews::Row>) = ReadInterview, interviews::by_applications;
    /// Questions by id.
    questions: Questions(QuestionId => transcripts::Row) = ReadInterview, transcripts::questions_by_ids;
    /// Answers by id.
    answers: Answers(AnswerId => transcripts::Row) = ReadInterview, transcripts::answers_by_ids;
    /// Verdicts by interview.
    verdicts_of: VerdictsOf(InterviewId => verdicts::Row) = ReadVerdict, verdicts::by_interviews;
    /// Observations by interview, oldest first.
    observations_of: ObservationsOf(InterviewId => Vec<observations::Row>) = ReadObservations, observations::by_interviews;
}

fn loader<L>(loader: L, tasks: &TaskTracker) -> DataLoader<L> {
    let tasks = tasks.clone();
    DataLoader::new(loader, move |loading| tasks.spawn(loading))
}

/// Loads one, if there is an id and the caller may see what it names.
///
/// # Errors
/// Those of the query.
pub async fn one<K, L>(loader: &DataLoader<L>, id: Option<K>) -> Result<Option<L::Value>, ApiError>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    L: Loader<K, Error = ApiError>,
{
    match id {
        Some(id) => loader.load_one(id).await,
        None => Ok(None),
    }
}
