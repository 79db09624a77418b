//! For whoever runs the platform: how far read models are, and streams that are parked.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use domain::permission::Action;
use projections::lag::{self, Lag};
use projections::parked::{self, Parked, Place};

use crate::error::{ApiError, UserError};
use crate::payload::user_error;
use crate::scope::Scoped;

/// How far one read model is behind the log, at most a second ago.
#[derive(SimpleObject)]
pub struct ReadModelLag {
    /// Its name, such as `interviews`.
    model: &'static str,
    /// The version of its fold.
    version: u32,
    /// Events that it has not applied and is going to; 2147483647 stands for more, too.
    events_behind: i32,
    /// Positions of the log from the oldest of them to the end; 2147483647 stands for more, too.
    positions_behind: i32,
    /// Age of the oldest of them in seconds.
    seconds_behind: f64,
    /// Streams that wait because of an event that cannot be dealt with.
    parked_streams: u64,
}

impl From<Lag> for ReadModelLag {
    fn from(lag: Lag) -> Self {
        let Lag { model, version, n_events, n_positions, seconds, n_parked } = lag;
        Self {
            model,
            version,
            events_behind: i32::try_from(n_events).unwrap_or(i32::MAX),
            positions_behind: i32::try_from(n_positions).unwrap_or(i32::MAX),
            seconds_behind: seconds,
            parked_streams: n_parked,
        }
    }
}

/// A stream that waits in one read model or reactor because one of its events cannot be dealt with.
/// Nothing of the event itself is kept.
#[derive(SimpleObject)]
pub struct ParkedStream {
    /// Names the stream and who parked it.
    id: ID,
    /// The read model's generation or the reactor.
    consumer: String,
    /// What kind of stream.
    aggregate: String,
    /// The version that cannot be dealt with; it and all later ones wait.
    version: u64,
    /// What kind of fault.
    error: String,
    /// Since when, UTC.
    parked_at: DateTime<Utc>,
    /// Who asked for another try, where one is due.
    retry_by: Option<String>,
}

impl From<Parked> for ParkedStream {
    fn from(parked: Parked) -> Self {
        let Parked { place, version, error, parked_at, retry_by } = parked;
        Self {
            id: place.to_string().into(),
            aggregate: place.stream.aggregate.into_owned(),
            consumer: place.consumer,
            version: version.0,
            error,
            parked_at,
            retry_by,
        }
    }
}

/// Queries for operators.
#[derive(Default)]
pub struct OperationsQuery;

/// How many parked streams are shown.
const SHOWN: u32 = 20;
const MOST_SHOWN: u32 = 100;

#[Object]
impl OperationsQuery {
    /// How far each read model is behind the log. Operators only.
    async fn read_model_lag(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<ReadModelLag>> {
        ctx.view(Action::Operate)?;
        let lags = lag::recent(&ctx.state()?.reads).await.map_err(ApiError::from)?;
        Ok(lags.into_iter().map(ReadModelLag::from).collect())
    }

    /// Streams that wait, longest first. Operators only.
    async fn parked_streams(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<u32>,
    ) -> async_graphql::Result<Vec<ParkedStream>> {
        ctx.view(Action::Operate)?;
        let limit = first.unwrap_or(SHOWN);
        if !(1..=MOST_SHOWN).contains(&limit) {
            return Err(ApiError::invalid("first", "is 1 to 100").into());
        }
        let parked = parked::list(&ctx.state()?.reads, limit).await.map_err(ApiError::from)?;
        Ok(parked.into_iter().map(ParkedStream::from).collect())
    }
}

/// Asks for another try. A repeat asks for the same, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct RetryParkedStreamInput {
    /// The stream's id, as `parkedStreams` shows it.
    id: ID,
}

/// Leaves an event out. A repeat finds the stream settled or parked at another event, so that it needs
/// no `commandId`.
#[derive(InputObject)]
pub struct SkipParkedEventInput {
    /// The stream's id, as `parkedStreams` shows it.
    id: ID,
    /// The version at which it is parked, as `parkedStreams` shows it; parked at another one by now,
    /// it is refused with `PARKED_NOT_FOUND`.
    version: u64,
    /// Why, for whoever asks later: at most 500 characters, nothing personal.
    reason: String,
}

/// What settling a parked stream answers.
#[derive(SimpleObject)]
pub struct ParkedStreamPayload {
    /// The stream as it was parked.
    parked_stream: Option<ParkedStream>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// Mutations for operators.
#[derive(Default)]
pub struct OperationsMutation;

#[Object]
impl OperationsMutation {
    /// Lets running workers try a parked stream again, within about a second. What still cannot be
    /// dealt with is parked again. Operators only.
    async fn retry_parked_stream(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which stream.")] input: RetryParkedStreamInput,
    ) -> async_graphql::Result<ParkedStreamPayload> {
        answer(ctx, retry(ctx, &input).await)
    }

    /// Leaves the event at which a stream is parked out of that read model or reactor, for good and
    /// in every rebuild, and lets the stream go on behind it. Who did so and why is recorded.
    /// Operators only.
    async fn skip_parked_event(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which stream, and why.")] input: SkipParkedEventInput,
    ) -> async_graphql::Result<ParkedStreamPayload> {
        answer(ctx, skip(ctx, &input).await)
    }
}

async fn retry(ctx: &Context<'_>, input: &RetryParkedStreamInput) -> Result<Parked, ApiError> {
    let (place, by) = asked(ctx, &input.id)?;
    Ok(parked::retry(&ctx.state()?.reads, &place, &by).await?)
}

async fn skip(ctx: &Context<'_>, input: &SkipParkedEventInput) -> Result<Parked, ApiError> {
    let (place, by) = asked(ctx, &input.id)?;
    let reads = &ctx.state()?.reads;
    let skipped = parked::skip(reads, &place, input.version, &input.reason, &by).await?;
    tracing::info!(place = %skipped.place, version = skipped.version.0, by, "event is left out");
    Ok(skipped)
}

/// Which stream is meant, and who asks.
fn asked(ctx: &Context<'_>, id: &ID) -> Result<(Place, String), ApiError> {
    ctx.view(Action::Operate)?;
    let place = id.as_str().parse().map_err(|_| ApiError::not_found("PARKED_NOT_FOUND"))?;
    Ok((place, ctx.caller()?.actor.to_string()))
}

fn answer(
    ctx: &Context<'_>,
    result: Result<Parked, ApiError>,
) -> async_graphql::Result<ParkedStreamPayload> {
    match result {
        Ok(parked) => {
            Ok(ParkedStreamPayload { parked_stream: Some(parked.into()), errors: vec![] })
        }
        Err(error) if error.is_of_input() => {
            Ok(ParkedStreamPayload { parked_stream: None, errors: vec![user_error(ctx, error)] })
        }
        Err(error) => Err(error.into()),
    }
}
