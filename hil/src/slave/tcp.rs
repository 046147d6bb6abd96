//! Modbus TCP servers: each with its units, all on one thread of their own.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::answer::{Memory, answer};
use super::frame::{open_tcp, seal_tcp};
use crate::line::{Counts, Faults, be_punctual};

/// One server: a host address with one or more units behind it.
pub struct TcpSlave {
    /// The units that answer, and what they hold.
    pub units: Vec<(u8, Box<dyn Memory>)>,
    /// Time from a request to its reply.
    pub delay: Duration,
}

/// Running servers. They end when dropped.
pub struct TcpSlaves {
    /// Where each server listens, in the order given.
    pub addresses: Vec<SocketAddr>,
    /// Units made silent; of the other faults, lateness counts on TCP.
    pub faults: Arc<Faults>,
    /// Requests, replies and the unanswered ones of all servers.
    pub counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Units = Rc<RefCell<Vec<(u8, Box<dyn Memory>)>>>;

struct Shared {
    faults: Arc<Faults>,
    counts: Arc<Counts>,
}

impl TcpSlaves {
    /// Starts servers on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When the system gives no port or thread.
    pub fn start(slaves: Vec<TcpSlave>) -> anyhow::Result<Self> {
        let (faults, counts) = (Arc::<Faults>::default(), Arc::new(Counts::new()));
        let (stop, stopped) = oneshot::channel();
        let mut addresses = Vec::with_capacity(slaves.len());
        let mut bound = Vec::with_capacity(slaves.len());
        for slave in slaves {
            let listener =
                std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            bound.push((listener, slave));
        }
        let shared = (faults.clone(), counts.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("tcp-slaves".into()).spawn(move || {
            be_punctual();
            let shared = Rc::new(Shared { faults: shared.0, counts: shared.1 });
            let set = LocalSet::new();
            for (listener, slave) in bound {
                set.spawn_local(listen(listener, slave, shared.clone()));
            }
            runtime.block_on(set.run_until(async {
                let _ = stopped.await;
            }));
        });
        let thread = thread.context("cannot start the thread of the TCP slaves")?;
        Ok(TcpSlaves { addresses, faults, counts, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for TcpSlaves {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(listener: std::net::TcpListener, slave: TcpSlave, shared: Rc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let units: Units = Rc::new(RefCell::new(slave.units));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(converse(stream, units.clone(), slave.delay, shared.clone()));
    }
}

/// Answers one master until it leaves or sends something else than Modbus TCP.
async fn converse(mut stream: TcpStream, units: Units, delay: Duration, shared: Rc<Shared>) {
    let mut received = Vec::with_capacity(512);
    let (mut pdu, mut reply) = (Vec::with_capacity(256), Vec::with_capacity(256));
    loop {
        let taken = match open_tcp(&received) {
            Err(_) => return,
            Ok(None) => match stream.read_buf(&mut received).await {
                Ok(1..) => continue,
                Ok(0) | Err(_) => return,
            },
            Ok(Some(request)) => {
                pdu.clear();
                pdu.extend_from_slice(request.pdu);
                (request.transaction, request.unit, request.bytes)
            }
        };
        let (transaction, unit, bytes) = taken;
        received.drain(..bytes);
        shared.counts.requests.fetch_add(1, Relaxed);
        if !answer_unit(&units, unit, &pdu, &shared, &mut reply) {
            continue;
        }
        let wait = delay + lateness(&shared);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let mut frame = Vec::with_capacity(reply.len() + 7);
        seal_tcp(transaction, unit, &reply, &mut frame);
        if let Some((_, memory)) = units.borrow_mut().iter_mut().find(|(u, _)| *u == unit) {
            memory.answered();
        }
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Makes the reply of a unit; false when it stays silent.
fn answer_unit(units: &Units, unit: u8, pdu: &[u8], shared: &Shared, reply: &mut Vec<u8>) -> bool {
    let mut units = units.borrow_mut();
    let silent = shared.faults.is_silent(unit);
    let Some((_, memory)) = units.iter_mut().find(|(u, _)| *u == unit).filter(|_| !silent) else {
        shared.counts.unanswered.fetch_add(1, Relaxed);
        return false;
    };
    reply.clear();
    answer(memory.as_mut(), pdu, reply);
    shared.counts.replies.fetch_add(1, Relaxed);
    true
}

fn lateness(shared: &Shared) -> Duration {
    let every = u64::from(shared.faults.late_every.load(Relaxed));
    if every == 0 || !shared.counts.replies.load(Relaxed).is_multiple_of(every) {
        return Duration::ZERO;
    }
    shared.counts.late.fetch_add(1, Relaxed);
    Duration::from_millis(u64::from(shared.faults.late_ms.load(Relaxed)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::slave::answer::{Exception, Words};

    struct Constant(u16);
    impl Memory for Constant {
        fn word(&mut self, _: Words, address: u16) -> Result<u16, Exception> {
            Ok(self.0 + address)
        }
    }

    fn request(transaction: u16, unit: u8) -> Vec<u8> {
        let mut frame = Vec::new();
        seal_tcp(transaction, unit, &[3, 0, 1, 0, 1], &mut frame);
        frame
    }

    #[test]
    fn units_behind_one_server_answer_for_themselves_and_silent_ones_not_at_all() {
        let units: Vec<(u8, Box<dyn Memory>)> = vec![(1, Box::new(Constant(100))), (2, Box::new(Constant(200)))];
        let slaves = TcpSlaves::start(vec![TcpSlave { units, delay: Duration::ZERO }]).unwrap();
        slaves.faults.set_silent(1, true);
        let mut stream = TcpStream::connect(slaves.addresses[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&[request(7, 1), request(8, 9), request(9, 2)].concat()).unwrap();
        let mut reply = [0; 11];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply, [0, 9, 0, 0, 0, 5, 2, 3, 2, 0, 201]);
        assert_eq!(slaves.counts.unanswered.load(Relaxed), 2);
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert_eq!(stream.read(&mut reply).unwrap(), 0, "what is not Modbus ends the connection");
    }
}
