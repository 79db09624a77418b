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

/// Passes connections on until it is dropped.
pub struct Door {
    pub address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    way: watch::Sender<Way>,
    cut: broadcast::Sender<()>,
    is_mute: Arc<AtomicBool>,
    n_bytes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Door {
    /// A door to this server.
    pub async fn to(target: SocketAddr) -> Self {
        Self::at(0, target).await
    }

    /// A door to this server on a port of the caller's choice.
    pub async fn at(port: u16, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (target, behind) = watch::channel(Some(target));
        let (cut, _) = broadcast::channel(1);
        let (way, ways) = watch::channel(Way::default());
        let is_mute = Arc::new(AtomicBool::new(false));
        let n_bytes = Arc::new(AtomicU64::new(0));
        let (cutting, mute, counting) = (cut.clone(), Arc::clone(&is_mute), Arc::clone(&n_bytes));
        let task = tokio::spawn(async move {
            let mut passing = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, mut cut) = (*behind.borrow(), cutting.subscribe());
                let (mute, n_bytes, way) = (Arc::clone(&mute), Arc::clone(&counting), ways.clone());
                passing.spawn(async move {
                    tokio::select! {
                        () = pass(client, target, &mute, &way, &n_bytes) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, target, way, cut, is_mute, n_bytes, task }
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

    /// Cuts all connections without a word.
    pub fn cut(&self) {
        // Nobody passing is ordinary.
        let _ = self.cut.send(());
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
        self.n_bytes.load(Ordering::Relaxed)
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
    n_bytes: &AtomicU64,
) {
    let Some(target) = target else { return };
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asking = carry(from_client, to_server, way.clone(), n_bytes);
    let answering = async {
        if mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        carry(from_server, to_client, way.clone(), n_bytes).await
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
    n_bytes: &AtomicU64,
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
            tokio::time::sleep(delay + Duration::from_secs(1) * n / rate).await;
        }
        to.write_all(&piece[..n]).await?;
        n_bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}
