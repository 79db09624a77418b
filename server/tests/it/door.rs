//! A door before a server: one address for clients while the server behind it moves, and a place
//! where a connection can be cut or an answer held back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// Passes connections on until it is dropped.
pub struct Door {
    pub address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    cut: broadcast::Sender<()>,
    is_mute: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Door {
    /// A door to this server.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (target, behind) = watch::channel(Some(target));
        let (cut, _) = broadcast::channel(1);
        let is_mute = Arc::new(AtomicBool::new(false));
        let (cutting, mute) = (cut.clone(), Arc::clone(&is_mute));
        let task = tokio::spawn(async move {
            let mut passing = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, mut cut) = (*behind.borrow(), cutting.subscribe());
                let mute = Arc::clone(&mute);
                passing.spawn(async move {
                    tokio::select! {
                        () = pass(client, target, &mute) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, target, cut, is_mute, task }
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

    /// Whether answers of new connections are held back for ever.
    pub fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }
}

async fn pass(client: TcpStream, target: Option<SocketAddr>, mute: &AtomicBool) {
    let Some(target) = target else { return };
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = copy(&mut from_client, &mut to_server);
    let answering = async {
        if mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        copy(&mut from_server, &mut to_client).await
    };
    // Whoever ends first ends both: half a conversation is of no use here.
    tokio::select! {
        _ = asking => {}
        _ = answering => {}
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}
