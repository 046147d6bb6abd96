//! Lists put right on a controller that loses, repeats, fills up and is written by others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gatehouse_core::{
    BootId, CardNumber, ControllerAnswer, ControllerAsk, Decimal, DeviceIx, ListedCard, LocalTime, Mono, Name, NoData,
    PointIx, PointReading, Stamp, Trust, Value, Wall,
};
use jiff::tz::TimeZone;

use super::*;
use crate::access::{Listing, Unsaid};
use crate::catalog::PointRef;
use crate::effect::Effect;

const DEVICE: DeviceIx = DeviceIx(3);
const INDEX: PointIx = PointIx(0);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn number(card: u32) -> CardNumber {
    CardNumber::new(6_100_000 + card).unwrap()
}

/// A card with rights of its own for each `rights`.
fn card(of: u32, rights: u8) -> ListedCard {
    let until = LocalTime::new(2027, 1, 1 + rights, 0, 0, 0);
    let from = LocalTime::new(2026, 1, 1, 0, 0, 0);
    ListedCard { number: number(of), from, until, doors: [1, rights % 2, 0, 0], pin: 0, first_card: 0 }
}

fn listing(version: u64, cards: Vec<ListedCard>) -> Listing {
    listing_after(version, cards, Vec::new())
}

/// A listing that tells of cards that ended.
fn listing_after(version: u64, mut cards: Vec<ListedCard>, ended: Vec<CardNumber>) -> Listing {
    cards.sort_by_key(|card| card.number);
    Listing { version, cards, ended, not_expressible: BTreeMap::new(), until: Wall(i64::MAX) }
}

/// What is at a place of the list: nothing any more, or a card.
type Place = Option<ListedCard>;

/// A controller's list. A place whose card was deleted stays.
#[derive(Default)]
struct Board {
    places: Vec<Place>,
    capacity: Option<usize>,
    /// Deleted places show as such, or as if nothing had ever been there.
    blank: bool,
    /// Cards that were taken off by the box, in order.
    dropped: Vec<CardNumber>,
}

impl Board {
    fn live(&self) -> BTreeMap<CardNumber, ListedCard> {
        self.places.iter().flatten().map(|card| (card.number, card.clone())).collect()
    }

    fn put(&mut self, card: &ListedCard) -> bool {
        if let Some(place) = self.places.iter_mut().flatten().find(|listed| listed.number == card.number) {
            *place = card.clone();
            return true;
        }
        if self.capacity.is_some_and(|capacity| self.live().len() >= capacity) {
            return false;
        }
        match self.places.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(card.clone()),
            None => self.places.push(Some(card.clone())),
        }
        true
    }

    fn drop(&mut self, number: CardNumber) -> bool {
        let place = self.places.iter_mut().find(|place| place.as_ref().is_some_and(|card| card.number == number));
        self.dropped.extend(place.is_some().then_some(number));
        place.map(|place| *place = None).is_some()
    }

    fn answer(&mut self, ask: &ControllerAsk) -> Result<ControllerAnswer, NoData> {
        use ControllerAnswer as Answer;
        let done = |done: bool| if done { Ok(Answer::Done) } else { Err(NoData::Exception(0)) };
        match ask {
            ControllerAsk::CardCount => Ok(Answer::Count(u32::try_from(self.live().len()).unwrap())),
            ControllerAsk::CardAt(at) => Ok(match self.places.get(usize::try_from(*at).unwrap() - 1) {
                Some(Some(card)) => Answer::Card(card.clone()),
                Some(None) if !self.blank => Answer::Deleted,
                Some(None) | None => Answer::NoCard,
            }),
            ControllerAsk::Card(number) => {
                Ok(self.live().get(number).map_or(Answer::NoCard, |card| Answer::Card(card.clone())))
            }
            ControllerAsk::PutCard(card) => done(self.put(card)),
            ControllerAsk::DropCard(number) => done(self.drop(*number)),
            ControllerAsk::Event(_) => Ok(Answer::NoEvent),
            ControllerAsk::Listen => Ok(Answer::Done),
        }
    }
}

struct Stage {
    board: Board,
    machine: Controllers,
    now: Mono,
    told: Vec<(&'static str, serde_json::Value)>,
    changes: Vec<(CardNumber, Change)>,
    alarm: Option<bool>,
    /// The last answer of each kind, which may come again for another question.
    before: BTreeMap<u8, ControllerAnswer>,
}

fn machine(cards: ListOwner) -> Controllers {
    let spec = ControllerSpec {
        id: Name::new("doors").unwrap(),
        device: DEVICE,
        index_at: PointRef { device: DEVICE, point: INDEX },
        clock_at: None,
        doors: Default::default(),
        listens: false,
        cards,
    };
    Controllers::new(&[spec], TimeZone::UTC, EnquiryId(1))
}

/// The kind of an answer that does not name what it answers.
fn unnamed(ask: &ControllerAsk) -> Option<u8> {
    match ask {
        ControllerAsk::CardCount => Some(1),
        ControllerAsk::CardAt(_) => Some(2),
        ControllerAsk::PutCard(_) => Some(3),
        ControllerAsk::DropCard(_) => Some(4),
        ControllerAsk::Card(_) | ControllerAsk::Event(_) | ControllerAsk::Listen => None,
    }
}

impl Stage {
    fn new(board: Board) -> Stage {
        let (told, changes, before) = Default::default();
        let now = Mono::from_millis(1);
        Stage { board, machine: machine(ListOwner::Box), now, told, changes, alarm: None, before }
    }

    fn stamp(&self) -> Stamp {
        let wall = Wall(1_795_683_600_000_000 + i64::try_from(self.now.since(Mono(0)).as_micros()).unwrap());
        Stamp { boot: BootId(7), mono: self.now, wall, trust: Trust::Synchronised }
    }

    fn status(&mut self) {
        self.status_with(0);
    }

    /// A status with this number of the last event.
    fn status_with(&mut self, last: i128) {
        let value = Ok(Value::Decimal(Decimal::whole(last)));
        self.machine.handle_readings(self.stamp(), DEVICE, &[PointReading::new(INDEX, value)]);
        self.drain();
    }

    fn list(&mut self, listing: Result<Listing, Unsaid>) {
        let edition = listing.as_ref().ok().map(|listing| listing.version);
        self.machine.handle_listing(self.stamp(), DEVICE, edition, listing);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(listed) = self.machine.poll_listed() {
            self.changes.extend(listed.changes);
        }
        while let Some(condition) = self.machine.poll_condition() {
            assert_eq!(condition.id.to_string(), "controller_list/doors");
            self.alarm = condition.active;
        }
        while let Some(effect) = self.machine.poll_effect() {
            if let Effect::Event { event, .. } = effect {
                self.told.push((event.kind, serde_json::from_str(&event.json).unwrap()));
            }
        }
    }

    fn tell(&mut self, enquiry: &Enquiry, answer: Result<ControllerAnswer, NoData>) {
        self.machine.handle_answer(self.stamp(), enquiry.id, answer);
        self.drain();
    }

    /// Answers one question; gives what it was.
    fn step(&mut self) -> Option<ControllerAsk> {
        let enquiry = self.machine.poll_enquiry()?;
        let answer = self.board.answer(&enquiry.ask);
        self.tell(&enquiry, answer);
        Some(enquiry.ask)
    }

    /// Answers one question over a network that loses it, loses its answer, or brings an old answer in its place.
    fn stormy_step(&mut self, rng: &mut fastrand::Rng) -> bool {
        let Some(enquiry) = self.machine.poll_enquiry() else { return false };
        let weather = rng.u8(..10);
        let answer = if weather == 0 { Err(NoData::Timeout) } else { self.board.answer(&enquiry.ask) };
        let kind = unnamed(&enquiry.ask);
        let old = kind.filter(|_| weather == 2).and_then(|kind| self.before.get(&kind)).cloned();
        if let (Some(kind), Ok(answer)) = (kind, &answer) {
            self.before.insert(kind, answer.clone());
        }
        self.tell(&enquiry, if weather == 1 { Err(NoData::Timeout) } else { old.map_or(answer, Ok) });
        true
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.machine.handle_timeout(self.stamp());
        self.drain();
    }

    /// Answers all questions; gives how many there were.
    fn settle(&mut self) -> usize {
        (0..50_000).find(|_| self.step().is_none()).expect("it asks without end")
    }

    fn view(&self) -> ListView {
        self.machine.view()[0].cards.clone().unwrap()
    }
}

fn wanted(cards: &[ListedCard]) -> BTreeMap<CardNumber, ListedCard> {
    cards.iter().map(|card| (card.number, card.clone())).collect()
}

#[test]
fn a_list_is_made_what_it_is_to_be_and_what_is_foreign_goes() {
    for blank in [false, true] {
        let places = vec![None, Some(card(1, 0)), None, Some(card(2, 3)), Some(card(90, 0)), None, Some(card(91, 0))];
        let mut stage = Stage::new(Board { places, blank, ..Board::default() });
        let cards = vec![card(1, 0), card(2, 0), card(3, 0)];
        stage.list(Ok(listing(7, cards.clone())));
        assert_eq!(stage.settle(), 0, "it has not been heard of yet");
        stage.status();
        stage.settle();
        assert_eq!(stage.board.live(), wanted(&cards));
        assert_eq!((stage.view().state, stage.view().listed, stage.alarm), (ListState::Equal, 3, Some(false)));
        let changes: BTreeSet<String> = stage.changes.iter().map(|(n, c)| format!("{} {c:?}", n.reveal())).collect();
        let expected = ["6100002 Changed", "6100003 Listed", "6100090 Dropped", "6100091 Dropped"];
        assert_eq!(changes, expected.map(str::to_owned).into());
        assert_eq!(stage.told.last().unwrap().0, "controller_list");
        assert_eq!(stage.told.last().unwrap().1["state"], "equal");
        assert!(!format!("{:?} {:?}", stage.machine, stage.view()).contains("61000"), "no number prints");
        stage.status();
        assert_eq!(stage.settle(), 0, "it is left alone");
        // The next day it is looked at again, and what others have done is undone.
        stage.board.put(&card(92, 0));
        stage.board.put(&card(1, 5));
        stage.wait(DAY);
        stage.settle();
        assert_eq!(stage.board.live(), wanted(&cards));
    }
}

#[test]
fn a_list_of_which_nothing_can_be_said_is_left_as_it_is() {
    for why in [Unsaid::NoCredentials, Unsaid::TooOld, Unsaid::ClockUnset] {
        let mut stage = Stage::new(Board { places: vec![Some(card(1, 0)), Some(card(90, 0))], ..Board::default() });
        stage.list(Err(why));
        stage.status();
        assert_eq!((stage.settle(), stage.view().state), (0, ListState::Unsaid));
        // And in the middle of putting it right.
        stage.list(Ok(listing(7, vec![])));
        while !matches!(stage.step(), Some(ControllerAsk::CardAt(1))) {}
        let under_way = stage.machine.poll_enquiry();
        stage.list(Err(why));
        if let Some(enquiry) = under_way {
            let answer = stage.board.answer(&enquiry.ask);
            stage.tell(&enquiry, answer);
        }
        let left = stage.board.live();
        stage.wait(DAY);
        stage.status();
        assert_eq!((stage.settle(), stage.board.live()), (0, left));
    }
}

#[test]
fn a_list_that_somebody_else_keeps_is_never_asked_for() {
    let mut stage = Stage::new(Board { places: vec![Some(card(90, 0))], ..Board::default() });
    stage.machine = machine(ListOwner::Own);
    stage.list(Ok(listing(7, vec![card(1, 0)])));
    stage.status();
    assert_eq!(stage.settle(), 0);
    assert_eq!(stage.machine.view()[0].cards, None);
    assert!(stage.machine.outdated(&stage.stamp(), Some(8)).is_empty());
}

#[test]
fn a_revoked_card_goes_before_anything_else_is_asked() {
    let all: Vec<ListedCard> = (1..200).map(|of| card(of, 0)).collect();
    let mut stage = Stage::new(Board { places: all.iter().cloned().map(Some).collect(), ..Board::default() });
    stage.list(Ok(listing(7, all.clone())));
    stage.status();
    for _ in 0..50 {
        stage.step();
    }
    assert_eq!(stage.view().state, ListState::Walking);
    stage.list(Ok(listing(8, all[..198].to_vec())));
    // One was asked already.
    stage.step();
    assert_eq!(stage.step(), Some(ControllerAsk::DropCard(number(199))));
    assert_eq!(stage.step(), Some(ControllerAsk::Card(number(199))), "and that is proved");
    stage.settle();
    assert_eq!(
        (stage.board.live(), stage.changes.clone()),
        (wanted(&all[..198]), vec![(number(199), Change::Dropped)])
    );
}

#[test]
fn a_card_that_ended_before_the_box_began_goes_before_events_and_one_that_is_gone_is_only_looked_for() {
    let places = [1, 2, 90, 199].map(|of| Some(card(of, 0))).to_vec();
    let mut stage = Stage::new(Board { places, ..Board::default() });
    let cards = vec![card(1, 0), card(2, 0)];
    stage.list(Ok(listing_after(8, cards.clone(), vec![number(199), number(77)])));
    stage.status_with(5);
    stage.status_with(8);
    let asked: Vec<ControllerAsk> = (0..5).map(|_| stage.step().unwrap()).collect();
    let of_199 = [ControllerAsk::Card(number(199)), ControllerAsk::DropCard(number(199))];
    assert_eq!(asked[..2], of_199);
    assert_eq!(
        asked[2..],
        [ControllerAsk::Card(number(199)), ControllerAsk::Card(number(77)), ControllerAsk::Event(5)]
    );
    stage.settle();
    assert_eq!((stage.board.live(), stage.board.dropped.clone()), (wanted(&cards), vec![number(199), number(90)]));
    assert_eq!(stage.changes, [(number(199), Change::Dropped), (number(90), Change::Dropped)]);
    // From now on the box knows itself what it has to take off.
    stage.list(Ok(listing_after(9, cards, vec![number(199)])));
    assert_eq!((stage.step(), stage.step()), (Some(ControllerAsk::CardCount), None));
}

#[test]
fn a_new_version_costs_its_changes_and_one_count() {
    let all: Vec<ListedCard> = (1..200).map(|of| card(of, 0)).collect();
    let mut stage = Stage::new(Board { places: all.iter().cloned().map(Some).collect(), ..Board::default() });
    stage.list(Ok(listing(7, all.clone())));
    stage.status();
    stage.settle();
    let changed = [card(1, 1)].into_iter().chain(all[1..198].iter().cloned()).chain([card(300, 0)]).collect::<Vec<_>>();
    stage.list(Ok(listing(8, changed.clone())));
    assert_eq!(stage.settle(), 7, "three changes, each with its proof, and a count");
    assert_eq!((stage.board.live(), stage.view().state), (wanted(&changed), ListState::Equal));
}

#[test]
fn a_lost_answer_is_read_back_before_it_is_asked_again() {
    let mut stage = Stage::new(Board::default());
    stage.list(Ok(listing(7, vec![card(1, 0)])));
    stage.status();
    assert_eq!(stage.step(), Some(ControllerAsk::CardCount));
    let put = stage.machine.poll_enquiry().unwrap();
    assert_eq!(put.ask, ControllerAsk::PutCard(card(1, 0)));
    stage.board.answer(&put.ask).unwrap();
    stage.tell(&put, Err(NoData::Timeout));
    assert_eq!(stage.machine.poll_enquiry(), None, "after a pause");
    stage.wait(Duration::from_secs(2));
    assert_eq!(stage.step(), Some(ControllerAsk::Card(number(1))));
    assert_eq!(stage.step(), Some(ControllerAsk::CardCount), "it was done: it is not asked again");
    assert_eq!(stage.changes, [(number(1), Change::Listed)]);
}

#[test]
fn a_full_controller_is_told_and_tried_again() {
    let all: Vec<ListedCard> = (1..100).map(|of| card(of, 0)).collect();
    let mut stage = Stage::new(Board { capacity: Some(10), ..Board::default() });
    stage.list(Ok(listing(7, all.clone())));
    stage.status();
    let asked = stage.settle();
    assert!(asked < 100, "it does not try each of 99 cards in vain: {asked}");
    let view = stage.view();
    assert_eq!((view.state, view.listed, view.refused, stage.alarm), (ListState::Unequal, 10, 89, Some(true)));
    assert_eq!(stage.told.last().unwrap().1["refused"], 89);
    stage.board.capacity = None;
    stage.wait(Duration::from_secs(600));
    stage.settle();
    assert_eq!((stage.board.live(), stage.alarm), (wanted(&all), Some(false)));
}

#[test]
fn a_controller_that_was_away_or_was_reset_is_looked_at_again() {
    let all = vec![card(1, 0), card(2, 0)];
    let mut stage = Stage::new(Board::default());
    stage.list(Ok(listing(7, all.clone())));
    stage.status();
    stage.settle();
    stage.machine.handle_lost(DEVICE);
    assert_eq!(stage.view().state, ListState::Away);
    stage.board = Board { places: vec![Some(card(90, 0))], ..Board::default() };
    assert_eq!(stage.settle(), 0);
    stage.status();
    stage.settle();
    assert_eq!((stage.board.live(), stage.view().state), (wanted(&all), ListState::Equal));
}

#[test]
fn random_weather_changes_kills_and_strangers_end_in_an_equal_list_and_no_valid_card_was_ever_off_it() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let places = (0..rng.u32(..20)).map(|of| rng.bool().then(|| card(of, rng.u8(..3)))).collect();
        let mut stage = Stage::new(Board { places, blank: seed % 2 == 0, ..Board::default() });
        let mut version = 1;
        let mut cards: BTreeMap<u32, u8> = BTreeMap::new();
        let now_wanted = |cards: &BTreeMap<u32, u8>| -> Vec<ListedCard> {
            cards.iter().map(|(of, rights)| card(*of, *rights)).collect()
        };
        for _ in 0..400 {
            match rng.u8(..20) {
                0 => {
                    for _ in 0..rng.u8(1..5) {
                        let of = rng.u32(..30);
                        if rng.bool() {
                            cards.insert(of, rng.u8(..3))
                        } else {
                            cards.remove(&of)
                        };
                    }
                    version += 1;
                    stage.list(Ok(listing(version, now_wanted(&cards))));
                    // A question that is on its way was right for the version before.
                    stage.stormy_step(&mut rng);
                    stage.board.dropped.clear();
                }
                1 => {
                    stage.machine = machine(ListOwner::Box);
                    let ended = (0..30).filter(|of| !cards.contains_key(of)).map(number).collect();
                    let listing = listing_after(version, now_wanted(&cards), ended);
                    stage.list(if rng.bool() { Err(Unsaid::TooOld) } else { Ok(listing) });
                    stage.status();
                }
                2 => stage.machine.handle_lost(DEVICE),
                3 if seed % 4 == 0 => {
                    let stranger = card(rng.u32(..40), rng.u8(..3));
                    stage.board.put(&stranger);
                }
                4 => stage.list(Ok(listing(version, now_wanted(&cards)))),
                5 => stage.status(),
                _ => {
                    stage.stormy_step(&mut rng);
                }
            }
            let time = Duration::from_millis(rng.u64(..20_000));
            stage.wait(time);
            let wrong =
                stage.board.dropped.iter().find(|dropped| now_wanted(&cards).iter().any(|c| c.number == **dropped));
            assert_eq!(wrong, None, "seed {seed}: a valid card was taken off");
        }
        stage.list(Ok(listing(version + 1, now_wanted(&cards))));
        for _ in 0..20 {
            stage.wait(DAY);
            stage.status();
            stage.settle();
        }
        assert_eq!(stage.board.live(), wanted(&now_wanted(&cards)), "seed {seed}");
        assert_eq!((stage.view().state, stage.view().listed), (ListState::Equal, cards.len()), "seed {seed}");
    }
}
