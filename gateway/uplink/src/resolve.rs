//! Names to addresses, where a resolver that hangs costs one thread and nobody's time.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::fault::Fault;

/// Looks a name up; blocks.
pub(crate) type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The operating system's resolver.
pub(crate) fn system_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Resolves names on a thread of its own. `getaddrinfo` cannot be interrupted, so a lookup that takes too long is left
/// running, and no other begins before it ends: there is at most one such thread.
pub(crate) struct Resolver {
    lookup: Lookup,
    running: Option<(String, oneshot::Receiver<io::Result<Vec<SocketAddr>>>)>,
}

impl Resolver {
    pub(crate) fn new(lookup: Lookup) -> Self {
        Resolver { lookup, running: None }
    }

    /// The addresses of `host`, within `limit`.
    pub(crate) async fn resolve(&mut self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let silent = || Fault::DnsSilent { host: host.to_owned(), seconds: limit.as_secs() };
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if self.running.is_none() {
                self.running = Some((format!("{host}:{port}"), self.start(host, port)?));
            }
            // Kept in its place while waiting: whoever gives up waiting leaves it to the next one.
            let Some((of, answer)) = &mut self.running else { return Err(silent()) };
            let Ok(result) = tokio::time::timeout_at(deadline, answer).await else { return Err(silent()) };
            let asked_now = *of == format!("{host}:{port}");
            self.running = None;
            if asked_now {
                let fault = |why: String| Fault::Dns { host: host.to_owned(), why };
                return match result {
                    Ok(Ok(addresses)) if addresses.is_empty() => Err(fault("the answer is empty".to_owned())),
                    Ok(Ok(addresses)) => Ok(addresses),
                    Ok(Err(error)) => Err(fault(error.to_string())),
                    Err(_) => Err(fault("the resolver broke off".to_owned())),
                };
            }
        }
    }

    fn start(&self, host: &str, port: u16) -> Result<oneshot::Receiver<io::Result<Vec<SocketAddr>>>, Fault> {
        let (tell, answer) = oneshot::channel();
        let (lookup, name) = (self.lookup, host.to_owned());
        let run = move || {
            // Nobody waits any more when the uplink has ended.
            let _ = tell.send(lookup(&name, port));
        };
        let thread = std::thread::Builder::new().name("resolve".to_owned()).stack_size(512 * 1024).spawn(run);
        thread.map(|_| answer).map_err(|error| Fault::Dns { host: host.to_owned(), why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    fn hanging(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        STARTED.fetch_add(1, Ordering::SeqCst);
        let (released, wake) = &RELEASED;
        drop(wake.wait_while(released.lock().unwrap(), |released| !*released).unwrap());
        Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)])
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_costs_one_thread_however_often_it_is_asked() {
        let mut resolver = Resolver::new(hanging);
        for _ in 0..5 {
            let answer = resolver.resolve("core.example", 1, Duration::from_millis(20)).await;
            assert_eq!(answer, Err(Fault::DnsSilent { host: "core.example".into(), seconds: 0 }));
        }
        assert_eq!(resolver.resolve("10.0.0.1", 2, Duration::ZERO).await, Ok(vec!["10.0.0.1:2".parse().unwrap()]));
        assert_eq!(STARTED.load(Ordering::SeqCst), 1);
        *RELEASED.0.lock().unwrap() = true;
        RELEASED.1.notify_all();
        let other = resolver.resolve("other.example", 3, Duration::from_secs(20)).await;
        assert_eq!(other, Ok(vec!["127.0.0.1:3".parse().unwrap()]), "not the late answer to another question");
    }
}
