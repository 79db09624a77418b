//! Reads of persons' data are recorded before the answer leaves: who was shown what, and what for.
//!
//! Resolvers that show such data say so to the request's [`Shown`]. At the end of execution, be it of a
//! query, a mutation, or one event of a subscription, what was shown goes into the log in one append
//! ([`Recording`]); files are recorded before they are sent. What cannot be recorded is not shown.
//!
//! Of one viewer, purpose, thing and class of fields there is one record in five minutes and process:
//! each process writes a stream of its own for each company, viewer and day, so that no two processes
//! ever conflict and no viewer waits for another's records.
//! Candidates see what is their own, and that is not recorded.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::{Context, Data, Error, Executor, Pos, Request, Response};
use chrono::{DateTime, TimeDelta, Utc};
use commands::{Bus, CommandError, Order, derive_id, new_id};
use domain::Caller;
use domain::access::{Access, Command, Fields, Purpose, View, What};
use domain::caller::Actor;
use domain::ids::{CandidateId, CompanyId};
use futures::StreamExt;
use futures::stream::BoxStream;
use moka::sync::Cache;
use tokio::sync::Mutex as Turn;
use uuid::Uuid;

use crate::auth::Session;
use crate::error::ApiError;
use crate::scope::is_candidate;
use crate::transport::TraceParent;

/// How long a record stands for what is shown again.
const WINDOW: TimeDelta = TimeDelta::minutes(5);
/// The same for the cache, which may forget earlier: that costs one more record.
const KEPT: Duration = Duration::from_secs(300);
/// How many records are remembered, of about 200 bytes each.
const REMEMBERED: u64 = 100_000;

/// What was recorded lately: to whom, what for, of what, which fields.
type Known = (CompanyId, Actor, Purpose, What, Uuid, Fields);

/// Writes down what is shown. Clones share what they know.
#[derive(Clone)]
pub struct Recorder {
    bus: Arc<Bus>,
    /// Names this process among all that write.
    process: Uuid,
    lately: Cache<Known, DateTime<Utc>>,
    /// One viewer's records follow each other, so that two requests at once make one.
    turns: Cache<(CompanyId, Actor), Arc<Turn<()>>>,
}

impl Recorder {
    /// A recorder that has written nothing yet.
    #[must_use]
    pub fn new(bus: Arc<Bus>) -> Self {
        let process = new_id(bus.clock());
        let lately = Cache::builder().max_capacity(REMEMBERED).time_to_live(KEPT).build();
        let turns = Cache::builder().max_capacity(REMEMBERED).time_to_idle(KEPT).build();
        Self { bus, process, lately, turns }
    }

    /// Records that the caller is about to be shown this, unless that is known.
    ///
    /// # Errors
    /// `UNAVAILABLE` where the log takes nothing at present; then nothing may be shown.
    pub async fn record(
        &self,
        caller: &Caller,
        purpose: Purpose,
        views: Vec<View>,
        trace_parent: Option<String>,
    ) -> Result<(), ApiError> {
        if is_candidate(caller) || self.unknown(caller, purpose, &views).is_empty() {
            return Ok(());
        }
        let turn = self.turns.get_with((caller.company, caller.actor), Arc::default);
        let _turn = turn.lock().await;
        let views = self.unknown(caller, purpose, &views);
        if views.is_empty() {
            return Ok(());
        }
        let now = self.bus.now();
        let command = Command::Record { purpose, views: views.clone() };
        let order = Order::of_client(new_id(self.bus.clock()), b"record".to_vec());
        let order = Order { trace_parent, ..order };
        let log = self.log(caller, now);
        // Where it is not known whether it was written, nothing is shown either: a record of what was
        // not shown harms less than the reverse.
        self.bus.execute::<Access>(caller, log, command, order).await.map_err(unrecorded)?;
        for view in &views {
            known(caller, purpose, view).for_each(|known| self.lately.insert(known, now));
        }
        Ok(())
    }

    /// The stream of this process, company, viewer and day, UTC.
    fn log(&self, viewer: &Caller, now: DateTime<Utc>) -> Uuid {
        let day = now.date_naive().to_string();
        derive_id(viewer, self.process, &day, 0)
    }

    /// Those of the views of which something was not recorded lately.
    fn unknown(&self, caller: &Caller, purpose: Purpose, views: &[View]) -> Vec<View> {
        let now = self.bus.now();
        let is_new = |known: Known| self.lately.get(&known).is_none_or(|at| now - at >= WINDOW);
        let has_new = |view: &&View| known(caller, purpose, view).any(is_new);
        views.iter().filter(has_new).cloned().collect()
    }
}

fn known(caller: &Caller, purpose: Purpose, view: &View) -> impl Iterator<Item = Known> + use<> {
    let (company, actor) = (caller.company, caller.actor);
    let (what, id) = (view.what, view.subject_id);
    view.fields.clone().into_iter().map(move |class| (company, actor, purpose, what, id, class))
}

fn unrecorded(error: CommandError) -> ApiError {
    if !error.is_transient() {
        return ApiError::internal(&format!("a read cannot be recorded: {error}"));
    }
    let why = "what is read must be recorded, which is not possible at present; try again";
    ApiError::new("UNAVAILABLE", why)
}

/// What one request, or one event of a subscription, shows of persons' data.
pub struct Shown {
    recorder: Recorder,
    session: Session,
    purpose: Purpose,
    trace_parent: Option<String>,
    views: Mutex<Views>,
}

/// By what it is: whom it is about, and which fields.
type Views = BTreeMap<(What, Uuid), (CandidateId, BTreeSet<Fields>)>;

impl Shown {
    /// Nothing so far, for a request of who asks.
    #[must_use]
    pub fn new(recorder: &Recorder, session: &Session, request: &Request) -> Self {
        Self {
            recorder: recorder.clone(),
            session: session.clone(),
            purpose: found::<Purpose>(request).copied().unwrap_or(Purpose::Hiring),
            trace_parent: found::<TraceParent>(request).map(ToString::to_string),
            views: Mutex::default(),
        }
    }

    /// Notes that these fields are about to be shown.
    pub fn add(&self, what: What, id: Uuid, candidate: CandidateId, class: Fields) {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, classes) = views.entry((what, id)).or_insert_with(|| (candidate, BTreeSet::new()));
        classes.insert(class);
    }

    fn take(&self) -> Views {
        std::mem::take(&mut *self.views.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn record(&self) -> Result<(), ApiError> {
        let views = self.take();
        if views.is_empty() {
            return Ok(());
        }
        let caller = self.session.caller()?;
        let views = views.into_iter().map(|((what, subject_id), (candidate_id, fields))| View {
            what,
            subject_id,
            candidate_id,
            fields: fields.into_iter().collect(),
        });
        let trace_parent = self.trace_parent.clone();
        self.recorder.record(&caller, self.purpose, views.collect(), trace_parent).await
    }

    /// The response, once it is recorded what it shows; else why it is not.
    async fn leave(&self, response: Response) -> Response {
        // Also where an error has taken the data away: that there was something to fail at tells, too.
        match self.record().await {
            Ok(()) => response,
            Err(error) => {
                let mut error = Error::from(error).into_server_error(Pos::default());
                error.locations.clear();
                Response::from_errors(vec![error])
            }
        }
    }
}

/// What the request shows.
///
/// # Errors
/// `INTERNAL_ERROR` if no transport admitted the request, so that nobody would record it.
pub fn of_request(ctx: &Context<'_>) -> Result<Arc<Shown>, ApiError> {
    let shown: Option<&Arc<Shown>> = ctx.data_opt();
    shown.cloned().ok_or_else(|| ApiError::internal("the request's reads are not recorded"))
}

/// Notes that the field that is resolved shows a class of a thing's personal fields.
///
/// # Errors
/// See [`of_request`].
pub fn shows(
    ctx: &Context<'_>,
    (what, id): (What, Uuid),
    candidate: CandidateId,
    class: Fields,
) -> Result<(), ApiError> {
    of_request(ctx)?.add(what, id, candidate, class);
    Ok(())
}

/// What the transports put into a request.
fn found<T: Send + Sync + 'static>(request: &Request) -> Option<&T> {
    request.data.get(&TypeId::of::<T>())?.downcast_ref()
}

/// The engine, from which no answer leaves unless it is recorded what it shows.
#[derive(Clone)]
pub struct Recording<E>(pub E);

impl<E: Executor> Executor for Recording<E> {
    async fn execute(&self, request: Request) -> Response {
        let shown = found::<Arc<Shown>>(&request).cloned();
        let response = self.0.execute(request).await;
        match shown {
            Some(shown) => shown.leave(response).await,
            None => response,
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let shown = found::<Arc<Shown>>(&request).cloned();
        let responses = self.0.execute_stream(request, session_data);
        let Some(shown) = shown else { return responses };
        let leave = move |response| {
            let shown = Arc::clone(&shown);
            async move { shown.leave(response).await }
        };
        responses.then(leave).boxed()
    }
}
