//! The tries of one station, until it is believed, found to be two, or found to be nothing.

use super::finding::ClashSign;
use super::heard::Heard;
use super::question::{Answer, Question};

/// Most questions of one trial.
const TRIES: u8 = 6;
/// Who was heard so often alike is believed.
const ALIKE: u8 = 2;
/// Who was in trouble so often is two; less is noise.
const TROUBLES: u8 = 2;

/// What was heard of one station so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) first: Option<Answer>,
    asked: u8,
    alike: u8,
    /// Bytes of the longest garble.
    pub(super) stray: usize,
    garbled: u8,
    twice: u8,
    differ: u8,
}

/// What is known of a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not enough: ask again.
    Again,
    /// It is one device.
    Believed(Answer),
    /// It is two.
    Clash(ClashSign),
    /// Nobody is there.
    Nothing,
}

impl Trial {
    /// A trial of a station that one answer is known of.
    pub(super) fn of(answer: Answer) -> Trial {
        Trial { first: Some(answer), asked: 1, alike: 1, ..Trial::default() }
    }

    /// Takes what came after one question. A gateway's word that nobody is there is no answer.
    pub(super) fn handle(&mut self, heard: &Heard, question: &Question) -> Verdict {
        self.asked += 1;
        self.stray = self.stray.max(heard.stray);
        match heard.answers.as_slice() {
            _ if heard.is_garbled() => self.garbled += 1,
            [] => {}
            [answer] if !answer.is_alive(question) => {}
            [answer] => match &self.first {
                None => (self.first, self.alike) = (Some(answer.clone()), 1),
                Some(first) if first.is_like(answer) => {
                    self.alike += 1;
                    // That it was busy says less of it than anything else.
                    if first.is_busy() {
                        self.first = Some(answer.clone());
                    }
                }
                Some(_) => self.differ += 1,
            },
            [..] => self.twice += 1,
        }
        self.verdict()
    }

    fn verdict(&self) -> Verdict {
        let troubles = self.garbled + self.twice + self.differ;
        let over = self.asked >= TRIES;
        if troubles > TROUBLES || (over && troubles == TROUBLES) {
            return Verdict::Clash(self.sign());
        }
        match &self.first {
            Some(first) if self.alike >= ALIKE && (troubles == 0 || over) => Verdict::Believed(first.clone()),
            // A lone sound answer that never came again was no device that one could work with.
            Some(_) | None if over => Verdict::Nothing,
            None if self.asked > ALIKE && troubles < TROUBLES => Verdict::Nothing,
            Some(_) | None => Verdict::Again,
        }
    }

    /// The clearest of the signs.
    fn sign(&self) -> ClashSign {
        if self.twice > 0 {
            ClashSign::Twice
        } else if self.differ > 0 {
            ClashSign::Differ
        } else {
            ClashSign::Garbled
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::Framing;
    use crate::modbus::pdu::Reply;

    fn answer(code: u8) -> Answer {
        Answer::Modbus { unit: 1, reply: Reply::Exception { function: 3, code } }
    }

    fn heard(answers: &[u8], stray: usize) -> Heard {
        Heard { answers: answers.iter().map(|code| answer(*code)).collect(), stray, ..Heard::default() }
    }

    fn run(windows: &[Heard]) -> Verdict {
        let mut trial = Trial::default();
        let mut verdict = Verdict::Again;
        let question = Question::alive(Framing::Tcp, 1);
        for window in windows {
            assert_eq!(verdict, Verdict::Again, "it had ended");
            verdict = trial.handle(window, &question);
        }
        verdict
    }

    #[test]
    fn a_device_is_believed_when_it_was_heard_twice_alike() {
        assert_eq!(run(&[heard(&[2], 0)]), Verdict::Again);
        assert_eq!(run(&[heard(&[2], 0), heard(&[2], 1)]), Verdict::Believed(answer(2)));
    }

    #[test]
    fn garble_again_and_again_two_answers_or_two_kinds_are_two_devices() {
        let garble = || heard(&[], 9);
        assert_eq!(run(&[garble(), garble(), garble()]), Verdict::Clash(ClashSign::Garbled));
        let twice = || heard(&[2, 2], 0);
        assert_eq!(run(&[heard(&[2], 0), twice(), garble(), twice()]), Verdict::Clash(ClashSign::Twice));
        let differ = [heard(&[2], 0), heard(&[1], 0), heard(&[1], 0), heard(&[1], 0)];
        assert_eq!(run(&differ), Verdict::Clash(ClashSign::Differ));
    }

    #[test]
    fn a_gateways_word_that_nobody_is_there_is_no_answer() {
        for code in [0x04, 0x0A, 0x0B] {
            assert_eq!(run(&[heard(&[2], 0), heard(&[code], 0), heard(&[2], 0)]), Verdict::Believed(answer(2)));
            let gone = || heard(&[code], 0);
            assert_eq!(run(&[heard(&[], 9), gone(), gone()]), Verdict::Nothing, "{code}");
        }
    }

    #[test]
    fn what_a_busy_device_answers_later_is_what_is_kept() {
        assert_eq!(run(&[heard(&[6], 0), heard(&[2], 0)]), Verdict::Believed(answer(2)));
    }

    #[test]
    fn one_burst_of_noise_hides_no_device_and_makes_none() {
        let good = || heard(&[2], 0);
        assert_eq!(run(&[good(), heard(&[], 9), good(), good(), good(), good()]), Verdict::Believed(answer(2)));
        assert_eq!(run(&[heard(&[], 9), heard(&[], 0), heard(&[], 0)]), Verdict::Nothing);
    }
}
