use super::*;
use crate::{cjt188, dlt645};

fn electricity() -> Vec<u8> {
    let mut bytes = Vec::new();
    let address = dlt645::Address::from_wire([0x34, 0x12, 0, 0, 0, 0]);
    dlt645::encode(4, address, 0x91, &[&[0, 1, 1, 2], &[0x01, 0x23]], &mut bytes);
    bytes
}

/// A start byte and an end byte are among its data.
fn water() -> Vec<u8> {
    let mut bytes = Vec::new();
    let address = cjt188::Address::from_wire([1, 0, 0, 0, 0, 0, 0]);
    let data: [&[u8]; 2] = [&[0x1F, 0x90, 0], &[0x68, 0x16, 0, 0, 0x2C]];
    cjt188::encode(3, (cjt188::MeterType::COLD_WATER, address), 0x81, &data, &mut bytes);
    bytes
}

fn is_found_whole<F: MeterFrame>(bytes: &[u8]) {
    for end in 0..bytes.len() {
        match find::<F>(&bytes[..end]) {
            Found::Incomplete { missing } => {
                assert!(missing > 0 && missing <= F::AROUND.max(bytes.len() - end), "{end}");
            }
            Found::Skip { why, .. } => panic!("{end}: {why}"),
            Found::Frame { bytes, .. } => panic!("{end}: a frame of {bytes}"),
        }
    }
    assert!(matches!(find::<F>(bytes), Found::Frame { bytes: all, .. } if all == bytes.len()));
}

#[test]
fn a_frame_is_found_whole_with_its_preamble_and_byte_by_byte() {
    is_found_whole::<dlt645::Frame>(&electricity());
    is_found_whole::<cjt188::Frame>(&water());
}

fn after_noise<F: MeterFrame>(noise: &[u8], sound: &[u8]) -> F {
    let mut bytes = [noise, sound].concat();
    for _ in 0..30 {
        match find(&bytes) {
            Found::Skip { bytes: skipped, .. } => drop(bytes.drain(..skipped)),
            Found::Frame { frame, .. } => return frame,
            Found::Incomplete { .. } => panic!("{noise:?}"),
        }
    }
    panic!("it does not end: {noise:?}");
}

#[test]
fn noise_and_stray_start_bytes_before_a_frame_are_skipped_and_the_frame_is_kept() {
    for noise in [&[0x00, 0x68, 0x55][..], &[0x68; 9], &[0x68, 1, 2, 3, 4, 5, 6, 0x68, 0x91, 0x30], &[0x16]] {
        assert_eq!(after_noise::<dlt645::Frame>(noise, &electricity()).data(), [0, 1, 1, 2, 0x01, 0x23]);
    }
    for noise in [&[0x00, 0x68, 0x55][..], &[0x68; 12], &[0x11, 0x68, 0x22], &[0x16]] {
        assert_eq!(after_noise::<cjt188::Frame>(noise, &water()).data(), [0x1F, 0x90, 0, 0x68, 0x16, 0, 0, 0x2C]);
    }
}

fn makes_progress<F: MeterFrame>(bytes: &[u8]) {
    match find::<F>(bytes) {
        Found::Incomplete { missing } => assert!(missing > 0),
        Found::Skip { bytes: skipped, .. } => assert!((1..=bytes.len()).contains(&skipped)),
        Found::Frame { bytes: taken, .. } => assert!((1..=bytes.len()).contains(&taken)),
    }
}

#[test]
fn each_verdict_makes_progress_whatever_comes() {
    let mut rng = fastrand::Rng::with_seed(3);
    let alphabet = [PREAMBLE, START, END, 0x81, 0x91, 0x00, 0x05, 0x33];
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.usize(..60)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
        makes_progress::<dlt645::Frame>(&bytes);
        makes_progress::<cjt188::Frame>(&bytes);
    }
}

#[test]
fn of_two_faults_the_one_is_told_that_is_more_of_a_frame() {
    let mut wrong = electricity();
    let sum = wrong.len() - 2;
    wrong[sum] ^= 1;
    let found = first_sent::<dlt645::Frame>(&[&[START, 1, 2, 3, 4, 5, 6, 7, 8][..], &wrong].concat(), true);
    assert!(matches!(found, Err(WireError::BadChecksum { .. })), "{found:?}");
}

#[test]
fn the_other_direction_is_passed_over() {
    let mut asked = Vec::new();
    dlt645::encode(0, dlt645::Address::from_wire([0x34, 0x12, 0, 0, 0, 0]), 0x11, &[&[0, 1, 1, 2]], &mut asked);
    assert_eq!(first_sent::<dlt645::Frame>(&asked, true), Err(WireError::WrongDirection));
    let both = [&asked[..], &electricity()].concat();
    let (frame, end) = first_sent::<dlt645::Frame>(&both, true).unwrap();
    assert!(frame.is_from_meter() && end == both.len());
}
