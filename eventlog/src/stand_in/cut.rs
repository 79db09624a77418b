//! Connections that can be cut, as a network does it: without a word.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::server::Connected;

/// Counts how often all connections were cut.
pub(super) type Cuts = watch::Sender<u64>;

/// A connection until the next cut.
pub(super) struct Cuttable {
    io: TcpStream,
    cut: BoxFuture<'static, ()>,
    is_cut: bool,
}

impl Cuttable {
    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        // A future that is done must not be asked again.
        self.is_cut = self.is_cut || self.cut.as_mut().poll(context).is_ready();
        self.is_cut
    }
}

/// All connections that come in.
pub(super) fn incoming(
    listener: TcpListener,
    cuts: Cuts,
) -> impl Stream<Item = io::Result<Cuttable>> {
    futures::stream::unfold((listener, cuts), async |(listener, cuts)| {
        let accepted = listener.accept().await.map(|(io, _)| {
            let mut heard = cuts.subscribe();
            // A server that is gone has cut its connections as well.
            let cut = Box::pin(async move { heard.changed().await.unwrap_or_default() });
            Cuttable { io, cut, is_cut: false }
        });
        Some((accepted, (listener, cuts)))
    })
}

fn lost() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(lost()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(lost()));
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl Connected for Cuttable {
    type ConnectInfo = Option<SocketAddr>;

    fn connect_info(&self) -> Option<SocketAddr> {
        self.io.peer_addr().ok()
    }
}
