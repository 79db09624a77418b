//! Process managers: events in, orders and side effects out. They read histories and never read
//! models, and they are the only part of Colloquy that asks a model.
//!
//! Every order goes out under an id that derives from the event that caused it, and every answer of a
//! model is recorded before it is used, so that a redelivery, a crash at any point, or a second
//! worker on the same stream changes nothing.

pub mod ai;
pub mod ai_log;
pub mod assessor;
pub mod conductor;
pub mod history;
mod lanes;
pub mod observer;
pub mod reactor;
pub mod resume;
pub mod resume_reader;
pub mod runner;
pub mod talk;
pub mod timers;
pub mod verdict_opener;

use std::sync::Arc;

use commands::Bus;
use eventlog::codec::Codec;
use eventlog::consume::Consumer;
use eventlog::deadlines::Deadlines;
use eventlog::fail_point::FailPoint;
use eventlog::files::Files;
use eventlog::ledger::Ledger;
use eventlog::store::{EventStore, Filter};
use tokio_util::sync::CancellationToken;

use crate::ai::Ai;
use crate::ai_log::AiLog;
use crate::history::Histories;
use crate::reactor::{Reactor, Tools};
use crate::resume::text::TextReader;
use crate::runner::{Runner, RunnerSettings};

/// What the reactors of one process share.
#[derive(Clone)]
pub struct Deps {
    /// The door to the rules.
    pub bus: Arc<Bus>,
    /// The log that histories are read from.
    pub store: Arc<dyn EventStore>,
    /// Opens what the log holds.
    pub codec: Codec,
    /// Where each reactor has come.
    pub ledger: Arc<dyn Ledger>,
    /// What is due later.
    pub deadlines: Arc<dyn Deadlines>,
    /// Uploaded files.
    pub files: Files,
    /// Reads résumés' files.
    pub reader: TextReader,
    /// What answers: the configured providers in order, or the built-in rules.
    pub ai: Arc<dyn Ai>,
    /// How each reactor works.
    pub settings: RunnerSettings,
    /// Does nothing outside tests.
    pub fail_point: FailPoint,
    /// Ends all work.
    pub stop: CancellationToken,
}

/// All reactors, each with the events it wants: the server runs one consumer loop for each, and
/// beside them [`timers::run_clock`].
#[must_use]
pub fn all(deps: Deps) -> Vec<(Arc<dyn Consumer>, Filter)> {
    let histories = Arc::new(Histories::new(Arc::clone(&deps.store), deps.codec.clone()));
    let ai = AiLog::new(Arc::clone(&deps.bus), Arc::clone(&histories), Arc::clone(&deps.ai));
    let tools = Arc::new(Tools {
        bus: Arc::clone(&deps.bus),
        histories,
        ai,
        deadlines: Arc::clone(&deps.deadlines),
        files: deps.files.clone(),
        reader: deps.reader.clone(),
    });
    vec![
        consumer(conductor::Conductor, &tools, &deps),
        consumer(timers::Timers, &tools, &deps),
        consumer(verdict_opener::VerdictOpener, &tools, &deps),
        consumer(assessor::Assessor, &tools, &deps),
        consumer(resume_reader::ResumeReader, &tools, &deps),
        consumer(observer::Observer, &tools, &deps),
    ]
}

fn consumer<R: Reactor>(
    reactor: R,
    tools: &Arc<Tools>,
    deps: &Deps,
) -> (Arc<dyn Consumer>, Filter) {
    let runner = Runner::new(
        reactor,
        Arc::clone(tools),
        Arc::clone(&deps.ledger),
        Arc::clone(&deps.fail_point),
        deps.settings.clone(),
        deps.stop.clone(),
    );
    (Arc::new(runner), Filter::of_aggregates([R::AGGREGATE]))
}
