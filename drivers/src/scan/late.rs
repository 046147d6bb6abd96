//! Sound answers to other questions than the last one: late ones, or of whom somebody else asked.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use gatehouse_core::Mono;

use super::finding::Station;
use super::heard::{Astray, Heard};
use super::job::{Job, Purpose};
use super::machine::{End, Scan};
use super::patience::Pace;
use super::question::{Answer, Question};
use super::settle;
use super::trial::Trial;
use super::wildcard::Hearing;
use crate::point::Protocol;

/// Questions that may still be answered late; at the highest speeds 16 are asked in a second.
const RECENT: usize = 128;
/// So long after a question an answer on a serial line may still be one to it.
const LATE_MOST: Duration = Duration::from_secs(4);
/// Who answers late so often, although he is waited for from the second time on, is slower than any driver waits.
const LATE_TIMES: u8 = 3;
/// Most stations that are asked again for late answers: as many as a pair carries.
const LATE_STATIONS: usize = 256;
/// So many sound frames of somebody else, within so long, end a scan that has begun. One may be chance.
const FOREIGN: (usize, Duration) = (2, Duration::from_secs(300));

/// Who was asked last, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    asked: VecDeque<Asked>,
    /// Who answered late, and how often.
    late: Vec<(Station, u8)>,
    ever: Ever,
}

/// Who was asked in the whole scan. Of meters all are, as the widest wildcard comes first.
#[derive(Debug, Clone, Default)]
struct Ever {
    units: BTreeSet<u8>,
    readers: BTreeSet<u8>,
    electricity: bool,
    pipes: bool,
}

impl Ever {
    fn push(&mut self, question: &Question) {
        match question {
            Question::Modbus { unit, .. } => drop(self.units.insert(*unit)),
            Question::Osdp { address, .. } => drop(self.readers.insert(*address)),
            Question::Dlt645 { .. } => self.electricity = true,
            Question::Cjt188 { .. } => self.pipes = true,
        }
    }

    fn has_asked(&self, question: &Question) -> bool {
        match question {
            Question::Modbus { unit, .. } => self.units.contains(unit),
            Question::Osdp { address, .. } => self.readers.contains(address),
            Question::Dlt645 { .. } => self.electricity,
            Question::Cjt188 { .. } => self.pipes,
        }
    }

    fn has(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Modbus { unit, .. } => self.units.contains(unit),
            Answer::Osdp { address, .. } => self.readers.contains(address),
            Answer::Dlt645 { .. } => self.electricity,
            Answer::Cjt188 { .. } => self.pipes,
        }
    }
}

#[derive(Debug, Clone)]
struct Asked {
    question: Question,
    tag: u16,
    at: Mono,
}

impl Recent {
    pub(super) fn push(&mut self, question: Question, tag: u16, at: Mono) {
        self.ever.push(&question);
        self.asked.truncate(RECENT - 1);
        self.asked.push_front(Asked { question, tag, at });
    }

    /// Whether the unit, the reader or the meters of a question were asked in this scan.
    pub(super) fn has_asked(&self, question: &Question) -> bool {
        self.ever.has_asked(question)
    }

    /// The last question that this may be an answer to, and when it was asked.
    fn find(&self, astray: &Astray, now: Mono) -> Option<(Question, Mono)> {
        let suits = |asked: &&Asked| {
            asked.question.is_answered_by(asked.tag, astray.transaction, &astray.answer)
                && (asked.question.is_on_socket() || now.since(asked.at) < LATE_MOST)
        };
        self.asked.iter().find(suits).map(|asked| (asked.question.clone(), asked.at))
    }

    /// Whether a late answer of this station is worth another question.
    fn is_worth(&mut self, station: Station) -> bool {
        let is_full = self.late.len() >= LATE_STATIONS;
        match self.late.iter_mut().find(|(one, _)| *one == station) {
            Some((_, times)) if *times >= LATE_TIMES => false,
            Some((_, times)) => {
                *times += 1;
                true
            }
            None if is_full => false,
            None => {
                self.late.push((station, 1));
                true
            }
        }
    }
}

impl Scan {
    /// Asks those again who answered late, while `job` is or will be asked. `at`: when that came.
    pub(super) fn settle_astray(&mut self, job: &Job, astray: &[Astray], at: Mono) {
        for one in astray {
            let Some((question, asked)) = self.recent.find(one, self.now) else {
                // Who answers without ever having been asked here was asked by somebody else; others may be very late.
                if self.channel().is_pair() && !self.recent.ever.has(&one.answer) {
                    self.note_foreign(one.answer.protocol());
                }
                continue;
            };
            let turnaround = at.since(asked);
            self.patience.learn(&question, turnaround);
            let Some(exact) = question.exact(&one.answer) else { continue };
            let purpose = if exact.number().is_some() { Purpose::Probe } else { Purpose::trial(Trial::default()) };
            let pace = self.patience.pace(&question, turnaround);
            let exact = Job { question: exact, pace, purpose, ..job.clone() };
            if self.settle_word(&exact, &one.answer) || is_same_station(&exact.question, &job.question) {
                continue;
            }
            if settle::asked(&exact.question).is_some_and(|station| self.recent.is_worth(station)) {
                self.agenda.push_front(exact);
            }
        }
    }

    /// Judges what came after the time of the last question, before `next` is asked.
    pub(super) fn settle_between(&mut self, next: &Job) {
        let bytes = std::mem::take(&mut self.between);
        let before = self.before.take();
        if bytes.is_empty() {
            return;
        }
        let (job, tag, sent) = before.clone().unwrap_or_else(|| (next.clone(), 0, Vec::new()));
        let mut heard = Heard::read(&job.question, tag, &sent, &bytes);
        self.note_spoken(&heard);
        self.overhear(&bytes);
        for protocol in &heard.foreign {
            self.note_foreign(*protocol);
        }
        match before {
            Some((job, ..)) if heard.is_garbled() => self.settle_late_garble(&job, &heard),
            // Nobody was asked at these line settings yet.
            Some(_) | None => self.note_noise(heard.stray),
        }
        let own = heard.answers.drain(..).map(|answer| Astray { transaction: Some(tag), answer });
        let all: Vec<Astray> = own.chain(heard.astray).collect();
        self.settle_astray(next, &all, self.now);
    }

    /// Two that are slow garble each other after their time: who was asked is asked again, and the line is.
    fn settle_late_garble(&mut self, job: &Job, heard: &Heard) {
        let garble = Heard { stray: heard.stray, ..Heard::default() };
        let again = |purpose| Job { pace: Pace::Patient, purpose, ..job.clone() };
        match &job.purpose {
            Purpose::Probe if job.pace < Pace::Patient => {
                let mut trial = Trial::default();
                let _ = trial.handle(&garble, &job.question);
                self.agenda.push_front(again(Purpose::trial(trial)));
            }
            Purpose::Wildcard(_) if job.pace < Pace::Patient => {
                let mut hearing = Hearing::default();
                let _ = hearing.handle(&garble);
                self.agenda.push_front(again(Purpose::Wildcard(hearing)));
            }
            Purpose::Probe
            | Purpose::Wildcard(_)
            | Purpose::Trial { .. }
            | Purpose::Study { .. }
            | Purpose::Control(_)
            | Purpose::Sentinel => self.note_noise(heard.stray),
        }
        self.suspect(job);
    }

    /// Somebody else talks on the line.
    pub(super) fn note_foreign(&mut self, protocol: Protocol) {
        if self.foreign.push(self.now, 1, FOREIGN).is_some() {
            self.end = Some(End::ForeignMaster { protocol, characters: self.port });
        }
    }
}

/// Whether two questions are to one and the same station.
fn is_same_station(exact: &Question, other: &Question) -> bool {
    match (exact, other) {
        (Question::Modbus { unit, .. }, Question::Modbus { unit: other, .. }) => unit == other,
        (Question::Osdp { address, .. }, Question::Osdp { address: other, .. }) => address == other,
        (Question::Dlt645 { address, .. }, Question::Dlt645 { address: other, .. }) => address == other,
        (Question::Cjt188 { address, .. }, Question::Cjt188 { address: other, .. }) => address == other,
        (Question::Modbus { .. } | Question::Osdp { .. } | Question::Dlt645 { .. } | Question::Cjt188 { .. }, _) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Channel, Options, Plan};

    #[test]
    fn two_frames_of_somebody_else_are_a_master_when_they_come_within_minutes() {
        let mut scan = Scan::new(Plan::new(Channel::Serial, &Options::default()), Duration::ZERO);
        let mut after = |seconds| {
            scan.now = scan.now + Duration::from_secs(seconds);
            scan.note_foreign(Protocol::Modbus);
            scan.end
        };
        for seconds in [10, 300, 2700] {
            assert_eq!(after(seconds), None, "{seconds} s after the one before");
        }
        assert!(matches!(after(299), Some(End::ForeignMaster { protocol: Protocol::Modbus, .. })));
    }

    #[test]
    fn late_answers_of_a_bounded_number_of_stations_are_worth_another_question() {
        let mut recent = Recent::default();
        let all: Vec<Station> = (0..257).map(Station::Uhppote).collect();
        assert_eq!(all.iter().filter(|one| recent.is_worth(**one)).count(), LATE_STATIONS);
        assert!(recent.is_worth(all[0]), "one that is known");
        assert_eq!(recent.late.len(), LATE_STATIONS);
    }
}
