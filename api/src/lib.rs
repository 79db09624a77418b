//! The edge: GraphQL over three transports, files, health. It translates and calls, and decides
//! nothing: rules are asked through the bus, reads through the read side, entry through identity.

mod access;
mod access_log;
mod account;
mod api_keys;
mod auth;
pub mod browsers;
mod candidate;
mod candidate_account;
mod classes;
mod companies;
mod company;
mod custom_role;
mod dashboard;
mod error;
pub mod etag;
pub mod explorer;
mod files;
pub mod health;
mod history;
mod inputs;
mod interview;
mod job;
mod last_sign_ins;
pub mod limits;
mod live;
mod loaders;
mod observation;
mod operations;
mod pagination;
mod payload;
pub mod peer;
mod permission;
mod proof;
mod rate_limits;
mod registration;
mod requests;
mod scalars;
pub mod schema;
mod scope;
mod second_factor;
mod sign_on;
pub mod transport;
mod verdict;
mod visitor;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use commands::{Bus, Files};
use identity::Identity;
use identity::rate_limits::RateLimits;
use projections::Reads;
use projections::live::LiveTail;
use tokio_util::task::TaskTracker;

pub use crate::access::Recorder;

use crate::access::Recording;
use crate::auth::Auth;
use crate::health::Health;

/// Everything that the edge calls. Clones share it.
#[derive(Clone)]
pub struct ApiState {
    /// The one door of the write side.
    pub bus: Arc<Bus>,
    /// Writes down who is shown whose data.
    pub access: Recorder,
    /// Who may enter.
    pub identity: Identity,
    /// How much may be asked.
    pub rate_limits: RateLimits,
    /// Where the read side reads.
    pub reads: Reads,
    /// This process's tail of the log.
    pub live: LiveTail,
    /// The object store for people's files.
    pub files: Files,
    /// What the process knows of its surroundings.
    pub health: Health,
    /// What the transports allow.
    pub settings: transport::Settings,
    /// Tasks that batch loading spawns; wait for them at the end.
    pub tasks: TaskTracker,
}

/// Where GraphQL is asked.
const GRAPHQL: &str = "/graphql";

/// Every route of the product.
///
/// | route | what |
/// |---|---|
/// | `/graphql` | GraphQL: POST, GET for queries, graphql-transport-ws, Server-Sent Events |
/// | `POST /files/resumes` | upload of a résumé, multipart |
/// | `GET /files/resumes/{id}` | the file, for who may see the candidate |
/// | `/.well-known/jwks.json` | public keys of the access tokens |
/// | `/proof/keys`, `/proof/checkpoint` | public keys of the log, its newest signed checkpoint |
/// | `/health`, `/health/db`, `/health/kafka`, `/health/projections` | what lives |
/// | `/ready` | whether requests can be served |
///
/// Beside them there are [`explorer::router`], the page for trying the API by hand, and
/// [`health::metrics`].
pub fn router(state: ApiState) -> Router {
    let (schema, auth) = (Recording(schema::schema(state.clone())), Auth(state.clone()));
    transport::router(GRAPHQL, schema, auth, state.settings.clone())
        .merge(files::router(state.clone()))
        .merge(health::router(state.clone()))
        .merge(proof::router(state.clone()))
        .route("/.well-known/jwks.json", get(jwks).with_state(state))
}

async fn jwks(State(state): State<ApiState>) -> Response {
    match state.identity.jwks().await {
        // A key is published for as long before it signs.
        Ok(keys) => ([(header::CACHE_CONTROL, "public, max-age=300")], Json(keys)).into_response(),
        Err(_) => {
            ([(header::CACHE_CONTROL, "no-store")], StatusCode::SERVICE_UNAVAILABLE).into_response()
        }
    }
}
