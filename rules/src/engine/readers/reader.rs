//! One reader: from the polls of its device to what is presented there.

use gatehouse_core::{Mono, PointReading, Value};

use super::card::{CardPoint, Shown, counted_bits, whole};
use super::{Presentation, READER_GAP, ReaderSpec, Refusal};
use crate::access::Proof;
use crate::catalog::PointRef;
use crate::engine::keypad::{KeySource, Keypad};

/// What came at a reader.
enum Showing {
    Card(Proof),
    /// A key that came as a card of a few bits.
    Key(char),
}

impl Showing {
    fn card(self) -> Option<Proof> {
        match self {
            Showing::Card(card) => Some(card),
            Showing::Key(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) spec: ReaderSpec,
    /// What its device showed last, and when; `None` after a start and after a gap.
    pub(super) shown: Option<(Mono, Shown)>,
    pub(super) keypad: Option<Keypad>,
}

impl Reader {
    pub(super) fn new(spec: &ReaderSpec) -> Self {
        Reader { spec: spec.clone(), shown: None, keypad: spec.keypad.clone().map(Keypad::new) }
    }

    pub(super) fn presentation(&self, proof: Proof) -> Presentation {
        let ReaderSpec { name, gate, direction, .. } = &self.spec;
        Presentation { reader: name.clone(), gate: gate.clone(), direction: *direction, proof }
    }

    /// Takes what was typed here and thrown away; nothing is said of it where it opens no gate.
    pub(super) fn thrown(&mut self) -> Vec<Refusal> {
        let thrown = self.keypad.as_mut().map(Keypad::take_thrown).unwrap_or_default();
        let ReaderSpec { name, gate, direction, .. } = &self.spec;
        let Some(gate) = gate else { return Vec::new() };
        let refusal = |thrown| Refusal { reader: name.clone(), gate: gate.clone(), direction: *direction, thrown };
        thrown.into_iter().map(refusal).collect()
    }

    /// What is presented now: a card, or what was typed. And how many cards and keys came that nobody has read.
    pub(super) fn handle_readings(&mut self, at: Mono, readings: &[PointReading]) -> (Vec<Proof>, u64) {
        let (shown, missed) = self.look(at, readings);
        let Some(keypad) = &mut self.keypad else {
            return (shown.and_then(Showing::card).into_iter().collect(), missed);
        };
        let (mut proofs, lost) = keypad.handle_readings(at, readings);
        match shown {
            Some(Showing::Card(card)) => {
                keypad.handle_card(at, &card);
                proofs.insert(0, card);
            }
            Some(Showing::Key(key)) => {
                if missed > 0 {
                    keypad.lose(at);
                }
                proofs.extend(keypad.press(at, key));
            }
            None if missed > 0 => keypad.handle_missed(at),
            None => {}
        }
        (proofs, missed.saturating_add(lost))
    }

    /// A card or a key that was not there before, and how many were there in between.
    fn look(&mut self, at: Mono, readings: &[PointReading]) -> (Option<Showing>, u64) {
        let Some(source) = &self.spec.card else { return (None, 0) };
        let find = |at: PointRef| readings.iter().find(|reading| reading.point == at.point);
        // A sample of the device's other points says nothing of cards.
        if find(source.card.at()).is_none() {
            return (None, 0);
        }
        let number = |at: PointRef| find(at).and_then(|reading| whole(reading.value.as_ref().ok()?));
        let all = |at: Option<PointRef>| at.map_or(Some(None), |at| number(at).map(Some));
        let card = find(source.card.at()).and_then(|reading| match (&source.card, reading.value.as_ref().ok()?) {
            (CardPoint::Text { .. }, Value::Text(text)) => Some(counted_bits(text)),
            (CardPoint::Frame { .. } | CardPoint::Number { .. }, value) => whole(value).map(|card| (card, None)),
            (CardPoint::Text { .. }, _) => None,
        });
        let shown = card
            .zip(all(source.card.facility()))
            .zip(all(source.count))
            .map(|(((card, bits), facility), count)| Shown { card, bits, facility, count });
        let before = std::mem::replace(&mut self.shown, shown.map(|shown| (at, shown)));
        let recent = before.filter(|(seen, _)| at.since(*seen) <= READER_GAP);
        let is_behind = |(_, last): (Mono, Shown)| shown.is_some_and(|now| now.count < last.count);
        // Keys that come as cards may be lost where nobody looked, and where a device counts from the beginning again.
        if recent.is_none_or(is_behind) || shown.is_none() {
            let of_cards = self.keypad.as_mut().filter(|keypad| match keypad.source() {
                KeySource::FourBits | KeySource::EightBits => true,
                KeySource::Points { .. } => false,
            });
            of_cards.into_iter().for_each(|keypad| keypad.handle_gap(at));
        }
        let (Some((_, before)), Some(shown)) = (recent, shown) else { return (None, 0) };
        let more = match (before.count, shown.count) {
            // A device that counts from the beginning again was restarted.
            (Some(before), Some(now)) => now.saturating_sub(before),
            (None, None) => u128::from(shown.card != 0 && before != shown),
            (Some(_), None) | (None, Some(_)) => 0,
        };
        // A point of bits without their number has keys only where each is counted.
        let tells_keys =
            shown.bits.is_some() || matches!(source.card, CardPoint::Frame { .. }) && shown.count.is_some();
        let key = self.keypad.as_ref().filter(|_| more > 0 && tells_keys);
        if let Some(key) = key.and_then(|keypad| keypad.source().key(shown.card, shown.bits)) {
            return (Some(Showing::Key(key)), u64::try_from(more - 1).unwrap_or(u64::MAX));
        }
        if more == 0 || (shown.card == 0 && shown.bits.is_none()) {
            // What is no card of bits was there all the same, where it was counted.
            let unread = if before.count.is_some() && shown.card == 0 { more } else { 0 };
            return (None, u64::try_from(unread).unwrap_or(u64::MAX));
        }
        (source.card.proof(&shown).map(Showing::Card), u64::try_from(more - 1).unwrap_or(u64::MAX))
    }
}
