//! What is said next to one reader: start-up, Secure Channel, polls, and what follows when answers stay away.

use std::time::Duration;

use gatehouse_core::Mono;

use super::channel::{Answer, Channel};
use super::command::Command;
use super::error::WireError;
use super::frame::Frame;
use super::reply::{Identity, Reply, code, nak_meaning};
use super::secure::{Handshake, Key, KeyKind, Random};
use super::shown::{Shown, Standing};

/// Commands in a row without an answer after which the connection begins anew.
const MISSES_MAX: u8 = 8;
/// A reader forgets its panel after this time without a valid frame (OSDP 2.2, 5.7).
const FORGOTTEN: Duration = Duration::from_secs(8);
/// After this time without an answer, what a reader has kept is no longer about somebody who stands there.
const STALE: Duration = Duration::from_secs(2);
/// How often in a row a handshake whose numbers went astray is begun anew at once; after that it counts as refused.
const ASTRAY_MAX: u8 = 3;
/// What a reader says to a command with another number than it waits for (7.3).
const WRONG_SEQUENCE: u8 = 4;
/// Pause before a Secure Channel is tried again with a reader that refused it.
const REFUSED_PAUSE: Duration = Duration::from_secs(600);
/// How long after its beginning a conversation may use the key that everybody knows.
const COMMISSIONING: Duration = Duration::from_secs(900);
/// How often states are asked for that a reader should tell by itself.
const REFRESH: Duration = Duration::from_secs(10);
/// Most keys of the box that are tried beside a reader's own: the one that it was to lose, and those of changes that did not
/// come to their end.
pub const KEPT_MAX: usize = 3;
/// The capability "communication security" (Annex B).
const CAN_SECURE: u8 = 9;

/// The keys of one reader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Its own; `None`: it is spoken to in the clear.
    pub own: Option<Key>,
    /// Keys that the box gave it, or found it under, before: the newest first, at most [`KEPT_MAX`] of them. A reader that
    /// still has one is given its own, and then they are forgotten.
    pub kept: Vec<Key>,
    /// The one that it had before by its site file; a reader that still has it is given its own. It is tried after those
    /// that the box kept.
    pub before: Option<Key>,
    /// True if a reader that has no key but the one that everybody knows may be given its own, in the first quarter of an
    /// hour of the conversation.
    pub commissioning: bool,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Id,
    Capabilities,
    Challenge(Rung),
    Cryptogram(Rung),
    SetKey,
    Run,
}

/// The keys in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    Own,
    /// The place among those that the box kept.
    Kept(usize),
    Before,
    Default,
}

/// What is to be asked beside polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Questions {
    pub(super) local: bool,
    pub(super) inputs: bool,
    pub(super) outputs: bool,
}

/// The conversation with one reader. [`Session::prepare`] says what to send; [`Session::judge`] looks at what came;
/// [`Session::take`] or [`Session::missed`] goes on.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    keys: Keys,
    /// Nothing in the clear is believed.
    keyed: bool,
    random: Random,
    stage: Stage,
    challenge: [u8; 8],
    handshake: Option<Handshake>,
    /// No Secure Channel is tried before then.
    secure_after: Option<Mono>,
    misses: u8,
    /// Handshakes in a row in which reader and panel counted differently.
    astray: u8,
    began_at: Option<Mono>,
    answered_at: Option<Mono>,
    /// A poll was answered by "nothing new" since the connection began: what came before had been kept by the reader.
    live: bool,
    /// What the points need beside polls.
    wanted: Questions,
    due: Questions,
    refreshed_at: Mono,
    /// The command that waits is of an action.
    acting: bool,
    /// The key that the reader is to be given.
    next_key: Option<Key>,
    /// It was given a key since the conversation began.
    rekeyed: bool,
    pub(super) identity: Option<Identity>,
    pub(super) shown: Shown,
}

impl Session {
    /// A conversation that has not begun. `seed`: 16 bytes of true randomness, used for nothing else.
    pub fn new(channel: Channel, keys: Keys, seed: [u8; 16]) -> Self {
        Session {
            channel,
            keyed: keys.own.is_some(),
            keys,
            random: Random::new(seed),
            stage: Stage::Id,
            challenge: [0; 8],
            handshake: None,
            secure_after: None,
            misses: 0,
            astray: 0,
            began_at: None,
            answered_at: None,
            live: false,
            wanted: Questions { local: true, inputs: false, outputs: false },
            due: Questions::default(),
            refreshed_at: Mono(0),
            acting: false,
            next_key: None,
            rekeyed: false,
            identity: None,
            shown: Shown::default(),
        }
    }

    /// Has nothing in the clear believed, also where the reader's key is not there.
    pub(super) fn require_key(&mut self, keyed: bool) {
        self.keyed |= keyed;
    }

    /// Says which states are asked for beside polls.
    pub(super) fn want(&mut self, wanted: Questions) {
        self.wanted = wanted;
    }

    /// Has the reader be given this key as soon as no action waits; it is found by the one that it has until then. Nothing
    /// happens with a reader that has no key.
    pub(super) fn change_key(&mut self, key: Key) {
        self.next_key = self.keys.own.is_some().then_some(key);
    }

    /// The bytes to send.
    pub fn frame(&self) -> &[u8] {
        self.channel.frame()
    }

    /// True while a Secure Channel under the reader's own key stands.
    pub fn is_secure(&self) -> bool {
        self.stage == Stage::Run && self.channel.is_secure()
    }

    /// True once start-up is over, with whatever result.
    pub fn is_running(&self) -> bool {
        self.stage == Stage::Run
    }

    /// True if a command of a person would go out at once.
    pub(super) fn is_free(&self) -> bool {
        self.stage == Stage::Run && self.is_believed() && self.channel.waits_for().is_none()
    }

    /// True while the command that waits is of an action.
    pub(super) fn is_acting(&self) -> bool {
        self.acting
    }

    fn is_believed(&self) -> bool {
        !self.keyed || self.is_secure()
    }

    pub(super) fn standing(&self, live: bool) -> Standing {
        // An answer to what was sent under the key before says nothing of the one that the reader is to be given.
        let secure = self.is_secure() && self.next_key.is_none();
        Standing { connected: self.stage == Stage::Run && live, secure, believed: self.is_believed() }
    }

    /// True if this answer to the command that waits shows that the reader keeps nothing back.
    pub(super) fn is_live_after(&self, answer: &Answer) -> bool {
        let nothing_new = self.stage == Stage::Run && answer.code == code::ACK;
        self.live || nothing_new && self.channel.waits_for() == Some(Command::Poll.code())
    }

    /// True if cards and keys of this answer must not be acted upon.
    pub(super) fn drops(&self) -> bool {
        !self.live || !self.is_believed()
    }

    /// Encodes what is to be sent now: what waits for its answer, byte for byte, or what is next.
    pub fn prepare(&mut self, now: Mono) {
        self.age(now);
        if self.channel.waits_for().is_some() {
            return;
        }
        self.acting = false;
        let command = self.next(now);
        self.channel.ask(&command, self.kind());
    }

    /// Encodes a command of a person or a rule; where it cannot go now, what [`Session::prepare`] would.
    pub fn prepare_action(&mut self, now: Mono, command: &Command) {
        self.age(now);
        let repeats = self.acting && self.channel.waits_for() == Some(command.code());
        if repeats || !self.is_free() {
            return self.prepare(now);
        }
        self.acting = true;
        self.channel.ask(command, KeyKind::Own);
    }

    /// What the passing of time does.
    fn age(&mut self, now: Mono) {
        let began = *self.began_at.get_or_insert(now);
        self.keys.commissioning &= now.since(began) < COMMISSIONING;
        if let Some(key) = self.next_key.take_if(|_| !self.acting) {
            self.keys.kept.splice(0..0, self.keys.own.replace(key));
            self.keys.kept.truncate(KEPT_MAX);
            self.rekeyed = true;
            self.secure_after = None;
            self.restart();
        }
        let silent = self.answered_at.map(|at| now.since(at));
        if self.misses >= MISSES_MAX || silent.is_some_and(|silent| silent >= FORGOTTEN) {
            self.restart();
        }
        if silent.is_some_and(|silent| silent >= STALE) {
            self.live = false;
        }
    }

    /// Begins anew with number 0.
    pub fn restart(&mut self) {
        self.channel.restart();
        self.shown.forget();
        (self.stage, self.live, self.misses, self.answered_at) = (Stage::Id, false, 0, None);
        (self.handshake, self.acting) = (None, false);
    }

    fn kind(&self) -> KeyKind {
        match self.stage {
            Stage::Challenge(Rung::Default) | Stage::Cryptogram(Rung::Default) => KeyKind::Default,
            _ => KeyKind::Own,
        }
    }

    fn key(&self, rung: Rung) -> Option<&Key> {
        match rung {
            Rung::Own => self.keys.own.as_ref(),
            Rung::Kept(at) => self.keys.kept.get(at),
            Rung::Before => self.keys.before.as_ref(),
            Rung::Default => self.keys.commissioning.then_some(&Key::DEFAULT),
        }
    }

    fn next(&mut self, now: Mono) -> Command {
        match self.stage {
            Stage::Id => Command::Id,
            Stage::Capabilities => Command::Capabilities,
            Stage::Challenge(_) => {
                self.challenge = self.random.draw();
                Command::Challenge(self.challenge)
            }
            Stage::Cryptogram(_) => match &self.handshake {
                Some(handshake) => Command::Cryptogram(handshake.panel_cryptogram()),
                None => Command::Poll,
            },
            Stage::SetKey => match &self.keys.own {
                Some(own) => Command::SetKey(own.bytes()),
                None => Command::Poll,
            },
            Stage::Run => self.poll_or_ask(now),
        }
    }

    fn poll_or_ask(&mut self, now: Mono) -> Command {
        let retry = self.secure_after.is_some_and(|after| now >= after);
        if self.keys.own.is_some() && !self.channel.is_secure() && retry {
            self.restart();
            return Command::Id;
        }
        if now.since(self.refreshed_at) >= REFRESH && self.live {
            (self.due, self.refreshed_at) = (self.wanted, now);
        }
        if std::mem::take(&mut self.due.local) {
            return Command::LocalStatus;
        }
        if std::mem::take(&mut self.due.inputs) {
            return Command::InputStatus;
        }
        if std::mem::take(&mut self.due.outputs) {
            return Command::OutputStatus;
        }
        Command::Poll
    }

    /// Judges a frame; see [`Channel::judge`].
    ///
    /// # Errors
    /// Why it is not the answer.
    pub fn judge(&self, frame: &Frame<'_>, data: &mut Vec<u8>) -> Result<Answer, WireError> {
        self.channel.judge(frame, data)
    }

    /// The command that waits was not answered.
    pub fn missed(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }

    /// A reply came that nobody with the key can have sent: the Secure Channel is over.
    pub fn broken(&mut self) {
        self.restart();
    }

    /// An action is over. If its command still waits for its answer, the connection begins anew: it must not act later.
    pub fn end_action(&mut self) {
        if std::mem::take(&mut self.acting) && self.channel.waits_for().is_some() {
            self.restart();
        }
    }

    /// Goes on after an answer. States, cards and keys are the caller's to note.
    pub fn take(&mut self, now: Mono, answer: Answer, data: &[u8]) {
        self.answered_at = Some(now);
        let reply = Reply::decode(answer.code, data).unwrap_or(Reply::Other { code: answer.code, data });
        match reply {
            Reply::Busy => return,
            // What the reader got was garbled: it is sent again.
            Reply::Nak(1) => return self.missed(),
            _ => {}
        }
        self.misses = 0;
        let live = self.is_live_after(&answer);
        let asked = self.channel.waits_for();
        if self.channel.is_secure() && !answer.is_signed {
            return self.restart();
        }
        self.channel.take(answer);
        if reply == Reply::Nak(WRONG_SEQUENCE) && self.begins_anew() {
            return self.restart();
        }
        let was = self.stage;
        self.stage = match (self.stage, reply) {
            (Stage::Id, Reply::Id(identity)) => {
                self.identity = Some(identity);
                Stage::Capabilities
            }
            (Stage::Id, _) => Stage::Capabilities,
            (Stage::Capabilities, reply) => self.after_capabilities(now, reply),
            (Stage::Challenge(rung), reply) => self.after_challenge(now, rung, reply),
            (Stage::Cryptogram(rung), reply) => self.after_cryptogram(now, rung, reply),
            (Stage::SetKey, Reply::Ack) => Stage::Challenge(Rung::Own),
            (Stage::SetKey, _) => {
                self.restart();
                self.refused(now)
            }
            (Stage::Run, Reply::Nak(code)) if !matches!(code, 2 | 3 | 7..) => return self.restart(),
            (Stage::Run, Reply::Communication { .. }) => return self.restart(),
            (Stage::Run, _) => {
                if asked == Some(super::command::code::OUT) {
                    self.due.outputs |= self.wanted.outputs;
                }
                self.live = live;
                Stage::Run
            }
        };
        if self.stage == Stage::Run && was != Stage::Run {
            (self.due, self.refreshed_at) = (self.wanted, now);
        }
    }

    /// Whether a handshake in which the numbers went astray is to begin anew at once. That is no word about the key: a
    /// frame was lost, or somebody else spoke to the reader.
    fn begins_anew(&mut self) -> bool {
        let shakes = match self.stage {
            Stage::Challenge(_) | Stage::Cryptogram(_) | Stage::SetKey => true,
            Stage::Id | Stage::Capabilities | Stage::Run => false,
        };
        if shakes {
            self.astray += 1;
        }
        shakes && self.astray <= ASTRAY_MAX
    }

    fn after_capabilities(&mut self, now: Mono, reply: Reply<'_>) -> Stage {
        let waits = self.secure_after.is_some_and(|after| now < after);
        if self.keys.own.is_none() || waits {
            return Stage::Run;
        }
        let can = match reply {
            Reply::Capabilities(rows) => {
                rows.iter().any(|[function, level, _]| *function == CAN_SECURE && level & 1 == 1)
            }
            // A reader that does not say is asked.
            _ => true,
        };
        if can { Stage::Challenge(Rung::Own) } else { self.refused(now) }
    }

    fn after_challenge(&mut self, now: Mono, rung: Rung, reply: Reply<'_>) -> Stage {
        if let (Reply::ClientCryptogram { random, cryptogram, .. }, Some(key)) = (reply, self.key(rung)) {
            let handshake = Handshake::new(key, self.challenge, random);
            if handshake.reader_cryptogram() == cryptogram {
                self.handshake = Some(handshake);
                return Stage::Cryptogram(rung);
            }
        }
        let next = self.rungs().skip_while(|tried| *tried != rung).nth(1);
        match next {
            Some(rung) => Stage::Challenge(rung),
            None => self.refused(now),
        }
    }

    /// The keys that there are, in the order in which they are tried.
    fn rungs(&self) -> impl Iterator<Item = Rung> {
        let kept = (0..KEPT_MAX).map(Rung::Kept);
        let all = [Rung::Own].into_iter().chain(kept).chain([Rung::Before, Rung::Default]);
        all.filter(|rung| self.key(*rung).is_some())
    }

    fn after_cryptogram(&mut self, now: Mono, rung: Rung, reply: Reply<'_>) -> Stage {
        match (reply, self.handshake.take()) {
            (Reply::InitialMac(mac), Some(handshake)) if mac == handshake.initial_mac() => {
                self.channel.set_secure(handshake.into_channel());
                match rung {
                    Rung::Own => {
                        // Whoever has only the key that it was to lose is not given the one that it has now.
                        self.keys.kept.clear();
                        self.keys.before.take_if(|_| self.rekeyed);
                        (self.secure_after, self.astray) = (None, 0);
                        Stage::Run
                    }
                    Rung::Kept(_) | Rung::Before | Rung::Default => Stage::SetKey,
                }
            }
            _ => self.refused(now),
        }
    }

    /// The reader does not have the key, or does not say so: it goes on in the clear, and nothing that it tells is acted
    /// upon.
    fn refused(&mut self, now: Mono) -> Stage {
        (self.secure_after, self.astray) = (Some(now + REFUSED_PAUSE), 0);
        Stage::Run
    }
}

/// What an exception code of the line stands for: those of NAK, and the driver's own.
pub fn exception_meaning(code: u8) -> &'static str {
    match code {
        BAD_MAC => "a reply that nobody with the key has sent",
        NOT_SENT => "the reader is not connected as it must be: nothing was sent",
        BUSY => "the reader is busy",
        DOUBTFUL => "the answer was lost and the connection with it: the reader may have obeyed",
        code => nak_meaning(code),
    }
}

/// Exception: a reply with a wrong MAC.
pub(super) const BAD_MAC: u8 = 0xF0;
/// Exception: the action could not be sent.
pub(super) const NOT_SENT: u8 = 0xF1;
/// Exception: the action was sent, its answer was lost, and now nobody can say any more whether it was obeyed.
pub(super) const DOUBTFUL: u8 = 0xF2;
/// Exception: the reader is busy.
pub(super) const BUSY: u8 = code::BUSY;
