//! What follows from what was heard: whom to ask again, whom to believe, where to look closer.

use std::time::Duration;

use super::finding::{Clash, ClashSign, Finding, Found, Model, Station};

use super::heard::Heard;
use super::machine::{Job, Purpose, Scan};
use super::patience::Pace;
use super::plan::{Channel, Round, SOCKET_UNITS};
use super::question::{Answer, Question, other_parity, reader_identity, station};
use super::study::pipe_model;
use super::trial::{Trial, Verdict};
use crate::cjt188::MeterType;

use crate::line::settings::Characters;
use crate::modbus::pdu::Reply;

/// Silence that says that a station has no second answer.
pub(super) const TRIAL_QUIET: Duration = Duration::from_millis(150);
/// Trouble with a wildcard after which one looks closer; once may be noise.
const TROUBLES: u8 = 2;
impl Scan {
    /// The next question: what follows from the last ones, then the models of who was found, then the plan.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        loop {
            if let Some(job) = self.agenda.pop_front() {
                if self.is_known(&job) {
                    continue;
                }
                return Some(job);
            }
            self.settle_socket();
            if let Some(place) = self.studies.pop_front() {
                if let Some(job) = self.study(place, 1) {
                    return Some(job);
                }
                continue;
            }
            let attempt = self.plan.next(self.port, &self.patience)?;
            let wildcard = matches!(attempt.round, Round::Dlt645(..) | Round::Cjt188(..));
            for question in attempt.round.questions(self.plan.framing()) {
                let purpose = if wildcard { Purpose::Wildcard { first: None, troubles: 0 } } else { Purpose::Probe };
                let (characters, pace) = (attempt.characters, attempt.pace);
                self.agenda.push_back(Job { question, characters, pace, purpose });
            }
        }
    }

    /// True for a question to somebody who was found at this speed already.
    fn is_known(&self, job: &Job) -> bool {
        let number = match job.purpose {
            Purpose::Probe => job.question.number(),
            Purpose::Trial(_) | Purpose::Wildcard { .. } | Purpose::Study(..) => None,
        };
        let speed = |line: Option<Characters>| line.map(|line| line.baud);
        number.is_some_and(|number| {
            self.findings.iter().any(|finding| {
                let (station, line) = finding.place();
                let same = match (station, &job.question) {
                    (Station::Modbus(unit), Question::Modbus { .. }) => unit == number,
                    (Station::Osdp { address, .. }, Question::Osdp { .. }) => address == number,
                    (
                        Station::Modbus(_)
                        | Station::Osdp { .. }
                        | Station::Dlt645(..)
                        | Station::Cjt188 { .. }
                        | Station::Uhppote(_),
                        _,
                    ) => false,
                };
                // A clash may be one device at the wrong parity.
                same && speed(line) == speed(job.characters)
                    && (matches!(finding, Finding::Found(_)) || line == job.characters)
            })
        })
    }

    /// Draws the conclusions of one question.
    pub(super) fn settle(&mut self, job: Job, heard: &Heard) {
        match job.purpose.clone() {
            Purpose::Probe => self.settle_probe(job, heard),
            Purpose::Trial(trial) => self.settle_trial(job, trial, heard),
            Purpose::Wildcard { first, troubles } => self.settle_wildcard(job, (first, troubles), heard),
            Purpose::Study(place, tries) => self.settle_study(&job, (place, tries), heard),
        }
    }

    /// Asks those again who answered late, and gives all more time from then on.
    pub(super) fn settle_late(&mut self, job: &Job, numbers: &[u8]) {
        for number in numbers {
            let Some((_, asked)) = self.recent.iter().find(|(one, _)| one == number) else { continue };
            let question = match &job.question {
                Question::Modbus { framing, .. } => Question::alive(*framing, *number),
                Question::Osdp { crc, .. } => Question::Osdp { address: *number, crc: *crc },
                Question::Dlt645 { .. } | Question::Cjt188 { .. } => continue,
            };
            self.patience.learn(&question, self.now.since(*asked));
            self.agenda.push_front(Job { question, pace: Pace::Slow, purpose: Purpose::Probe, ..job.clone() });
        }
    }

    /// An answer to the last question that came after its time.
    pub(super) fn settle_own_late(&mut self, job: &Job) {
        match (&job.purpose, job.question.number()) {
            (Purpose::Probe, Some(number)) => self.settle_late(job, &[number]),
            (Purpose::Wildcard { .. }, _) => self.agenda.push_front(Job { pace: Pace::Slow, ..job.clone() }),
            (Purpose::Probe, None) | (Purpose::Trial(_) | Purpose::Study(..), _) => {}
        }
    }

    fn settle_probe(&mut self, job: Job, heard: &Heard) {
        let nobody = heard.answers.is_empty() && !heard.is_garbled();
        if nobody || heard.answers.iter().any(|answer| !answer.is_alive(&job.question)) {
            return;
        }
        let mut trial = Trial::default();
        // The first question counts as one of the trial's.
        let _ = trial.handle(heard);
        self.agenda.push_front(Job { pace: Pace::Slow, purpose: Purpose::Trial(trial), ..job });
    }

    fn settle_trial(&mut self, job: Job, mut trial: Trial, heard: &Heard) {
        match trial.handle(heard) {
            Verdict::Again => self.agenda.push_front(Job { purpose: Purpose::Trial(trial), ..job }),
            Verdict::Nothing => {}
            Verdict::Believed(answer) => self.believe(&job, &answer),
            Verdict::Clash(sign) => {
                let never = trial.first.is_none();
                let whom =
                    trial.first.as_ref().map_or_else(|| asked(&job.question), |one| Some(station(&job.question, one)));
                let Some(station) = whom else { return };
                // One that looks at no parity answers at the wrong one too, and is garbled there.
                if let (true, Some(line)) = (never && sign == ClashSign::Garbled, job.characters) {
                    let other = Some(other_parity(line));
                    let known = self.findings.iter().any(|finding| finding.place() == (station, other));
                    if !known {
                        let purpose = Purpose::Trial(Trial::default());
                        self.agenda.push_front(Job { characters: other, purpose, ..job.clone() });
                    }
                }
                self.clash(Clash { station, characters: job.characters, sign });
            }
        }
    }

    fn clash(&mut self, clash: Clash) {
        let speed = |line: Option<Characters>| line.map(|line| line.baud);
        let known = |finding: &Finding| {
            let (station, line) = finding.place();
            station == clash.station && speed(line) == speed(clash.characters)
        };
        if !self.findings.iter().any(known) {
            self.findings.push(Finding::Clash(clash));
        }
    }

    fn believe(&mut self, job: &Job, answer: &Answer) {
        let station = station(&job.question, answer);
        let speed = |line: Option<Characters>| line.map(|line| line.baud);
        let here = speed(job.characters);
        // It was garbled at another parity of the same speed.
        let was_garbled = |finding: &Finding| {
            let (other, line) = finding.place();
            let Finding::Clash(clash) = finding else { return false };
            other == station && speed(line) == here && line != job.characters && clash.sign == ClashSign::Garbled
        };
        if let Some(place) = self.findings.iter().position(was_garbled) {
            self.findings[place] = Finding::Found(found(station, job.characters, answer));
            self.studies.push_back(place);
            return;
        }
        let known = |finding: &Finding| {
            let (other, line) = finding.place();
            other == station && speed(line) == here
        };
        if self.findings.iter().any(known) {
            return;
        }
        self.plan.found(station.protocol(), job.characters);
        self.studies.push_back(self.findings.len());
        self.findings.push(Finding::Found(found(station, job.characters, answer)));
    }

    fn settle_wildcard(&mut self, job: Job, (first, troubles): (Option<Answer>, u8), heard: &Heard) {
        let again = |first, troubles| Job { purpose: Purpose::Wildcard { first, troubles }, ..job.clone() };
        let trouble = match (&first, heard.answers.as_slice()) {
            (_, [_, _, ..]) => true,
            _ if heard.is_garbled() => true,
            (None, []) if troubles == 0 => {
                self.look_later(&job);
                return;
            }
            (Some(_), []) | (None, []) => true,
            (None, [answer]) => {
                self.agenda.push_front(again(Some(answer.clone()), troubles));
                return;
            }
            (Some(first), [answer]) if first.is_like(answer) => {
                if let Some(question) = exact(&job.question, answer) {
                    let purpose = Purpose::Trial(Trial::of(answer.clone()));
                    self.agenda.push_front(Job { question, pace: Pace::Slow, purpose, ..job });
                }
                return;
            }
            (Some(_), [_]) => true,
        };
        let troubles = troubles + u8::from(trouble);
        if troubles < TROUBLES && heard.answers.len() < 2 {
            self.agenda.push_front(again(first, troubles));
            return;
        }
        match narrower(&job.question) {
            Some(round) => self.plan.suggest(round, job.characters),
            // It is one number: several meters have it.
            None => {
                let purpose = Purpose::Trial(Trial::default());
                self.agenda.push_front(Job { pace: Pace::Slow, purpose, ..job });
            }
        }
    }

    /// Those of many who did not answer at once are waited for when all else was tried.
    fn look_later(&mut self, job: &Job) {
        if job.pace == Pace::Slow {
            return;
        }
        let round = match &job.question {
            Question::Dlt645 { edition, address, .. } => Round::Dlt645(*edition, vec![*address]),
            Question::Cjt188 { address, order } => Round::Cjt188(*order, vec![*address]),
            Question::Modbus { .. } | Question::Osdp { .. } => return,
        };
        self.plan.defer(round, job.characters);
    }

    /// One device that looks at no unit was found at each: on a socket, where nobody else can be at all of them.
    fn settle_socket(&mut self) {
        let is_unit = |unit: &u8| {
            let at = |finding: &Finding| finding.place().0 == Station::Modbus(*unit);
            self.findings.iter().any(at)
        };
        if self.channel != Channel::Tcp
            || self.findings.len() != SOCKET_UNITS.len()
            || !SOCKET_UNITS.iter().all(is_unit)
        {
            return;
        }
        self.findings.retain(|finding| finding.place().0 == Station::Modbus(1));
        if let Some(Finding::Found(found)) = self.findings.first_mut() {
            found.identity.push(("unit".to_owned(), "any: it answers whatever unit is asked".to_owned()));
        }
        self.plan.forget(crate::point::Protocol::Modbus);
        self.studies.clear();
        self.studies.push_back(0);
    }
}

impl Finding {
    /// Where it is.
    pub(super) fn place(&self) -> (Station, Option<Characters>) {
        match self {
            Finding::Found(found) => (found.station, found.characters),
            Finding::Clash(clash) => (clash.station, clash.characters),
        }
    }
}

fn found(station: Station, characters: Option<Characters>, answer: &Answer) -> Found {
    let (identity, model) = match answer {
        Answer::Modbus { .. } | Answer::Dlt645 { .. } => (Vec::new(), Model::Unknown),
        Answer::Cjt188 { meter_type, payload, .. } => (Vec::new(), pipe_model(*meter_type, *payload)),
        Answer::Osdp { identity, .. } => {
            (identity.as_ref().map(reader_identity).unwrap_or_default(), Model::Known("osdp-reader"))
        }
    };
    let has_register = matches!(answer, Answer::Modbus { reply: Reply::Registers { .. }, .. });
    Found { station, characters, identity, model, has_register }
}

/// Whom a question to one station asks; `None`: many.
fn asked(question: &Question) -> Option<Station> {
    match question {
        Question::Modbus { unit, .. } => Some(Station::Modbus(*unit)),
        Question::Osdp { address, crc } => Some(Station::Osdp { address: *address, crc: *crc }),
        Question::Dlt645 { edition, address, .. } => {
            (!address.is_wildcard()).then_some(Station::Dlt645(*edition, *address))
        }
        Question::Cjt188 { address, order } => {
            let station = Station::Cjt188 { meter_type: MeterType::ANY, address: *address, order: *order };
            (!address.is_wildcard()).then_some(station)
        }
    }
}

/// The same question to the one that answered.
fn exact(question: &Question, answer: &Answer) -> Option<Question> {
    match (question, answer) {
        (Question::Dlt645 { edition, di, .. }, Answer::Dlt645 { address, .. }) => {
            Some(Question::Dlt645 { edition: *edition, address: *address, di: *di })
        }
        (Question::Cjt188 { order, .. }, Answer::Cjt188 { address, .. }) => {
            Some(Question::Cjt188 { address: *address, order: *order })
        }
        (Question::Modbus { .. } | Question::Dlt645 { .. } | Question::Cjt188 { .. } | Question::Osdp { .. }, _) => {
            None
        }
    }
}

/// A hundred wildcards that together cover the same meters; `None` for a question to one meter.
fn narrower(question: &Question) -> Option<Round> {
    match question {
        Question::Dlt645 { edition, address, .. } => {
            address.is_wildcard().then(|| Round::Dlt645(*edition, address.narrower().collect()))
        }
        Question::Cjt188 { address, order } => {
            address.is_wildcard().then(|| Round::Cjt188(*order, address.narrower().collect()))
        }
        Question::Modbus { .. } | Question::Osdp { .. } => None,
    }
}
