//! The network of a controller: its port, and what happens to datagrams on the way.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::board::{Board, SIZE, Swipe};

/// What happens to datagrams, each in so many of a hundred cases. Losses concern both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Lost.
    pub lost: u8,
    /// Answers sent twice.
    pub doubled: u8,
    /// Answers that wait until after the next one.
    pub overtaken: u8,
    /// Nothing comes through.
    pub cut: bool,
}

/// A controller on a port. It ends when dropped.
pub struct DoorNet {
    /// Where it is.
    pub address: SocketAddr,
    board: Arc<Mutex<Board>>,
    weather: Arc<Mutex<Weather>>,
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DoorNet {
    /// Serves a controller on a free port of 127.0.0.1; `seed` decides the weather's cases.
    ///
    /// # Errors
    /// When the system gives no port or thread.
    pub fn start(board: Board, seed: u64) -> anyhow::Result<DoorNet> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (address, socket) = (socket.local_addr()?, Arc::new(socket));
        let (board, weather) = (Arc::new(Mutex::new(board)), Arc::new(Mutex::new(Weather::default())));
        let stop = Arc::new(AtomicBool::new(false));
        let served = Served {
            socket: socket.clone(),
            board: board.clone(),
            weather: weather.clone(),
            rng: fastrand::Rng::with_seed(seed),
            held: None,
        };
        let stopped = stop.clone();
        let run = move || served.run(&stopped);
        let thread = std::thread::Builder::new().name("door-net".to_owned()).spawn(run)?;
        Ok(DoorNet { address, board, weather, socket, stop, thread: Some(thread) })
    }

    /// The controller.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    /// Somebody presents a card; who listens is told, if the weather lets it through.
    pub fn swipe(&self, swipe: Swipe) {
        let (datagram, [a, b, c, d, low, high]) = self.board().swipe(swipe);
        let port = u16::from_le_bytes([low, high]);
        if port > 0 && !lock(&self.weather).cut {
            // Whether somebody takes it is not the controller's concern.
            let _ = self.socket.send_to(&datagram, SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port));
        }
    }
}

impl Drop for DoorNet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that has panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Served {
    socket: Arc<UdpSocket>,
    board: Arc<Mutex<Board>>,
    weather: Arc<Mutex<Weather>>,
    rng: fastrand::Rng,
    held: Option<([u8; SIZE], SocketAddr)>,
}

impl Served {
    fn run(mut self, stop: &AtomicBool) {
        let mut buffer = [0; 256];
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else {
                self.release();
                continue;
            };
            let weather = *lock(&self.weather);
            if weather.cut || self.happens(weather.lost) {
                continue;
            }
            let answer = lock(&self.board).answer(buffer.get(..length).unwrap_or_default());
            let Some(answer) = answer else { continue };
            if self.happens(weather.lost) {
                continue;
            }
            if self.held.is_none() && self.happens(weather.overtaken) {
                self.held = Some((answer, from));
                continue;
            }
            self.send(&answer, from);
            if self.happens(weather.doubled) {
                self.send(&answer, from);
            }
            self.release();
        }
    }

    fn happens(&mut self, of_hundred: u8) -> bool {
        self.rng.u8(..100) < of_hundred
    }

    fn release(&mut self) {
        if let Some((answer, to)) = self.held.take() {
            self.send(&answer, to);
        }
    }

    fn send(&self, answer: &[u8; SIZE], to: SocketAddr) {
        // Lost datagrams are the network's way.
        let _ = self.socket.send_to(answer, to);
    }
}
