//! Keys of a reader: which is tried, which it is given, and that none is told.

use super::*;

#[test]
fn a_reader_with_another_key_is_not_believed_and_not_asked_again_for_ten_minutes() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OLD));
    peer.kept.push(CARD.to_vec());
    story.polls(&mut peer, 6);
    let shown = story.poll(&mut peer);
    assert_eq!(shown, ["-", "-", "1", "true", "false", "-", "-"]);
    assert_eq!(story.act(&mut peer, &pulse()), Some(NOT_SENT));
    assert!(peer.obeyed.is_empty());
    peer.key = OWN;
    for _ in 0..5900 {
        assert_eq!(story.poll(&mut peer)[4], "false");
    }
    assert_eq!(story.polls(&mut peer, 200)[4], "true");
}

#[test]
fn the_key_that_everybody_knows_is_used_in_the_commissioning_window_only() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(Key::DEFAULT));
    assert_eq!(story.polls(&mut peer, 20)[4], "false");
    let keys = Keys { commissioning: true, ..own() };
    let (mut story, mut peer) = (Story::new(keys), Peer::new(Key::DEFAULT));
    assert_eq!(story.polls(&mut peer, 20)[4], "true");
    assert_eq!(peer.key, OWN, "it was given its own key, under which the channel stands now");
}

#[test]
fn a_reader_that_still_has_its_former_key_is_given_the_new_one() {
    let keys = Keys { before: Some(OLD), ..own() };
    let (mut story, mut peer) = (Story::new(keys), Peer::new(OLD));
    assert_eq!(story.polls(&mut peer, 20)[4], "true");
    assert_eq!(peer.key, OWN);
}

#[test]
fn a_reader_is_given_another_key_while_it_works_and_is_secure_again_under_it() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    assert_eq!(story.polls(&mut peer, 8)[4], "true");
    story.reader.change_key([0x77; 16]);
    assert_eq!(story.poll(&mut peer)[4], "false", "it begins anew");
    assert_eq!(story.polls(&mut peer, 20)[4], "true");
    assert_eq!(peer.key, Key::new([0x77; 16]));
    story.reader.session.restart();
    let mut thief = Peer::new(OWN);
    assert_eq!(story.polls(&mut thief, 20)[4], "false");
    assert_eq!(thief.key, OWN, "whoever has only the former key does not get the new one");
}

#[test]
fn former_keys_are_tried_in_order_and_those_that_the_box_kept_are_forgotten_once_it_is_secure() {
    let kept = [Key::new([4; 16]), Key::new([5; 16])];
    let keys = || Keys { kept: kept.to_vec(), before: Some(OLD), ..own() };
    let exchanges = |key: &Key| {
        let (mut story, mut peer) = (Story::new(keys()), Peer::new(key.clone()));
        let needed = (1..40).find(|_| story.poll(&mut peer)[4] == "true");
        assert_eq!(peer.key, OWN);
        needed.unwrap()
    };
    let needed = [&OWN, &kept[0], &kept[1], &OLD].map(exchanges);
    assert_eq!([needed[2] - needed[1], needed[3] - needed[2]], [1, 1], "each is one challenge further: {needed:?}");

    let (mut story, mut peer) = (Story::new(keys()), Peer::new(kept[0].clone()));
    assert_eq!(story.polls(&mut peer, 20)[4], "true");
    story.reader.session.restart();
    let mut thief = Peer::new(kept[1].clone());
    assert_eq!(story.polls(&mut thief, 20)[4], "false");
    story.reader.session.restart();
    story.now = story.now + Duration::from_secs(600);
    let mut spare = Peer::new(OLD);
    assert_eq!(story.polls(&mut spare, 20)[4], "true", "the one of the site file goes on to count");
}

#[test]
fn an_answer_to_a_poll_from_before_a_key_was_changed_is_no_proof_of_the_new_one() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 8);
    let request = story.ask(StepId(0));
    story.reader.change_key([0x77; 16]);
    // However late the answer comes.
    story.now = story.now + Duration::from_secs(4);
    peer.kept.push(CARD.to_vec());
    let (_, readings) = story.hear(StepId(0), &peer.answer(&request));
    let shown = texts(&readings);
    assert_eq!((&*shown[1], &*shown[4]), ("1", "false"), "the card counts, the key is not proved");
    let readings: Vec<String> =
        (0..20).map(|_| format!("{} {}", story.poll(&mut peer)[4], peer.key.bytes()[0])).collect();
    assert!(!readings.contains(&"true 7".to_owned()), "{readings:?}");
    assert_eq!(readings.last().unwrap(), "true 119");
}

#[test]
fn a_reader_that_is_put_in_anothers_place_while_that_is_given_a_key_is_given_it_if_it_has_the_one_before() {
    for (spare, secure) in [(OWN, "true"), (OLD, "false"), (Key::DEFAULT, "false")] {
        let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
        story.polls(&mut peer, 8);
        story.reader.change_key([0x77; 16]);
        while peer.key == OWN {
            story.poll(&mut peer);
        }
        let mut other = Peer::new(spare.clone());
        assert_eq!(story.polls(&mut other, 20)[4], secure);
        assert_eq!(other.key, if secure == "true" { Key::new([0x77; 16]) } else { spare });
        // The first one comes back, and has the key by now.
        story.reader.session.restart();
        story.now = story.now + Duration::from_secs(600);
        assert_eq!(story.polls(&mut peer, 20)[4], "true");
    }
}

#[test]
fn a_change_of_keys_that_is_undone_finds_the_reader_under_either_key() {
    for took in [true, false] {
        let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
        story.polls(&mut peer, 8);
        story.reader.change_key([0x77; 16]);
        // It goes off the wires, with the new key or without.
        for _ in 0..20 {
            story.missed();
        }
        peer = Peer::new(if took { Key::new([0x77; 16]) } else { OWN });
        story.reader.change_key(OWN.bytes());
        assert_eq!(story.polls(&mut peer, 20)[4], "true");
        assert_eq!(peer.key, OWN);
    }
}

#[test]
fn a_key_on_its_way_to_a_reader_is_in_no_trace() {
    let (mut story, mut peer) = (Story::new(Keys { before: Some(OLD), ..own() }), Peer::new(OLD));
    let mut keysets = 0;
    for _ in 0..20 {
        let request = story.ask(StepId(0));
        let Found::Frame { frame, .. } = find(&request) else { panic!("{request:02X?}") };
        let (is_keyset, code_at) = (frame.code == command::code::KEYSET, request.len() - 2 - 4 - frame.data.len() - 1);
        let mut told = request.clone();
        story.reader.conceal(true, &mut told);
        if is_keyset {
            keysets += 1;
            assert_eq!(told[..=code_at], request[..=code_at]);
            assert!(told[code_at + 1..].iter().all(|byte| *byte == 0), "{told:02X?}");
        } else {
            assert_eq!(told, request);
        }
        let reply = peer.answer(&request);
        story.hear(StepId(0), &reply);
    }
    assert_eq!((keysets, peer.key), (1, OWN));
}
