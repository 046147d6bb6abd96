//! A card at a reader: the time until the open command of its door arrives.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::stage::Folders;
use super::{Bench, Row};
use crate::rig::{Gateway, SiteFile, free_port};
use crate::slave::answer::{Bits, Exception, ILLEGAL_ADDRESS, Memory, Words};
use crate::slave::tcp::{TcpSlave, TcpSlaves};

/// Doors, each with a reader and a board of its own.
const DOORS: u16 = 30;
/// From one card at a door to the next, at least: within a grant a further card gives no further pulse.
const BETWEEN: Duration = Duration::from_millis(4_000);
/// How long the gateway may take until it has read every door.
const START: Duration = Duration::from_secs(20);
/// The bar.
const BAR: Duration = Duration::from_millis(20);

/// One door: what its board shows, and what it was told.
#[derive(Default)]
struct Door {
    card: AtomicU16,
    count: AtomicU16,
    /// When the board first showed the present count; `None`: it has not, or the door was opened since.
    shown: Mutex<Option<(u16, Instant)>>,
    /// Reads of the board.
    reads: AtomicU16,
    opened: Mutex<Vec<Duration>>,
}

impl Door {
    fn present(&self, card: u16) {
        self.card.store(card, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }
}

struct Board(Arc<Door>);

impl Memory for Board {
    fn word(&mut self, table: Words, address: u16) -> Result<u16, Exception> {
        match (table, address) {
            (Words::Holding, 0) => Ok(self.0.card.load(Relaxed)),
            (Words::Holding, 1) => {
                self.0.reads.fetch_add(1, Relaxed);
                let count = self.0.count.load(Relaxed);
                let mut shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
                if shown.is_none_or(|(before, _)| before != count) {
                    *shown = Some((count, Instant::now()));
                }
                Ok(count)
            }
            _ => Err(ILLEGAL_ADDRESS),
        }
    }

    fn bit(&mut self, table: Bits, address: u16) -> Result<bool, Exception> {
        if (table, address) == (Bits::Coils, 0) { Ok(false) } else { Err(ILLEGAL_ADDRESS) }
    }

    fn set_coil(&mut self, _address: u16, value: u16) -> Result<(), Exception> {
        let shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((_, at)), true) = (*shown, value != 0) {
            self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).push(at.elapsed());
        }
        Ok(())
    }
}

/// Measures with an empty roll, where the offline policy lets everybody in: a look-up among 100,000 credentials takes
/// microseconds more (`gatehouse-rules`' example `access-figures`).
pub(super) fn card_to_open(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let folders = Folders::new()?;
    let doors: Vec<Arc<Door>> = (0..DOORS).map(|_| Arc::default()).collect();
    let slave =
        |door: &Arc<Door>| TcpSlave { units: vec![(1, Box::new(Board(door.clone())) as _)], delay: Duration::ZERO };
    let slaves = TcpSlaves::start(doors.iter().map(slave).collect())?;
    // Nobody is there: the link is down, as in an outage.
    let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut file = SiteFile::new("bench", folders.disk.path(), folders.memory.path(), broker, "");
    for (at, address) in slaves.addresses.iter().enumerate() {
        describe(&mut file, at, *address);
    }
    for key in ["lookup.key", "seal.key"] {
        std::fs::write(folders.disk.path().join(key), [7; 32]).context("cannot write a key")?;
    }
    file.tables(
        "[access]\ncore_keys = [\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"]\nlookup_key = { file = \"lookup.key\" }\n\
         seal_key = { file = \"seal.key\" }",
    );
    let (config, log) = (file.write()?, folders.disk.path().join("gateway.log"));
    let mut gateway = Gateway::start(bench.gateway()?, &config, &file.socket(), &log)?;
    let deadline = Instant::now() + START;
    while doors.iter().any(|door| door.reads.load(Relaxed) < 2) {
        if Instant::now() > deadline || gateway.ended().is_some() {
            bail!("the gateway does not read the doors: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let cards = show_cards(&doors, bench.steady);
    gateway.stop();
    let mut times: Vec<Duration> = doors
        .iter()
        .flat_map(|door| std::mem::take(&mut *door.opened.lock().unwrap_or_else(PoisonError::into_inner)))
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
    let (Some(half), Some(most)) = (at(50), at(99)) else { bail!("no door was opened for {cards} cards") };
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let figure = format!("{} / {} ({} of {cards} cards opened)", ms(half), ms(most), times.len());
    let ok = most < BAR && times.len() == cards;
    Ok(vec![Row::new("card at a reader to the open command's first byte, p50 / p99", figure, "20 ms", "", ok)])
}

fn describe(file: &mut SiteFile, at: usize, address: SocketAddr) {
    let bus = format!("bus-{at}");
    file.tcp_bus(&bus, address, "");
    let mut points = String::new();
    for (name, table, address, kind) in
        [("card", "holding", 0, "u16"), ("count", "holding", 1, "u16"), ("open", "coil", 0, "bool")]
    {
        let write = if table == "coil" { "write = \"single-coil\"\n" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            points,
            "[[device.point]]\nname = \"{name}\"\ntable = \"{table}\"\naddress = {address}\ntype = \"{kind}\"\n{write}"
        );
    }
    file.device(&format!("board-{at}"), &bus, 1, "100ms", &points);
    file.tables(&format!(
        "[[gate]]\nid = \"door-{at}\"\nkind = \"door\"\nopen = {{ point = \"board-{at}/open\", pulse = \"200ms\" }}\n\
         policy = {{ grant = \"1s\", grant_slack = \"0s\" }}\naccess = {{ offline = \"allow_all_in\" }}\n\
         [[reader]]\nname = \"reader-{at}\"\ngate = \"door-{at}\"\nnumber = \"board-{at}/card\"\ncount = \"board-{at}/count\"\nformat = \"H10301-26\""
    ));
}

/// Shows a card at each door now and then, another one each time; gives how many.
fn show_cards(doors: &[Arc<Door>], steady: Duration) -> usize {
    let mut next: Vec<Instant> = doors.iter().map(|_| Instant::now() + BETWEEN.mul_f64(fastrand::f64())).collect();
    let (end, mut cards) = (Instant::now() + steady, 0u16);
    while Instant::now() < end {
        for (door, next) in doors.iter().zip(&mut next) {
            if *next <= Instant::now() {
                cards += 1;
                door.present(cards);
                *next = Instant::now() + BETWEEN + BETWEEN.mul_f64(fastrand::f64() / 4.0);
            }
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    // The last ones are still on their way.
    std::thread::sleep(BETWEEN);
    usize::from(cards)
}
