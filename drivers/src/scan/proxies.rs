//! Who answers for others: gateways for units that are not there, and devices that look at no unit.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::heard::Heard;
use super::job::{Job, Purpose};
use super::machine::Scan;
use super::patience::Pace;
use super::plan::{Attempt, Channel};
use super::question::{Answer, Question};
use super::settle::asked;
use super::socket::is_likely_on_socket;

/// Units that nobody has (Modbus over Serial Line 1.02, 2.2): what answers there answers whatever unit is asked.
const SENTINELS: [u8; 2] = [251, 253];

/// Who was said to be not there so often is not.
const WORDS: u8 = 2;

/// A line by its speed; `None`: a socket.
type Line = Option<u32>;

/// What is known of units that are not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    /// Units of which a gateway said that nobody is there, and how often.
    absent: BTreeMap<(Line, u8), u8>,
    /// What was answered at units that nobody has, where they were asked.
    nobodys: BTreeMap<Line, Nobodys>,
}

#[derive(Debug, Clone, Default)]
struct Nobodys {
    answers: Vec<Answer>,
    /// One device is told that answers whatever unit is asked.
    told: bool,
}

impl Proxies {
    /// Whether nobody is at the unit that a question is for, or only who answers whatever unit is asked.
    pub(super) fn is_absent(&self, job: &Job) -> bool {
        unit(&job.question).is_some_and(|unit| self.absent.contains_key(&(line(job), unit)))
    }
}

impl Nobodys {
    /// Whether an answer is as those at units that nobody has.
    fn is_alike(&self, answer: &Answer) -> bool {
        match self.answers.as_slice() {
            [one, other] => one.is_of_kind(other) && !answer.is_busy() && one.is_of_kind(answer),
            [..] => false,
        }
    }
}

fn line(job: &Job) -> Line {
    job.characters.map(|characters| characters.baud)
}

fn unit(question: &Question) -> Option<u8> {
    match question {
        Question::Modbus { unit, .. } => Some(*unit),
        Question::Dlt645 { .. } | Question::Cjt188 { .. } | Question::Osdp { .. } => None,
    }
}

impl Scan {
    /// Forgets what a gateway said only once of likely units, before they are waited for longer: it may have lost one answer.
    /// The others are too many to be asked again, where it takes a second for each that is not there.
    pub(super) fn doubt_words(&mut self, attempt: &Attempt) {
        if self.channel() == Channel::Tcp && attempt.pace > Pace::Fast {
            self.proxies.absent.retain(|(_, unit), words| *words >= WORDS || !is_likely_on_socket(*unit));
        }
    }

    /// Takes the word of a gateway about a unit, and what answers whatever unit is asked; false: the answer may be of a device.
    pub(super) fn settle_word(&mut self, job: &Job, answer: &Answer) -> bool {
        let Some(unit) = unit(&job.question) else { return false };
        if !answer.is_alive(&job.question) {
            if self.channel() == Channel::Tcp {
                let words = self.proxies.absent.entry((line(job), unit)).or_default();
                *words = words.saturating_add(1);
            }
            return true;
        }
        if SENTINELS.contains(&unit) {
            self.hear_sentinel(job, answer);
            return true;
        }
        let is_nobodys = self.proxies.nobodys.get(&line(job)).is_some_and(|nobodys| nobodys.is_alike(answer));
        if is_nobodys {
            self.proxies.absent.insert((line(job), unit), WORDS);
            if self.channel() != Channel::Raw || !answer.is_failure() {
                self.tell_any(job, answer);
            }
        }
        is_nobodys
    }

    /// Asks the sentinels once on a socket or at a speed, when the first unit has answered there; true: they are asked now,
    /// and that unit again.
    pub(super) fn ask_sentinels(&mut self, job: &Job) -> bool {
        if unit(&job.question).is_none() || self.proxies.nobodys.contains_key(&line(job)) {
            return false;
        }
        self.proxies.nobodys.insert(line(job), Nobodys::default());
        self.agenda.push_front(Job { purpose: Purpose::Probe, ..job.clone() });
        let pace = job.pace.max(Pace::Slow);
        for unit in SENTINELS {
            let question = Question::alive(self.plan.framing(), unit);
            self.agenda.push_front(Job { question, pace, purpose: Purpose::Sentinel, ..job.clone() });
        }
        true
    }

    pub(super) fn settle_sentinel(&mut self, job: &Job, heard: &Heard) {
        if let [answer] = heard.answers.as_slice()
            && answer.is_alive(&job.question)
        {
            self.hear_sentinel(job, answer);
        }
    }

    /// Takes what is answered at a unit that nobody has. That the host was busy says of nobody that he is not there.
    fn hear_sentinel(&mut self, job: &Job, answer: &Answer) {
        let nobodys = self.proxies.nobodys.entry(line(job)).or_default();
        if !answer.is_busy() && nobodys.answers.len() < SENTINELS.len() {
            nobodys.answers.push(answer.clone());
        }
    }

    /// Tells the one device that answers whatever unit is asked, at the first unit that was wanted.
    fn tell_any(&mut self, job: &Job, answer: &Answer) {
        let nobodys = self.proxies.nobodys.entry(line(job)).or_default();
        if std::mem::replace(&mut nobodys.told, true) {
            return;
        }
        let pace = job.pace.max(Pace::Slow);
        self.believe(&Job { pace, purpose: Purpose::Probe, ..job.clone() }, answer);
        let here = asked(&job.question).map(|station| (station, job.characters));
        if let Some(Finding::Found(found)) = self.findings.iter_mut().find(|one| Some(one.place()) == here) {
            found.identity.push(("unit".to_owned(), "any: it answers whatever unit is asked".to_owned()));
        }
    }
}
