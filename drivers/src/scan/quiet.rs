//! Whether the line is quiet while nobody is asked: what tells two devices at one address from somebody else's talk.

use std::time::Duration;

use gatehouse_core::Mono;

use super::finding::{Clash, ClashSign, Finding, Station};
use super::heard::{GLITCH, Heard};
use super::job::{Job, Purpose};
use super::machine::{End, Scan};
use super::often::Often;
use super::patience::Pace;
use super::plan::Channel;
use super::question::Question;
use super::trial::Trial;
use crate::line::settings::Characters;

/// Questions to nobody before a clash is told.
const CONTROLS: u8 = 2;
/// So many when one of them was garbled, which may be chance.
const CONTROLS_MOST: u8 = 5;
/// So many garbled ones say that somebody else talks.
const GARBLED: u8 = 2;
/// A line that was quiet is believed to be so for this long, as far as only one address is in trouble.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// So much noise that nobody explains, within so long, says that somebody else talks, be it seldom.
const NOISE: (usize, Duration) = (6, Duration::from_secs(60));

/// How quiet the line was lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet {
    /// When nobody answered who is not there, and at which line settings.
    last: Option<(Option<Characters>, Mono)>,
    /// Noise that nobody explains, in bytes.
    noise: Often,
}

/// Questions to addresses that nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control {
    asked: u8,
    garbled: u8,
    bytes: usize,
    /// What is believed if the line is quiet.
    doubt: Option<Doubt>,
}

/// A clash that may be somebody else's talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) clash: Clash,
    /// The finding that it takes the place of.
    pub(super) place: Option<usize>,
    /// The question whose answers are in trouble.
    pub(super) question: Question,
    /// The line proved to be quiet since then, and what was still to come late has come: what is heard now is true.
    pub(super) is_proved: bool,
}

impl Scan {
    /// Garble was heard after a question: before anything follows from it, somebody is asked who is not there.
    pub(super) fn suspect(&mut self, job: &Job) {
        let lately =
            |(line, at): &(Option<Characters>, Mono)| *line == job.characters && self.now.since(*at) < QUIET_FOR;
        if self.channel().is_pair() && !self.quiet.last.as_ref().is_some_and(lately) {
            self.control(job, None);
        }
    }

    /// Tells a clash if the line proves to be quiet.
    pub(super) fn prove(&mut self, job: &Job, doubt: Doubt) {
        let speed = |line: Option<Characters>| line.map(|line| line.baud);
        let known = |finding: &Finding| {
            let (station, line) = finding.place();
            station == doubt.clash.station && speed(line) == speed(doubt.clash.characters)
        };
        if doubt.place.is_none() && self.findings.iter().any(known) {
            return;
        }
        match self.channel() {
            Channel::Serial | Channel::Raw => self.control(job, Some(doubt)),
            Channel::Tcp => self.tell_clash(&doubt),
        }
    }

    fn control(&mut self, job: &Job, doubt: Option<Doubt>) {
        let characters = doubt.as_ref().map_or(job.characters, |doubt| doubt.clash.characters);
        let control = Control { asked: 0, garbled: 0, bytes: 0, doubt };
        self.ask_nobody(&Job { characters, ..job.clone() }, control);
    }

    fn ask_nobody(&mut self, job: &Job, control: Control) {
        let question = job.question.control(control.asked);
        let purpose = Purpose::Control(control);
        self.agenda.push_front(Job { question, pace: Pace::Patient, purpose, ..job.clone() });
    }

    pub(super) fn settle_control(&mut self, job: &Job, mut control: Control, heard: &Heard) {
        control.asked += 1;
        if heard.is_garbled() {
            control.garbled += 1;
            control.bytes += heard.stray;
        }
        if control.garbled >= GARBLED {
            self.end = Some(End::Unquiet { bytes: control.bytes });
            return;
        }
        let wanted = match (control.garbled, &control.doubt) {
            (0, None) => 1,
            (0, Some(_)) => CONTROLS,
            (1.., _) => CONTROLS_MOST,
        };
        if control.asked < wanted {
            self.ask_nobody(job, control);
            return;
        }
        if control.garbled > 0 {
            self.note_noise(control.bytes);
        }
        self.quiet.last = Some((job.characters, self.now));
        let Some(doubt) = control.doubt else { return };
        match doubt.clash.sign {
            ClashSign::Crowd => self.tell_clash(&doubt),
            ClashSign::Garbled | ClashSign::Twice | ClashSign::Differ => {
                let (question, trial) = (doubt.question.clone(), Trial::default());
                let doubt = Some(Box::new(Doubt { is_proved: true, ..doubt }));
                let purpose = Purpose::Trial { trial, doubt };
                self.agenda.push_front(Job { question, purpose, ..job.clone() });
            }
        }
    }

    pub(super) fn tell_clash(&mut self, doubt: &Doubt) {
        let clash = Finding::Clash(doubt.clash.clone());
        match doubt.place.and_then(|place| self.findings.get_mut(place)) {
            Some(finding) => *finding = clash,
            None => self.findings.push(clash),
        }
    }

    /// So many bytes came that nobody explains.
    pub(super) fn note_noise(&mut self, bytes: usize) {
        if !self.channel().is_pair() || bytes <= GLITCH {
            return;
        }
        if let Some(bytes) = self.quiet.noise.push(self.now, bytes, NOISE) {
            self.end = Some(End::Unquiet { bytes });
        }
    }
}

impl Doubt {
    /// A clash that is in the place of no finding.
    pub(super) fn new(job: &Job, station: Station, sign: ClashSign) -> Doubt {
        let clash = Clash { station, characters: job.characters, sign };
        Doubt { clash, place: None, question: job.question.clone(), is_proved: false }
    }
}
