//! A stand-in for EventStoreDB (feature `eventstoredb-stand-in`): the part of its gRPC protocol that the
//! log uses, in memory, for tests and for trying things out where no server can be had. It is not that
//! server: nothing is on a disk, there is one node, and what it does is what its authors read and
//! measured of the real one. It can misbehave on demand.

mod content;
mod cut;
mod messages;
#[expect(clippy::result_large_err, reason = "tonic's own type of answers that are errors")]
mod service;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;

use self::content::Content;
use self::cut::Cuts;
use self::service::Streams;

/// What goes wrong with the next append, or the next reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The append is written, and then all connections are cut before it is answered.
    LoseAnswer,
    /// All connections are cut before anything is written.
    LoseRequest,
    /// The append is not written, and an error says nothing of that.
    FailUnclear,
    /// The append is not written: the leader is another node, at this address.
    NotLeader(SocketAddr),
    /// The next reading ends with an error behind so many events.
    CutReading(usize),
}

/// The stand-in's events, which may outlive one listening to an address.
#[derive(Clone, Debug, Default)]
pub struct Data(Arc<Mutex<Content>>);

/// A running stand-in. It stops when it is dropped.
pub struct StandIn {
    address: SocketAddr,
    data: Data,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    data: Data,
    faults: Mutex<VecDeque<Fault>>,
    n_let_through: Mutex<Option<usize>>,
    cuts: Cuts,
}

impl Data {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, VecDeque<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn n_let_through(&self) -> MutexGuard<'_, Option<usize>> {
        self.n_let_through.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more append is let through.
    fn lets_through(&self) -> bool {
        match &mut *self.n_let_through() {
            None => true,
            Some(0) => false,
            Some(n_left) => {
                *n_left -= 1;
                true
            }
        }
    }

    /// The first fault that is `wanted`, once.
    fn take_fault(&self, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut faults = self.faults();
        let at = faults.iter().position(wanted)?;
        faults.remove(at)
    }

    fn cut(&self) {
        self.cuts.send_modify(|n_cuts| *n_cuts += 1);
    }
}

impl StandIn {
    /// An empty one on any free port of this machine.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), Data::default()).await
    }

    /// One with this data on this address. Must be called within a runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start_on(address: SocketAddr, data: Data) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            data: data.clone(),
            faults: Mutex::default(),
            n_let_through: Mutex::default(),
            cuts: Cuts::new(0),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let serving = Server::builder()
            .add_service(Streams::new(Arc::clone(&shared)))
            .serve_with_incoming(cut::incoming(listener, shared.cuts.clone()));
        tasks.spawn({
            let (stop, shared) = (stop.clone(), Arc::clone(&shared));
            async move {
                // Whether it was told to or failed: it is gone, as a server that died.
                let _ = stop.run_until_cancelled(serving).await;
                shared.cut();
            }
        });
        tasks.close();
        Ok(Self { address, data, shared, stop, tasks })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as the log's settings want it. The client waits for an interval before it first
    /// connects; there is no cluster here that this would be good for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("esdb://{}?tls=false&discoveryInterval=20", self.address)
    }

    /// What it holds, for another one to go on with.
    #[must_use]
    pub fn data(&self) -> Data {
        self.data.clone()
    }

    /// Lets something go wrong once.
    pub fn misbehave(&self, fault: Fault) {
        self.shared.faults().push_back(fault);
    }

    /// Lets only so many more appends through: the others fail, unclear whether they were written.
    pub fn let_through(&self, n_appends: usize) {
        *self.shared.n_let_through() = Some(n_appends);
    }

    /// Lets all appends through again.
    pub fn let_all_through(&self) {
        *self.shared.n_let_through() = None;
    }

    /// How many faults have not come about yet.
    #[must_use]
    pub fn n_faults_left(&self) -> usize {
        self.shared.faults().len()
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// How many events the streams have whose names begin so.
    #[must_use]
    pub fn n_events(&self, prefix: &str) -> usize {
        let content = self.data.lock();
        content.all.iter().filter(|event| event.stream.starts_with(prefix)).count()
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
