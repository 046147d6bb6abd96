//! Meters behind a wildcard: whether one answers or several, who is asked next, and where that ends.

use super::finding::{ClashSign, Station};
use super::heard::Heard;
use super::job::{Job, Purpose};
use super::machine::Scan;
use super::patience::Pace;
use super::plan::Round;
use super::question::{Answer, Question};
use super::quiet::Doubt;
use super::settle::asked;
use super::trial::Trial;
use crate::cjt188::MeterType;
use crate::line::settings::Characters;

/// Trouble with a wildcard after which one looks closer; once may be noise.
const TROUBLES: u8 = 2;
/// Most questions to one wildcard.
const TRIES: u8 = 4;
/// When so many narrower wildcards, from the first on, are all in trouble, it is no crowd of meters: with as many on a pair
/// as it carries, 256, one in four of the hundred is not.
const IN_ROW: u32 = 24;
/// The narrower wildcards of one.
const HUNDRED: u32 = 100;
/// Most wildcards of a scan that are looked at closer. 256 meters, whose numbers end as they like, take about 80.
const NARROWED_MOST: usize = 128;

/// What was heard of one wildcard so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hearing {
    first: Option<Answer>,
    asked: u8,
    troubles: u8,
    stray: usize,
    /// None of the narrower ones was answered.
    is_last: bool,
}

/// Who is behind a wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// Not enough is known: ask again.
    Again,
    /// Nobody.
    Nobody,
    /// Nobody, though something was heard once.
    Noise,
    /// This one.
    One(Answer),
    /// More than one.
    Several,
}

impl Hearing {
    /// Takes what came after one question.
    pub(super) fn handle(&mut self, heard: &Heard) -> Reach {
        self.asked += 1;
        self.stray = self.stray.max(heard.stray);
        match (&self.first, heard.answers.as_slice()) {
            (_, [_, _, ..]) => return Reach::Several,
            _ if heard.is_garbled() => self.troubles += 1,
            (_, []) => {}
            (None, [answer]) => self.first = Some(answer.clone()),
            (Some(first), [answer]) if first.is_like(answer) => return Reach::One(first.clone()),
            (Some(_), [_]) => return Reach::Several,
        }
        match &self.first {
            _ if self.troubles >= TROUBLES => Reach::Several,
            None if self.troubles == 0 => Reach::Nobody,
            _ if self.asked < TRIES => Reach::Again,
            Some(first) => Reach::One(first.clone()),
            None => Reach::Noise,
        }
    }
}

/// The wildcards of one hundred.
#[derive(Debug, Clone, Default)]
pub(super) struct Hundred {
    /// Whose hundred it is, and how they are asked.
    of: Option<(Question, Pace, Option<Characters>)>,
    asked: u32,
    silent: u32,
    troubled: u32,
    /// What is to be looked at closer.
    closer: Vec<(Question, Option<Characters>)>,
    /// What was looked at closer in the whole scan.
    narrowed: Vec<(Question, Option<Characters>)>,
}

impl Hundred {
    fn count(&mut self, job: &Job, reach: &Reach) {
        let of = wider(&job.question).map(|wider| (wider, job.pace, job.characters));
        if self.of != of {
            (self.of, self.asked, self.silent, self.troubled) = (of, 0, 0, 0);
        }
        self.asked += 1;
        match reach {
            Reach::Nobody | Reach::Noise => self.silent += 1,
            Reach::Several => self.troubled += 1,
            Reach::One(_) | Reach::Again => {}
        }
    }
}

impl Scan {
    pub(super) fn settle_wildcard(&mut self, job: Job, mut hearing: Hearing, heard: &Heard) {
        let reach = hearing.handle(heard);
        let counts = job.pace != Pace::Patient && reach != Reach::Again;
        if counts {
            self.hundred.count(&job, &reach);
        }
        match reach {
            Reach::Again => self.agenda.push_front(Job { purpose: Purpose::Wildcard(hearing), ..job.clone() }),
            // A quick one may also have been garbled by the late answer of the one before, who is asked again later.
            Reach::Nobody | Reach::Noise if job.pace == Pace::Fast => self.look_later(&job),
            Reach::Nobody => {}
            Reach::Noise => self.note_noise(hearing.stray),
            Reach::One(answer) => {
                if let Some(question) = job.question.exact(&answer) {
                    let (pace, purpose) = (job.pace.max(Pace::Slow), Purpose::trial(Trial::of(answer)));
                    self.agenda.push_front(Job { question, pace, purpose, ..job.clone() });
                }
            }
            Reach::Several if hearing.is_last => self.tell_crowd(&job, &job.question),
            Reach::Several => self.look_closer(&job),
        }
        if counts {
            self.judge_hundred(&job);
        }
    }

    /// Several meters answer: those are asked next that together are the same.
    fn look_closer(&mut self, job: &Job) {
        if narrower(&job.question).is_none() {
            // It is one number: several meters have it.
            let purpose = Purpose::trial(Trial::default());
            self.agenda.push_front(Job { pace: job.pace.max(Pace::Slow), purpose, ..job.clone() });
            return;
        }
        let this = (job.question.clone(), job.characters);
        if self.hundred.narrowed.contains(&this) {
            return;
        }
        if self.hundred.narrowed.len() >= NARROWED_MOST {
            self.tell_crowd(job, &widest(&job.question));
            return;
        }
        self.hundred.narrowed.push(this.clone());
        self.hundred.closer.push(this);
    }

    /// Whether a hundred wildcards tell nobody apart.
    fn judge_hundred(&mut self, job: &Job) {
        let Some((wider, ..)) = self.hundred.of.clone() else { return };
        let of_hundred = |question: &Question, characters: Option<Characters>| {
            characters == job.characters && self::wider(question).as_ref() == Some(&wider)
        };
        if self.hundred.troubled >= IN_ROW && self.hundred.troubled == self.hundred.asked {
            let is_over =
                |one: &Job| matches!(one.purpose, Purpose::Wildcard(_)) && of_hundred(&one.question, one.characters);
            self.agenda.retain(|one| !is_over(one));
            self.hundred.closer.retain(|(question, characters)| !of_hundred(question, *characters));
            self.tell_crowd(job, &wider);
        } else if self.hundred.silent == HUNDRED && job.pace != Pace::Fast {
            // Some know no wildcard but the widest; or it was noise, which is not heard again.
            let hearing = Hearing { is_last: true, ..Hearing::default() };
            let purpose = Purpose::Wildcard(hearing);
            self.agenda.push_front(Job { question: wider, pace: Pace::Patient, purpose, ..job.clone() });
        }
    }

    fn tell_crowd(&mut self, job: &Job, whom: &Question) {
        let station = match whom {
            Question::Dlt645 { edition, address, .. } => Station::Dlt645(*edition, *address),
            Question::Cjt188 { address, order } => {
                Station::Cjt188 { meter_type: MeterType::ANY, address: *address, order: *order }
            }
            Question::Modbus { .. } | Question::Osdp { .. } => match asked(whom) {
                Some(station) => station,
                None => return,
            },
        };
        self.prove(job, Doubt::new(job, station, ClashSign::Crowd));
    }

    /// Hands what is to be looked at closer to the plan.
    pub(super) fn suggest_closer(&mut self) {
        for (question, characters) in std::mem::take(&mut self.hundred.closer) {
            if let Some(round) = narrower(&question) {
                self.plan.suggest(round, characters);
            }
        }
    }

    /// Those of many who did not answer at once are waited for when all else was tried.
    fn look_later(&mut self, job: &Job) {
        let round = match &job.question {
            Question::Dlt645 { edition, address, .. } => Round::Dlt645(*edition, vec![*address]),
            Question::Cjt188 { address, order } => Round::Cjt188(*order, vec![*address]),
            Question::Modbus { .. } | Question::Osdp { .. } => return,
        };
        self.plan.defer(round, job.characters);
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

/// The same question to all meters.
fn widest(question: &Question) -> Question {
    let mut widest = question.clone();
    while let Some(wider) = wider(&widest) {
        widest = wider;
    }
    widest
}

/// The wildcard that a question narrows; `None` for the widest one.
fn wider(question: &Question) -> Option<Question> {
    match question {
        Question::Dlt645 { edition, address, di } => {
            let address = address.wider()?;
            Some(Question::Dlt645 { edition: *edition, address, di: *di })
        }
        Question::Cjt188 { address, order } => Some(Question::Cjt188 { address: address.wider()?, order: *order }),
        Question::Modbus { .. } | Question::Osdp { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dlt645::{Address, Edition};
    use crate::line::settings::Parity;
    use crate::scan::usual::characters;
    use crate::scan::{Channel, Options, Plan};

    fn heard(meters: &[u8], stray: usize) -> Heard {
        let answer = |last: &u8| Answer::Dlt645 { address: Address::from_wire([*last, 0, 0, 0, 0, 0]), data: None };
        Heard { answers: meters.iter().map(answer).collect(), stray, ..Heard::default() }
    }

    fn run(windows: &[Heard]) -> Reach {
        let mut hearing = Hearing::default();
        let mut reach = Reach::Again;
        for window in windows {
            assert_eq!(reach, Reach::Again, "it had ended");
            reach = hearing.handle(window);
        }
        reach
    }

    #[test]
    fn one_burst_of_noise_is_no_reason_to_look_closer_and_hides_no_meter() {
        let (silence, noise) = (|| heard(&[], 0), || heard(&[], 9));
        assert_eq!(run(&[silence()]), Reach::Nobody);
        assert_eq!(run(&[noise(), silence(), silence(), silence()]), Reach::Noise);
        let one = run(&[heard(&[5], 0), noise(), heard(&[5], 0)]);
        assert!(matches!(one, Reach::One(_)), "{one:?}");
        // A meter that answers now and then is asked by its own number.
        let lone = run(&[heard(&[5], 0), silence(), silence(), silence()]);
        assert!(matches!(lone, Reach::One(_)), "{lone:?}");
    }

    #[test]
    fn a_hundred_that_tells_nobody_apart_hides_no_other_hundred() {
        let plan = Plan::new(Channel::Serial, &Options::default());
        let mut scan = Scan::new(plan, Duration::ZERO);
        let (any, di) = (Address::ANY, Question::energy(Edition::V2007));
        let mut hundreds = any.narrower();
        let ask = |address: Address, baud: u32| {
            let question = Question::Dlt645 { edition: Edition::V2007, address, di };
            Job::new(question, Some(characters(baud, Parity::Even)), Pace::Slow, Purpose::Wildcard(Hearing::default()))
        };
        let several = heard(&[5, 6], 0);
        let (one, other) = (hundreds.next().unwrap(), hundreds.next().unwrap());
        let spared = [ask(one.narrower().next().unwrap(), 2400), ask(other.narrower().next().unwrap(), 9600)];
        for job in &spared {
            scan.settle_wildcard(job.clone(), Hearing::default(), &several);
        }
        for address in other.narrower().take(24) {
            scan.settle_wildcard(ask(address, 2400), Hearing::default(), &several);
        }
        let closer: Vec<_> = spared.into_iter().map(|job| (job.question, job.characters)).collect();
        assert_eq!(scan.hundred.closer, closer);
    }

    #[test]
    fn garble_twice_two_answers_and_two_numbers_are_several() {
        assert_eq!(run(&[heard(&[], 9), heard(&[], 9)]), Reach::Several);
        assert_eq!(run(&[heard(&[5, 6], 0)]), Reach::Several);
        assert_eq!(run(&[heard(&[5], 0), heard(&[6], 0)]), Reach::Several);
    }
}
