//! Counts for HR.

use async_graphql::{Context, Object, SimpleObject};
use chrono::{DateTime, Days, NaiveTime, Utc};
use domain::permission::Action;
use projections::dashboard::{self, Counts};

use crate::candidate::{ApplicationStatus, CandidateStatus};
use crate::error::ApiError;
use crate::interview::InterviewStatus;
use crate::job::JobStatus;
use crate::scope::Scoped;
use crate::verdict::VerdictStatus;

/// Declares how many of something stand so, by status.
macro_rules! counts_by_status {
    ($($name:ident($status:ty) = $what:literal;)*) => {$(
        #[doc = concat!("How many ", $what, " stand so.")]
        #[derive(SimpleObject)]
        pub struct $name {
            /// Where they stand.
            status: $status,
            /// How many.
            count: u64,
        }
    )*};
}

counts_by_status! {
    InterviewCount(InterviewStatus) = "interviews";
    ApplicationCount(ApplicationStatus) = "applications";
    VerdictCount(VerdictStatus) = "verdicts";
    JobCount(JobStatus) = "jobs";
    CandidateCount(CandidateStatus) = "candidates";
}

/// Counts of one day.
#[derive(SimpleObject)]
pub struct DayCounts {
    /// Interviews that are to begin on it, cancelled ones left out.
    n_scheduled: u64,
    /// Interviews that began on it.
    n_started: u64,
    /// Interviews completed on it.
    n_completed: u64,
    /// Verdicts signed on it.
    n_signed: u64,
}

/// Counts over what the caller may see. Each thing counts once, as it stands; every status is there,
/// with 0 where nothing stands so.
#[derive(SimpleObject)]
pub struct HrDashboard {
    /// Interviews by status.
    interviews: Vec<InterviewCount>,
    /// Applications by status.
    applications: Vec<ApplicationCount>,
    /// Verdicts by status.
    verdicts: Vec<VerdictCount>,
    /// Jobs by status.
    jobs: Vec<JobCount>,
    /// Candidates by status.
    candidates: Vec<CandidateCount>,
    /// What belongs to the day asked for.
    day: DayCounts,
}

impl From<Counts> for HrDashboard {
    fn from(counts: Counts) -> Self {
        macro_rules! by_status {
            ($field:ident, $name:ident) => {
                counts
                    .$field
                    .iter()
                    .map(|(status, count)| $name { status: (*status).into(), count: *count })
                    .collect()
            };
        }
        let dashboard::Today { n_scheduled, n_started, n_completed, n_signed } = counts.today;
        Self {
            interviews: by_status!(interviews, InterviewCount),
            applications: by_status!(applications, ApplicationCount),
            verdicts: by_status!(verdicts, VerdictCount),
            jobs: by_status!(jobs, JobCount),
            candidates: by_status!(candidates, CandidateCount),
            day: DayCounts { n_scheduled, n_started, n_completed, n_signed },
        }
    }
}

/// Queries on counts.
#[derive(Default)]
pub struct DashboardQuery;

#[Object]
impl DashboardQuery {
    /// Counts over what the caller may see: the company, or a hiring manager's own jobs and what belongs to
    /// them.
    async fn hr_dashboard(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Begin of the day that `day` counts, as an instant: midnight in the company's time zone. The running day in UTC without it."
        )]
        day_from: Option<DateTime<Utc>>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<HrDashboard> {
        let view = ctx.view(Action::ReadDashboard)?;
        ctx.consistent(consistent_with).await?;
        let state = ctx.state()?;
        let from = day_from
            .unwrap_or_else(|| state.bus.now().date_naive().and_time(NaiveTime::MIN).and_utc());
        let until = from.checked_add_days(Days::new(1));
        let until = until.ok_or_else(|| ApiError::invalid("dayFrom", "is out of range"))?;
        let counts = dashboard::counts(&state.reads, &view, from..until).await;
        Ok(counts.map_err(ApiError::from)?.into())
    }
}
