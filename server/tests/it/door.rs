//! A door before a server: one address for clients while the server behind it moves, and a place
//! where connections can be cut, slowed down, or stand still.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// How bytes pass, in each direction.
#[derive(Clone, Copy, Default)]
struct Way {
    is_still: bool,
    /// How long each piece is held back, and bytes per second.
    slow: Option<(Duration, u32)>,
}

/// What has passed.
#[derive(Default)]
struct Passed {
    n_bytes: AtomicU64,
    /// Pieces that were held back to slow them down.
    n_slowed: AtomicU64,
}

/// Passes connections on until it is dropped.
pub struct Door {
    pub address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    way: watch::Sender<Way>,
    cut: broadcast::Sender<()>,
    is_mute: Arc<AtomicBool>,
    passed: Arc<Passed>,
    task: JoinHandle<()>,
}

impl Door {
    /// A door to this server.
    pub async fn to(target: SocketAddr) -> Self {
        let door = Self::to_nowhere().await;
        door.lead_to(target);
        door
    }

    /// A door behind which there is nothing yet: for a server that must be told of it first.
    pub async fn to_nowhere() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (target, behind) = watch::channel(None);
        let (cut, _) = broadcast::channel(1);
        let (way, ways) = watch::channel(Way::default());
        let is_mute = Arc::new(AtomicBool::new(false));
        let passed = Arc::new(Passed::default());
        let (cutting, mute, counting) = (cut.clone(), Arc::clone(&is_mute), Arc::clone(&passed));
        let task = tokio::spawn(async move {
            let mut passing = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, mut cut) = (*behind.borrow(), cutting.subscribe());
                let (mute, passed, way) = (Arc::clone(&mute), Arc::clone(&counting), ways.clone());
                passing.spawn(async move {
                    tokio::select! {
                        () = pass(client, target, &mute, &way, &passed) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, target, way, cut, is_mute, passed, task }
    }

    /// From now on connections are made to this server; those that are, are cut.
    pub fn turn_to(&self, target: SocketAddr) {
        self.lead_to(target);
        self.cut();
    }

    /// From now on connections are made to this server; those that are, stay.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Cuts all connections without a word; answers how many there were.
    pub fn cut(&self) -> usize {
        // Nobody passing is ordinary.
        self.cut.send(()).unwrap_or_default()
    }

    /// Whether nothing passes, and nobody is told.
    pub fn stand_still(&self, is_still: bool) {
        self.way.send_modify(|way| way.is_still = is_still);
    }

    /// How long each piece is held back, and how many bytes pass in a second.
    pub fn slow_down(&self, slow: Option<(Duration, u32)>) {
        self.way.send_modify(|way| way.slow = slow);
    }

    /// How many bytes have passed in both directions.
    pub fn n_bytes(&self) -> u64 {
        self.passed.n_bytes.load(Ordering::Relaxed)
    }

    /// How many pieces were held back to slow them down.
    pub fn n_slowed(&self) -> u64 {
        self.passed.n_slowed.load(Ordering::Relaxed)
    }

    /// Whether answers of new connections are held back for ever.
    pub fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }
}

async fn pass(
    client: TcpStream,
    target: Option<SocketAddr>,
    mute: &AtomicBool,
    way: &watch::Receiver<Way>,
    passed: &Passed,
) {
    let Some(target) = target else { return };
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asking = carry(from_client, to_server, way.clone(), passed);
    let answering = async {
        if mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        carry(from_server, to_client, way.clone(), passed).await
    };
    // Whoever ends first ends both: half a conversation is of no use here.
    tokio::select! {
        _ = asking => {}
        _ = answering => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    passed: &Passed,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut piece).await?;
        if n == 0 {
            return Ok(());
        }
        let open = way.wait_for(|way| !way.is_still).await.map(|way| way.slow);
        if let Ok(Some((delay, rate))) = open {
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            passed.n_slowed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay + Duration::from_secs(1) * n / rate).await;
        }
        to.write_all(&piece[..n]).await?;
        passed.n_bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}
