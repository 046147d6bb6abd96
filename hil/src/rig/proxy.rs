//! The link between the gateway and its broker, as a TCP proxy that can be cut or frozen.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

use crate::sim_clock::now_ns;

/// What the link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// It carries everything.
    #[default]
    Up,
    /// Connections end, and new ones end at once.
    Cut,
    /// Connections stay and carry nothing.
    Frozen,
}

/// What went over the link.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Connections that the gateway made.
    pub connections: AtomicU64,
    /// When the broker first answered on the newest connection (its CONNACK), nanoseconds of the simulation's clock.
    pub connack_ns: AtomicU64,
    /// Bytes from the gateway.
    pub up: AtomicU64,
    /// Bytes to the gateway.
    pub down: AtomicU64,
}

/// A running proxy. It ends when dropped.
pub struct Proxy {
    /// Where the gateway connects.
    pub address: SocketAddr,
    /// What went over it.
    pub traffic: Arc<Traffic>,
    link: watch::Sender<Link>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy to `target` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the system gives no port or thread.
    pub fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (link, state) = watch::channel(Link::Up);
        let (stop, stopped) = oneshot::channel();
        let traffic = Arc::<Traffic>::default();
        let seen = traffic.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("link".into()).spawn(move || {
            let set = LocalSet::new();
            set.spawn_local(accept(listener, target, state, seen));
            runtime.block_on(set.run_until(async {
                let _ = stopped.await;
            }));
        });
        let thread = Some(thread.context("cannot start the link's thread")?);
        Ok(Proxy { address, traffic, link, stop: Some(stop), thread })
    }

    /// Cuts, freezes or mends the link.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// What the link does now.
    pub fn link(&self) -> Link {
        *self.link.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    target: SocketAddr,
    link: watch::Receiver<Link>,
    traffic: Arc<Traffic>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((client, _)) = listener.accept().await {
        if *link.borrow() != Link::Cut {
            traffic.connections.fetch_add(1, Relaxed);
            tokio::task::spawn_local(carry(client, target, link.clone(), traffic.clone()));
        }
    }
}

async fn carry(client: TcpStream, target: SocketAddr, mut link: watch::Receiver<Link>, traffic: Arc<Traffic>) {
    // A frozen link also carries no handshake to the broker.
    if link.wait_for(|state| *state != Link::Frozen).await.is_err() {
        return;
    }
    let Ok(broker) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    let mut answered = false;
    let down = pump(from_broker, to_client, link.clone(), |bytes| {
        traffic.down.fetch_add(bytes, Relaxed);
        if !std::mem::replace(&mut answered, true) {
            traffic.connack_ns.store(now_ns(), Relaxed);
        }
    });
    let up = pump(from_client, to_broker, link.clone(), |bytes| {
        traffic.up.fetch_add(bytes, Relaxed);
    });
    // Whichever side ends first ends both.
    tokio::select! {
        () = down => {}
        () = up => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<Link>,
    mut seen: impl FnMut(u64),
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let state = match link.wait_for(|state| *state != Link::Frozen).await {
            Ok(state) => *state,
            Err(_) => return,
        };
        if state == Link::Cut {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = link.changed() => continue,
        };
        let Ok(bytes @ 1..) = read else { return };
        seen(bytes as u64);
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::time::Duration;

    use super::*;

    /// A server that gives every byte back.
    fn echo() -> SocketAddr {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut reader, &mut stream);
                });
            }
        });
        address
    }

    fn connect(proxy: &Proxy, patience: Duration) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(proxy.address).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        stream
    }

    #[test]
    fn a_cut_link_ends_connections_and_a_mended_one_carries_again() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut byte = [0];
        let mut first = connect(&proxy, Duration::from_secs(10));
        first.write_all(b"a").unwrap();
        first.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"a");
        assert!(proxy.traffic.connack_ns.load(Relaxed) > 0);
        proxy.set(Link::Cut);
        assert!(matches!(first.read(&mut byte), Ok(0) | Err(_)), "the cut ends what is open");
        let mut second = connect(&proxy, Duration::from_secs(10));
        assert!(matches!(second.read(&mut byte), Ok(0) | Err(_)), "and what is new");
        proxy.set(Link::Up);
        let mut third = connect(&proxy, Duration::from_secs(10));
        third.write_all(b"b").unwrap();
        third.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"b");
    }

    #[test]
    fn a_frozen_link_keeps_what_it_was_given_until_it_thaws() {
        let proxy = Proxy::start(echo()).unwrap();
        let mut byte = [0];
        let mut stream = connect(&proxy, Duration::from_millis(200));
        stream.write_all(b"a").unwrap();
        stream.read_exact(&mut byte).unwrap();
        proxy.set(Link::Frozen);
        stream.write_all(b"b").unwrap();
        let nothing = stream.read(&mut byte).unwrap_err();
        assert!(matches!(nothing.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        proxy.set(Link::Up);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"b");
    }
}
