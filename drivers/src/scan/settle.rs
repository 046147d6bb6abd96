//! What follows from what was heard: whom to ask again, whom to believe, where to look closer.

use std::time::Duration;

use super::finding::{ClashSign, Finding, Found, Model, Station};
use super::heard::Heard;
use super::job::{Job, Purpose};
use super::machine::Scan;
use super::patience::Pace;
use super::plan::{Channel, Round};
use super::question::{Answer, Question, other_parity, reader_identity, station};
use super::quiet::Doubt;
use super::study::pipe_model;
use super::trial::{Trial, Verdict};
use super::wildcard::Hearing;
use crate::cjt188::MeterType;
use crate::line::settings::Characters;
use crate::modbus::pdu::Reply;

/// Silence that says that a station has no second answer.
pub(super) const TRIAL_QUIET: Duration = Duration::from_millis(150);

impl Scan {
    /// The next question: what follows from the last ones, then the plan.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        loop {
            if let Some(job) = self.agenda.pop_front() {
                if self.is_known(&job) {
                    continue;
                }
                return Some(job);
            }
            self.suggest_closer();
            let attempt = self.plan.next(self.port, &self.patience)?;
            self.doubt_words(&attempt);
            let wildcard = matches!(attempt.round, Round::Dlt645(..) | Round::Cjt188(..));
            for question in attempt.round.questions(self.plan.framing()) {
                let purpose = if wildcard { Purpose::Wildcard(Hearing::default()) } else { Purpose::Probe };
                self.agenda.push_back(Job::new(question, attempt.characters, attempt.pace, purpose));
            }
        }
    }

    /// True for a question to somebody who was found at this speed already, or of whom a gateway said that he is not there.
    fn is_known(&self, job: &Job) -> bool {
        let asks = match &job.purpose {
            Purpose::Probe => true,
            Purpose::Trial { trial, doubt } => *trial == Trial::default() && doubt.is_none(),
            Purpose::Wildcard(_) | Purpose::Study { .. } | Purpose::Control(_) | Purpose::Sentinel => false,
        };
        let Some(station) = asked(&job.question).filter(|_| asks) else { return false };
        let is_absent = self.proxies.is_absent(job);
        let known = |finding: &Finding| {
            let (other, line) = finding.place();
            // A clash may be one device at the wrong parity.
            is_same(&other, &station)
                && speed(line) == speed(job.characters)
                && (matches!(finding, Finding::Found(_)) || line == job.characters)
        };
        is_absent || self.findings.iter().any(known)
    }

    /// Draws the conclusions of one question.
    pub(super) fn settle(&mut self, job: Job, heard: &Heard) {
        let suspect = heard.is_garbled().then(|| job.clone());
        match job.purpose.clone() {
            Purpose::Probe => self.settle_probe(job, heard),
            Purpose::Trial { trial, doubt } => self.settle_trial(job, trial, doubt, heard),
            Purpose::Wildcard(hearing) => self.settle_wildcard(job, hearing, heard),
            Purpose::Study { place, tries, troubles } => self.settle_study(&job, place, (tries, troubles), heard),
            Purpose::Control(control) => return self.settle_control(&job, control, heard),
            Purpose::Sentinel => self.settle_sentinel(&job, heard),
        }
        if let Some(job) = suspect {
            self.suspect(&job);
        }
    }

    fn settle_probe(&mut self, job: Job, heard: &Heard) {
        if let [answer] = heard.answers.as_slice()
            && self.settle_word(&job, answer)
        {
            return;
        }
        if heard.answers.is_empty() && !heard.is_garbled() {
            return;
        }
        // Garble on a line may be of another parity: what follows from it is judged where it is heard clean.
        let may_ask = self.channel() == Channel::Tcp || !heard.answers.is_empty();
        if may_ask && self.ask_sentinels(&job) {
            return;
        }
        let mut trial = Trial::default();
        // The first question counts as one of the trial's.
        let _ = trial.handle(heard, &job.question);
        self.agenda.push_front(Job { pace: job.pace.max(Pace::Slow), purpose: Purpose::trial(trial), ..job });
    }

    fn settle_trial(&mut self, job: Job, mut trial: Trial, doubt: Option<Box<Doubt>>, heard: &Heard) {
        let verdict = trial.handle(heard, &job.question);
        if verdict == Verdict::Again {
            self.agenda.push_front(Job { purpose: Purpose::Trial { trial, doubt }, ..job });
            return;
        }
        match doubt {
            None => self.settle_verdict(&job, &trial, verdict),
            Some(doubt) if doubt.is_proved => self.settle_proved(&job, &doubt, verdict),
            Some(doubt) => match verdict {
                Verdict::Believed(answer) if self.ask_sentinels(&job) || self.settle_word(&job, &answer) => {}
                Verdict::Believed(answer) => self.believe(&job, &answer),
                Verdict::Clash(_) | Verdict::Nothing | Verdict::Again => self.prove(&job, *doubt),
            },
        }
    }

    fn settle_verdict(&mut self, job: &Job, trial: &Trial, verdict: Verdict) {
        match verdict {
            Verdict::Again => {}
            Verdict::Nothing => self.note_noise(trial.stray),
            Verdict::Believed(answer) => self.believe(job, &answer),
            Verdict::Clash(sign) => {
                let first = trial.first.as_ref();
                let whom = first.map_or_else(|| asked(&job.question), |one| Some(station(&job.question, one)));
                let Some(station) = whom else { return };
                let doubt = Doubt::new(job, station, sign);
                match job.characters.filter(|_| first.is_none() && sign == ClashSign::Garbled) {
                    // One that looks at no parity answers at the wrong one too, and is garbled there.
                    Some(line) => {
                        let purpose = Purpose::Trial { trial: Trial::default(), doubt: Some(Box::new(doubt)) };
                        self.agenda.push_front(Job { characters: Some(other_parity(line)), purpose, ..job.clone() });
                    }
                    None => self.prove(job, doubt),
                }
            }
        }
    }

    /// What the second hearing says, after nobody was asked and the line was quiet.
    fn settle_proved(&mut self, job: &Job, doubt: &Doubt, verdict: Verdict) {
        match (verdict, doubt.place) {
            (Verdict::Clash(_), _) => self.tell_clash(doubt),
            (Verdict::Believed(answer), None) => self.believe(job, &answer),
            (Verdict::Believed(answer), Some(place)) => self.learn_model(&job.question, place, Some(&answer)),
            (Verdict::Nothing | Verdict::Again, Some(place)) => self.learn_model(&job.question, place, None),
            (Verdict::Nothing | Verdict::Again, None) => {}
        }
    }

    pub(super) fn believe(&mut self, job: &Job, answer: &Answer) {
        let station = station(&job.question, answer);
        let here = speed(job.characters);
        let found = Finding::Found(found(station, job.characters, answer));
        let known = |finding: &Finding| {
            let (other, line) = finding.place();
            is_same(&other, &station) && speed(line) == here
        };
        let place = match self.findings.iter().position(known) {
            None => {
                self.plan.found(station.protocol(), job.characters);
                self.findings.push(found);
                self.findings.len() - 1
            }
            // It was garbled at another parity of the same speed.
            Some(place) => match &self.findings[place] {
                Finding::Clash(clash) if clash.sign == ClashSign::Garbled && clash.characters != job.characters => {
                    self.findings[place] = found;
                    place
                }
                Finding::Clash(_) | Finding::Found(_) => return,
            },
        };
        // At once: who is there is worth more to an installer when he knows what it is, and a study takes a second.
        self.begin_study(place, job.pace);
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
        Answer::Modbus { .. } | Answer::Dlt645 { .. } => (Vec::new(), Model::NotAsked),
        Answer::Cjt188 { meter_type, payload, .. } => (Vec::new(), pipe_model(*meter_type, *payload)),
        Answer::Osdp { identity, .. } => {
            (identity.as_ref().map(reader_identity).unwrap_or_default(), Model::Known("osdp-reader"))
        }
    };
    let has_register = matches!(answer, Answer::Modbus { reply: Reply::Registers { .. }, .. });
    Found { station, characters, identity, model, has_register }
}

/// Whom a question to one station asks; `None`: many.
pub(super) fn asked(question: &Question) -> Option<Station> {
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

/// Whether two stations are one: a reader is the same with a CRC or a checksum, and a meter whichever type was asked for.
fn is_same(one: &Station, other: &Station) -> bool {
    match (one, other) {
        (Station::Osdp { address, .. }, Station::Osdp { address: other, .. }) => address == other,
        (
            Station::Cjt188 { address, order, meter_type },
            Station::Cjt188 { address: other, order: order_2, meter_type: type_2 },
        ) => {
            let any = [meter_type, type_2].contains(&&MeterType::ANY);
            (address, order) == (other, order_2) && (any || meter_type == type_2)
        }
        (one, other) => one == other,
    }
}

fn speed(line: Option<Characters>) -> Option<u32> {
    line.map(|line| line.baud)
}
