//! What is taken from whose bucket, and the field that shows how they stand.
//!
//! One request, whatever it asks for, is one token of the caller's and one of the company's; of a
//! stranger's, one of the network address. Fields with a class cost a token of that class besides, for
//! each occurrence, before anything is executed.

use std::net::IpAddr;
use std::time::Duration;

use async_graphql::{Context, Enum, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::caller::Actor;
use domain::ids::CompanyId;
use identity::Principal;
use identity::rate_limits::{Class, Limited, RateLimits, Standing, Subject};

use crate::classes::{FieldClass, Occurrence, occurrences};
use crate::error::ApiError;
use crate::peer::Peer;
use crate::scope::{Scoped, is_candidate};
use crate::transport::codes::{self, Refusal};
use crate::transport::{Charge, Quota};

/// Who asks, as buckets know them.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Whoever is signed in.
    pub principal: Option<&'a Principal>,
    /// Where they come from.
    pub address: Option<IpAddr>,
}

impl<'a> Asker<'a> {
    fn subject(self) -> Subject<'a> {
        self.principal.map_or(Subject::Address(self.address), Subject::Principal)
    }

    fn company(self) -> Option<Subject<'a>> {
        let company = self.principal?.caller.company;
        (company != CompanyId::NONE).then_some(Subject::Company(company))
    }

    /// The bucket that a request is taken from first.
    fn general(self) -> (Class, Subject<'a>) {
        let class = if self.principal.is_some() { Class::User } else { Class::Anonymous };
        (class, self.subject())
    }

    fn upload(self) -> (Class, Subject<'a>) {
        let is_candidate = |principal: &Principal| is_candidate(&principal.caller);
        let class = match self.principal.is_some_and(is_candidate) {
            true => Class::CandidateUpload,
            false => Class::Upload,
        };
        (class, self.subject())
    }
}

/// Takes what something costs, all of it or, of what is refused, up to where it is refused. Answers how
/// the bucket of plain requests stands.
///
/// # Errors
/// [`Limited`].
pub async fn charge(
    limits: &RateLimits,
    asker: Asker<'_>,
    what: Charge<'_>,
) -> Result<Option<Standing>, Limited> {
    match what {
        Charge::Request | Charge::Renewal(_) => {
            let (class, subject) = asker.general();
            let standing = limits.take(class, subject, 1).await?;
            if let Some(company) = asker.company() {
                limits.take(Class::Company, company, 1).await?;
            }
            return Ok(standing);
        }
        Charge::Socket => {
            limits.take(Class::Socket, asker.subject(), 1).await?;
        }
        Charge::Upload => {
            let (class, subject) = asker.upload();
            limits.take(class, subject, 1).await?;
        }
        Charge::Operation { document, operation, variables } => {
            let found = occurrences(document, operation, variables);
            for (occurrence, n) in counted(&found) {
                match occurrence.class {
                    FieldClass::SignIn(_) => {
                        limits
                            .take(Class::SignInAddress, Subject::Address(asker.address), n)
                            .await?;
                        let named = occurrence.named.as_deref().map(Subject::Named);
                        let about = named.or(asker.principal.map(Subject::Principal));
                        if let Some(about) = about {
                            limits.take(Class::SignInAccount, about, n).await?;
                        }
                    }
                    FieldClass::Ai => {
                        limits.take(Class::Ai, asker.subject(), n).await?;
                    }
                    FieldClass::InterviewStart => {
                        limits.take(Class::Ai, asker.subject(), n).await?;
                        limits.take(Class::InterviewStart, asker.subject(), n).await?;
                    }
                    FieldClass::Letter => {
                        limits.take(Class::Letter, asker.subject(), n).await?;
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Each occurrence once, and how often it is there.
fn counted(found: &[Occurrence]) -> Vec<(&Occurrence, u32)> {
    let mut counted: Vec<(&Occurrence, u32)> = vec![];
    for one in found {
        match counted.iter_mut().find(|(known, _)| *known == one) {
            Some((_, n)) => *n += 1,
            None => counted.push((one, 1)),
        }
    }
    counted
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Seconds after which it is worth while to try again.
fn retry_after_s(limited: &Limited) -> u64 {
    match limited {
        Limited::TooMany { wait, .. } => seconds(*wait),
        Limited::Unavailable => 1,
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        let code = match limited {
            Limited::TooMany { .. } => &codes::RATE_LIMITED,
            Limited::Unavailable => &codes::SERVICE_UNAVAILABLE,
        };
        let retry_after_s = Some(retry_after_s(&limited));
        Self { retry_after_s, ..Self::new(code, limited.to_string()) }
    }
}

impl From<Limited> for ApiError {
    fn from(limited: Limited) -> Self {
        let code = match limited {
            Limited::TooMany { .. } => "RATE_LIMITED",
            Limited::Unavailable => "UNAVAILABLE",
        };
        Self::new(code, limited.to_string()).after(retry_after_s(&limited))
    }
}

impl From<Standing> for Quota {
    fn from(standing: Standing) -> Self {
        Self {
            name: standing.class.as_str(),
            limit: standing.rate.limit(),
            window_s: standing.rate.per().as_secs(),
            remaining: standing.remaining,
            full_in_s: seconds(standing.full_in),
        }
    }
}

/// What is counted apart from all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Class")]
pub enum RateLimitClass {
    /// Requests of one person or program.
    User,
    /// Requests of all of a company.
    Company,
    /// Requests of strangers from one network address.
    Anonymous,
    /// Attempts to sign in, and the like, about one login.
    SignInAccount,
    /// The same from one network address.
    SignInAddress,
    /// Fields that let a model work.
    Ai,
    /// Files of one person or program.
    Upload,
    /// Files of one candidate.
    CandidateUpload,
    /// Interviews started.
    InterviewStart,
    /// Letters that others get.
    Letter,
    /// Sockets opened.
    Socket,
    /// Calls to models that all workers make together; shown to whoever runs the platform.
    AiCall,
}

/// A bucket of tokens. It refills evenly.
#[derive(Clone, Debug, SimpleObject)]
pub struct RateLimitBucket {
    /// What is counted.
    pub class: RateLimitClass,
    /// Tokens of a full bucket.
    pub limit: i32,
    /// Seconds in which an empty one refills.
    pub window_seconds: i32,
    /// Tokens that are left.
    pub remaining: i32,
    /// When it is full again, if nothing more is asked.
    pub reset_at: DateTime<Utc>,
}

/// How much the caller may still ask, over all of the server's processes.
#[derive(Clone, Debug, SimpleObject)]
pub struct RateLimit {
    /// Requests that a full bucket allows; null where they are not limited.
    pub limit: Option<i32>,
    /// What this request took: one, whatever it asks for.
    pub cost: i32,
    /// Requests that are left after this one; null where they are not limited.
    pub remaining: Option<i32>,
    /// When the bucket is full again, if nothing more is asked; null where requests are not limited.
    pub reset_at: Option<DateTime<Utc>>,
    /// The caller's bucket of each class that is limited. Some fields take a token of a class besides,
    /// for every occurrence in a document.
    pub buckets: Vec<RateLimitBucket>,
}

/// Queries about rate limits.
#[derive(Default)]
pub struct RateLimitQuery;

#[Object]
impl RateLimitQuery {
    /// The caller's rate limits as they stand after this request. What is above them is refused with
    /// `RATE_LIMITED` and `retryAfter` in seconds.
    async fn rate_limit(&self, ctx: &Context<'_>) -> async_graphql::Result<RateLimit> {
        Ok(standings(ctx).await?)
    }
}

async fn standings(ctx: &Context<'_>) -> Result<RateLimit, ApiError> {
    let (state, principal) = (ctx.state()?, ctx.session()?.principal().ok());
    let address = ctx.data_opt::<Peer>().copied().unwrap_or_default().0;
    let asker = Asker { principal: principal.as_ref(), address };
    let (general, subject) = asker.general();
    let mut asked = vec![(general, subject)];
    asked.extend(asker.company().map(|company| (Class::Company, company)));
    asked.push((Class::SignInAddress, Subject::Address(address)));
    if asker.principal.is_some() {
        asked.push((Class::SignInAccount, subject));
        asked.push(asker.upload());
        asked.extend([Class::Ai, Class::InterviewStart, Class::Letter].map(|c| (c, subject)));
    }
    asked.push((Class::Socket, subject));
    if asker.principal.is_some_and(|p| matches!(p.caller.actor, Actor::Operator(_))) {
        asked.push((Class::AiCall, Subject::Workers));
    }
    let standings = state.rate_limits.look(&asked).await?;
    let now = state.bus.now();
    let buckets: Vec<RateLimitBucket> = standings.iter().map(|one| shown(one, now)).collect();
    let requests = buckets.iter().find(|bucket| bucket.class == general.into());
    Ok(RateLimit {
        limit: requests.map(|bucket| bucket.limit),
        cost: 1,
        remaining: requests.map(|bucket| bucket.remaining),
        reset_at: requests.map(|bucket| bucket.reset_at),
        buckets,
    })
}

fn shown(standing: &Standing, now: DateTime<Utc>) -> RateLimitBucket {
    RateLimitBucket {
        class: standing.class.into(),
        limit: whole(standing.rate.limit().into()),
        window_seconds: whole(standing.rate.per().as_secs()),
        remaining: whole(standing.remaining.into()),
        reset_at: now + standing.full_in,
    }
}

fn whole(n: u64) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
