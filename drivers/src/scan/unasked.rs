//! What was not asked yet, for a scan that ends early.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::machine::{Phase, Scan};
use super::question::Question;
use crate::point::Protocol;

/// Whom a scan of a socket has not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unasked {
    /// In what.
    pub protocol: Protocol,
    /// Their units or addresses, in order; empty for meters, which are asked all at once.
    pub addresses: Vec<RangeInclusive<u8>>,
}

impl fmt::Display for Unasked {
    /// Writes it as the options of a scan have it: `modbus 11..247`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.as_str())?;
        for (at, range) in self.addresses.iter().enumerate() {
            let (first, last) = (range.start(), range.end());
            f.write_str(if at == 0 { " " } else { ", " })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first}..{last}")? }
        }
        Ok(())
    }
}

impl Scan {
    /// Whom nobody has asked, by protocol. Of a serial pair nothing is told: there all are asked at many settings.
    pub fn unasked(&self) -> Vec<Unasked> {
        let plans = std::iter::once(&self.plan).chain(&self.plan.after);
        let planned = plans.flat_map(|plan| {
            let left = plan.attempts.iter().filter(|attempt| attempt.characters.is_none());
            left.flat_map(|attempt| attempt.round.questions(plan.framing()))
        });
        let waiting = self.agenda.iter().filter(|job| job.characters.is_none()).map(|job| job.question.clone());
        let never = planned.chain(waiting).filter(|question| !self.recent.has_asked(question));
        let mut left: Vec<(Protocol, BTreeSet<u8>)> = Vec::new();
        for question in never.chain(self.unanswered()) {
            let protocol = question.protocol();
            let at = left.iter().position(|(known, _)| *known == protocol).unwrap_or_else(|| {
                left.push((protocol, BTreeSet::new()));
                left.len() - 1
            });
            if let Some((_, numbers)) = left.get_mut(at) {
                numbers.extend(question.number());
            }
        }
        left.into_iter().map(|(protocol, numbers)| Unasked { protocol, addresses: ranges(&numbers) }).collect()
    }

    /// The question whose time was cut short before anything came.
    fn unanswered(&self) -> Option<Question> {
        match &self.phase {
            Phase::Waiting(window) if window.bytes.is_empty() && window.job.characters.is_none() => {
                Some(window.job.question.clone())
            }
            Phase::Waiting(_)
            | Phase::Listening(_)
            | Phase::Idle
            | Phase::Switching(_)
            | Phase::Reopening
            | Phase::Resting(..)
            | Phase::Ended(_) => None,
        }
    }
}

/// Numbers in a row as one range.
fn ranges(numbers: &BTreeSet<u8>) -> Vec<RangeInclusive<u8>> {
    let mut ranges: Vec<RangeInclusive<u8>> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(*number) => *last = *last.start()..=*number,
            Some(_) | None => ranges.push(*number..=*number),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_told_as_one_range() {
        let numbers = BTreeSet::from([0, 3, 4, 5, 255]);
        let unasked = Unasked { protocol: Protocol::Modbus, addresses: ranges(&numbers) };
        assert_eq!(unasked.to_string(), "modbus 0, 3..5, 255");
        assert_eq!(Unasked { protocol: Protocol::Osdp, addresses: Vec::new() }.to_string(), "osdp");
    }
}
