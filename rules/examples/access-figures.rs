//! Figures of access with 100,000 credentials: how long a decision takes, and how much memory all of it needs.
//!
//! `cargo run --release -p gatehouse-rules --example access-figures`

use std::time::{Duration, Instant};

use gatehouse_core::{BootId, Mono, Stamp, Trust, Wall};
use gatehouse_rules::access::wiegand::{Bits, Card, Format};
use gatehouse_rules::access::{
    Access, AccessSpec, Change, Credential, CredentialKind, GateAccess, GatePolicy, GuessLimits, Header, LookupKey,
    Presented, Proof, Salt, SealKey, Snapshot, snapshot,
};
use gatehouse_rules::schedule::Calendar;
use gatehouse_rules::words::{Direction, HolderClass, Mode, RequestId};
use jiff::tz::TimeZone;
use ring::signature::{Ed25519KeyPair, KeyPair};

const CREDENTIALS: u64 = 100_000;
const DECISIONS: u64 = 200_000;
const UNIX_S: u32 = 1_799_064_000;

fn main() {
    let core = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("any 32 bytes are a seed");
    let mut access = machine(&core);
    let text = snapshot(&core);
    println!("snapshot              {:>9.1} MB", megabytes(text.len()));
    println!("memory before         {:>9.1} MB", memory("VmRSS:"));
    let (verified, took) = timed(|| Snapshot::verify(&text, &access.expected()).expect("it was signed just now"));
    println!("verified in           {:>9.1} ms", millis(took));
    drop(text);
    let (applied, took) = timed(|| access.handle_snapshot(now(0), verified, Salt([1; 16])));
    applied.expect("it is the first");
    println!("applied in            {:>9.1} ms", millis(took));
    let (image, took) = timed(|| access.image().expect("there are credentials"));
    println!("image in              {:>9.1} ms", millis(took));
    let (sealed, took) = timed(|| image.seal(&SealKey::new(&[2; 32]), Salt([2; 16])));
    println!("sealed in             {:>9.1} ms, {:.1} MB", millis(took), megabytes(sealed.len()));
    drop((image, sealed));
    decide(&mut access);
    println!("memory, all of it     {:>9.1} MB (at the most {:.1} MB)", memory("VmRSS:"), memory("VmHWM:"));
}

fn machine(core: &Ed25519KeyPair) -> Access {
    Access::new(AccessSpec {
        site: "riverside".to_owned(),
        lookup: LookupKey::new(&[7; 32]),
        core_keys: vec![core.public_key().as_ref().try_into().expect("32 bytes")],
        seal: SealKey::new(&[2; 32]),
        own_seed: None,
        pins: None,
        gates: vec![GateAccess { gate: "lobby".to_owned(), zone: None, policy: GatePolicy::default() }],
        zones: Vec::new(),
        formats: Vec::new(),
        guesses: GuessLimits::default(),
        calendar: Calendar::weekdays_only(),
        zone: TimeZone::UTC,
    })
}

fn format() -> Format {
    Format::built_in().into_iter().next().expect("there are four")
}

fn card(n: u64) -> Card {
    Card { facility: Some(u32::try_from(n >> 16).unwrap_or(0)), number: n & 0xffff }
}

fn bits(n: u64) -> Bits {
    format().encode(card(n)).expect("eight and sixteen bits")
}

/// A full snapshot, written line by line, so that its making takes no more memory than its text.
fn snapshot(core: &Ed25519KeyPair) -> Vec<u8> {
    let key = LookupKey::new(&[7; 32]);
    let name = format().name().to_owned();
    let day = "mon-fri 06:00-22:00; holiday 10:00-14:00".parse().expect("a schedule");
    let header = Header {
        format: snapshot::FORMAT.to_owned(),
        site: "riverside".to_owned(),
        lookup_key: key.id().to_owned(),
        version: 1,
        base_version: None,
        created: UNIX_S,
        expires_at: UNIX_S + 86_400,
        count: 0,
        groups: Some([("doors".to_owned(), vec!["lobby".to_owned()])].into()),
        schedules: Some([("day".to_owned(), day)].into()),
        quotas: None,
    };
    let put = |n: u64| {
        Change::Put(Credential {
            id: key.card(&name, card(n)),
            kind: CredentialKind::Card,
            who: format!("p-{n:08x}"),
            class: HolderClass::Resident,
            household: format!("h-{:06}", n / 3),
            gates: Vec::new(),
            groups: vec!["doors".to_owned()],
            from: Some(UNIX_S - 1000),
            until: Some(UNIX_S + 1_000_000),
            schedule: "day".to_owned(),
            flags: Vec::new(),
            number: None,
        })
    };
    Snapshot::sign(&header, (0..CREDENTIALS).map(put), core)
}

/// Every second card is known.
fn decide(access: &mut Access) {
    let mut times = Vec::new();
    let mut allowed = 0;
    for n in 0..DECISIONS {
        let proof = Proof::Card { bits: bits(n.wrapping_mul(0x9e37_79b1) % (2 * CREDENTIALS)), format: None };
        let presented =
            Presented { gate: "lobby".to_owned(), via: "reader-1".to_owned(), direction: Direction::In, proof };
        let at = now(n);
        let (_, took) = timed(|| access.handle_presented(at, RequestId(n), &presented, Mode::Online));
        times.push(took);
        while let Some(verdict) = access.poll_verdict() {
            allowed += u64::from(verdict.allowed);
        }
        while access.poll_effect().is_some() {}
    }
    times.sort_unstable();
    let at =
        |permille: usize| times.get(times.len() * permille / 1000).copied().unwrap_or_default().as_secs_f64() * 1e6;
    println!("decision p50          {:>9.1} µs", at(500));
    println!("decision p99          {:>9.1} µs", at(990));
    println!("decision p99.9        {:>9.1} µs", at(999));
    println!("allowed               {allowed:>9} of {DECISIONS}");
}

/// 100 ms apart.
fn now(n: u64) -> Stamp {
    let wall = Wall(i64::from(UNIX_S) * 1_000_000 + i64::try_from(n * 100_000).unwrap_or(0));
    let mono = Mono::from_millis(1_000_000 + n * 100);
    Stamp { boot: BootId(1), mono, wall, trust: Trust::Synchronised }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let made = work();
    (made, start.elapsed())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// A figure of the process in MB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0 / 1e6
}
