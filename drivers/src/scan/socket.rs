//! What is different on a socket: gateways that answer for who is not there, and devices that look at no unit.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::heard::Heard;
use super::job::{Job, Purpose};
use super::machine::Scan;
use super::patience::Pace;
use super::plan::{Attempt, Channel, is_likely_on_socket};
use super::question::{Answer, Question};

/// Units that nobody has (Modbus over Serial Line 1.02, 2.2): what answers there answers whatever unit is asked.
const SENTINELS: [u8; 2] = [251, 253];

/// Who was said to be not there so often is not.
const WORDS: u8 = 2;

/// What is known of units that are not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Socket {
    /// Units of which a gateway said that nobody is there, and how often.
    absent: BTreeMap<u8, u8>,
    /// Whether the sentinels were asked, and what they answered.
    asked: bool,
    sentinels: Vec<Answer>,
    /// One device is told that answers whatever unit is asked.
    told: bool,
}

impl Socket {
    /// Whether a gateway said that nobody is at this unit.
    pub(super) fn is_absent(&self, unit: u8) -> bool {
        self.absent.contains_key(&unit)
    }

    /// What is answered at units that nobody has.
    fn nobodys(&self) -> Option<&Answer> {
        match self.sentinels.as_slice() {
            [one, other] if one.is_of_kind(other) => Some(one),
            [..] => None,
        }
    }
}

impl Scan {
    /// Forgets what a gateway said only once of likely units, before they are waited for longer: it may have lost one answer.
    /// The others are too many to be asked again, where it takes a second for each that is not there.
    pub(super) fn doubt_words(&mut self, attempt: &Attempt) {
        if self.channel == Channel::Tcp && attempt.pace > Pace::Fast {
            self.socket.absent.retain(|unit, words| *words >= WORDS || !is_likely_on_socket(*unit));
        }
    }

    /// Takes the word of a gateway about a unit, and what answers whatever unit is asked; false: the answer may be of a device.
    pub(super) fn settle_word(&mut self, question: &Question, answer: &Answer) -> bool {
        let Some(unit) = question.number() else { return false };
        if !answer.is_alive(question) {
            if self.channel == Channel::Tcp {
                let words = self.socket.absent.entry(unit).or_default();
                *words = words.saturating_add(1);
            }
            return true;
        }
        if self.channel != Channel::Tcp {
            return false;
        }
        if SENTINELS.contains(&unit) {
            self.hear_sentinel(answer);
            return true;
        }
        let is_nobodys = self.socket.nobodys().is_some_and(|nobodys| !answer.is_busy() && nobodys.is_of_kind(answer));
        if is_nobodys {
            self.socket.absent.insert(unit, WORDS);
            self.tell_any(question, answer);
        }
        is_nobodys
    }

    /// Asks the sentinels once, when the first unit has answered; true: they are asked now, and that unit again.
    pub(super) fn ask_sentinels(&mut self, job: &Job) -> bool {
        if self.channel != Channel::Tcp || std::mem::replace(&mut self.socket.asked, true) {
            return false;
        }
        self.agenda.push_front(job.clone());
        for unit in SENTINELS {
            let question = Question::alive(self.plan.framing(), unit);
            self.agenda.push_front(Job { question, pace: Pace::Slow, purpose: Purpose::Sentinel, ..job.clone() });
        }
        true
    }

    pub(super) fn settle_sentinel(&mut self, job: &Job, heard: &Heard) {
        if let [answer] = heard.answers.as_slice()
            && answer.is_alive(&job.question)
        {
            self.hear_sentinel(answer);
        }
    }

    /// Takes what is answered at a unit that nobody has. That the host was busy says of nobody that he is not there.
    fn hear_sentinel(&mut self, answer: &Answer) {
        if !answer.is_busy() && self.socket.sentinels.len() < SENTINELS.len() {
            self.socket.sentinels.push(answer.clone());
        }
    }

    /// Tells the one device that answers whatever unit is asked, at the first unit that was wanted.
    fn tell_any(&mut self, question: &Question, answer: &Answer) {
        if std::mem::replace(&mut self.socket.told, true) {
            return;
        }
        let job = Job::new(question.clone(), None, Pace::Slow, Purpose::Probe);
        self.believe(&job, answer);
        if let Some(Finding::Found(found)) = self.findings.last_mut() {
            found.identity.push(("unit".to_owned(), "any: it answers whatever unit is asked".to_owned()));
        }
    }
}
