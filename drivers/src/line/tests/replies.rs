//! What is taken as a reply and what is not.

use super::*;
use crate::line::{CloseReason, Verdict};

/// Lets the request in flight time out.
fn time_out(rig: &mut Rig) {
    let before = rig.line.stats().timeouts;
    while rig.line.stats().timeouts == before {
        rig.wake();
    }
}

/// A serial line that asks each request once.
fn without_retries(fakes: &[Fake]) -> Rig {
    let mut settings = LineSettings::new(Medium::Serial(WIRE));
    settings.retries = 0;
    Rig::with(settings, fakes, 10)
}

#[test]
fn a_late_reply_is_recognised_while_another_unit_is_asked() {
    let fakes = [fake(1, &[10]), fake(2, &[10])];
    let mut rig = Rig::serial(&fakes, 10);
    rig.warm_up(&fakes);
    assert_eq!(rig.next().1[0], 1);
    time_out(&mut rig);
    assert_eq!(rig.next().1[0], 2, "the others go first, then the repeat");
    rig.receive(1, &[reply(1, 10, 77, 0), reply(2, 10, 5, 0)].concat());
    assert_eq!(rig.samples(), [(1, vec!["0=5".to_owned()])]);
    assert_eq!((rig.line.stats().late_replies, rig.line.stats().rejects().map(|r| r.1).sum::<u64>()), (1, 0));
    let timeout = rig.line.device_status(DeviceIx(0)).unwrap().timeout;
    assert!(timeout > Duration::from_millis(70), "it raised what the device is allowed: {timeout:?}");
}

#[test]
fn after_a_timeout_nothing_goes_to_the_unit_that_the_late_reply_could_answer() {
    let fakes = [fake(1, &[10, 10, 12])];
    let mut rig = without_retries(&fakes);
    rig.warm_up(&fakes);
    assert_eq!(rig.next().1[2], 0);
    time_out(&mut rig);
    let given_up = rig.ms();
    let (began, request) = rig.next();
    assert_eq!(request[2], 1, "the next step has the same length");
    // Ceiling and window: 2 s after the end of the request, which was 60 ms before it was given up.
    assert_eq!(began, given_up - 60.0 + 2000.0);
    assert_eq!(rig.line.stats().embargoed, 1);
}

#[test]
fn a_late_reply_that_has_come_lets_the_unit_go_on_at_once() {
    let fakes = [fake(1, &[10, 10, 12])];
    let mut rig = without_retries(&fakes);
    rig.warm_up(&fakes);
    rig.next();
    time_out(&mut rig);
    assert!(rig.transmit().is_none());
    rig.receive(100, &reply(1, 10, 77, 0));
    let (began, request) = rig.next();
    assert_eq!((began, request[2]), (rig.ms() - 8.0, 1));
    rig.receive(4, &reply(1, 10, 5, 0));
    rig.next();
    rig.receive(4, &reply(1, 12, 6, 0));
    assert_eq!(rig.samples(), [(0, ["0:timeout", "1=5", "2=6"].map(str::to_owned).to_vec())]);
}

#[test]
fn a_late_no_is_not_taken_for_the_answer_to_another_request() {
    for no in [exception(1, 2), nothing(1)] {
        let fakes = [fake(1, &[10, 12])];
        let mut rig = without_retries(&fakes);
        rig.warm_up(&fakes);
        rig.next();
        time_out(&mut rig);
        assert_eq!(rig.next().1[2], 1, "another length may go");
        rig.receive(2, &no);
        rig.receive(4, &reply(1, 12, 6, 0));
        assert_eq!(rig.samples(), [(0, ["0:timeout", "1=6"].map(str::to_owned).to_vec())]);
        assert_eq!((rig.line.stats().exceptions, rig.line.stats().late_replies), (0, 1));
    }
}

#[test]
fn a_reply_that_ends_sooner_than_the_wire_can_carry_it_is_left_over() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 100);
    rig.warm_up(&fakes);
    rig.next();
    rig.now = rig.now + Duration::from_millis(3);
    rig.line.handle_bytes(rig.now, &reply(1, 10, 77, 0));
    rig.receive(1, &reply(1, 10, 5, 0));
    rig.collect();
    assert_eq!(rig.samples(), [(0, vec!["0=5".to_owned()])]);
    assert_eq!(rig.line.stats().early_replies, 1);
}

#[test]
fn a_port_that_answers_at_once_is_taken_for_what_it_is() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 100);
    for value in 0..4 {
        let requests = if value == 0 { 2 } else { 1 };
        for _ in 0..requests {
            rig.next();
            rig.line.handle_bytes(rig.now, &reply(1, 10, value, 0));
            rig.collect();
        }
        assert_eq!(rig.samples(), [(0, vec![format!("0={value}")])], "the first one is asked for twice");
    }
}

#[test]
fn short_noisy_and_foreign_replies_are_no_values_and_the_request_is_repeated() {
    let fakes = [fake(1, &[10])];
    let mut broken = reply(1, 10, 77, 0);
    broken[5] ^= 1;
    let cases = [reply(1, 10, 77, 0)[..7].to_vec(), broken, reply(9, 10, 77, 0), reply(1, 12, 77, 0)];
    for case in cases {
        let mut rig = Rig::serial(&fakes, 1000);
        rig.warm_up(&fakes);
        rig.next();
        rig.receive(4, &case);
        let (_, again) = rig.next();
        assert_eq!(again[2], 0);
        rig.receive(4, &reply(1, 10, 5, 0));
        assert_eq!(rig.samples(), [(0, vec!["0=5".to_owned()])], "{case:02x?}");
        assert_eq!((rig.line.stats().bad_replies, rig.line.stats().retries), (1, 1), "{case:02x?}");
    }
}

#[test]
fn a_reply_after_a_burst_of_noise_is_not_believed() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    rig.next();
    rig.receive(4, &[&[0x00, 0xFF][..], &reply(1, 10, 5, 0)].concat());
    assert_eq!(rig.samples(), [(0, vec!["0=5".to_owned()])], "a driver's glitch is tolerated");
    rig.next();
    rig.receive(4, &[&[0xFF; 9][..], &reply(1, 10, 77, 0)].concat());
    rig.next();
    rig.receive(4, &reply(1, 10, 6, 0));
    assert_eq!(rig.samples(), [(0, vec!["0=6".to_owned()])]);
}

#[test]
fn a_doubled_reply_counts_once() {
    let fakes = [fake(1, &[10, 10])];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    rig.next();
    rig.receive(4, &[reply(1, 10, 5, 0), reply(1, 10, 5, 0)].concat());
    let end = rig.ms();
    let (began, request) = rig.next();
    assert_eq!((began, request[2]), (end + 3.5, 1));
    rig.receive(4, &reply(1, 10, 6, 0));
    assert_eq!(rig.samples(), [(0, ["0=5", "1=6"].map(str::to_owned).to_vec())]);
}

#[test]
fn a_busy_device_is_asked_again_later_and_not_for_ever() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 60_000);
    rig.warm_up(&fakes);
    let mut began = Vec::new();
    for _ in 0..4 {
        began.push(rig.next().0);
        rig.receive(4, &exception(1, 6));
    }
    assert!(began[1] - began[0] > 200.0 && began[3] - began[2] > 600.0, "{began:?}");
    assert_eq!(rig.samples(), [(0, vec!["0:exception_6".to_owned()])]);
}

#[test]
fn a_refused_read_is_replaced_by_what_the_driver_wants_instead() {
    let fakes = [Fake { splits: true, ..fake(1, &[10]) }];
    let mut rig = Rig::serial(&fakes, 1000);
    rig.warm_up(&fakes);
    rig.next();
    rig.receive(4, &exception(1, 2));
    for value in [3, 4] {
        assert_eq!(rig.next().1[2], 50);
        rig.receive(4, &reply(1, 12, value, 0));
    }
    assert_eq!(rig.samples(), [(0, ["0=3", "0=4"].map(str::to_owned).to_vec())]);
    rig.next();
    rig.receive(4, &exception(1, 2));
    assert_eq!(rig.samples(), [(0, vec!["0:exception_2".to_owned()])], "now it has nothing else, and is not repeated");
}

#[test]
fn local_echo_is_stripped_where_it_is_set_or_found() {
    for echo in [Echo::On, Echo::Detect] {
        let wire = Wire { echo, ..WIRE };
        let mut rig = Rig::with(LineSettings::new(Medium::Serial(wire)), &[fake(1, &[10])], 1000);
        for value in 0..3 {
            let (_, request) = rig.next();
            rig.line.handle_bytes(rig.now, &request);
            rig.receive(4, &reply(1, 10, value, 0));
            assert_eq!(rig.samples(), [(0, vec![format!("0={value}")])], "{echo:?}");
        }
        assert_eq!(rig.line.stats().bytes_discarded, 0);
    }
}

#[test]
fn a_late_tcp_reply_is_told_by_its_transaction() {
    let fakes = [Fake { tagged: true, ..fake(1, &[10, 10]) }];
    let mut settings = LineSettings::new(Medium::Tcp);
    settings.retries = 0;
    let mut rig = Rig::with(settings, &fakes, 100);
    rig.warm_up(&fakes);
    let (_, first) = rig.next();
    time_out(&mut rig);
    let (_, second) = rig.next();
    assert_eq!((first[2], second[2]), (0, 1), "no embargo: replies carry their transaction");
    let tag = |request: &[u8]| u16::from_be_bytes([request[4], request[5]]);
    rig.receive(1, &[reply(1, 10, 77, tag(&first)), reply(1, 10, 5, tag(&second))].concat());
    assert_eq!(rig.samples(), [(0, ["0:timeout", "1=5"].map(str::to_owned).to_vec())]);
    assert!(rig.line.frames().any(|frame| frame.verdict == Verdict::Rejected(Reject::TransactionMismatch)));
}

#[test]
fn a_silent_connection_is_closed_and_one_without_transactions_at_once() {
    for (medium, silent, reason) in
        [(Medium::Tcp, 3, CloseReason::Silent), (Medium::RtuOverTcp, 1, CloseReason::NoTransaction)]
    {
        let fakes = [Fake { tagged: medium == Medium::Tcp, ..fake(1, &[10]) }];
        let mut rig = Rig::with(LineSettings::new(medium), &fakes, 100);
        rig.warm_up(&fakes);
        for _ in 0..silent {
            assert!(!rig.outputs.iter().any(|output| matches!(output, Output::ClosePort { .. })));
            rig.next();
            time_out(&mut rig);
        }
        assert!(rig.outputs.contains(&Output::ClosePort { reason }), "{medium:?}");
        assert!(rig.transmit().is_none(), "nothing goes out on the old one");
        rig.line.handle_closed(rig.now);
        rig.line.handle_opened(rig.now);
        let (_, request) = rig.next();
        rig.receive(4, &reply(1, 10, 5, u16::from_be_bytes([request[4], request[5]])));
        assert_eq!(rig.samples().last().unwrap(), &(0, vec!["0=5".to_owned()]));
    }
}

#[test]
fn requests_that_nobody_here_sent_are_another_master_and_late_replies_are_none() {
    let fakes = [fake(1, &[10])];
    let mut rig = Rig::serial(&fakes, 10_000);
    rig.warm_up(&fakes);
    let mut foreign = vec![9, 3, 0, 0, 0, 0, 0];
    foreign.push(sum(&foreign));
    for turn in 0..3 {
        assert!(!rig.line.has_foreign_master(rig.now), "two may be an accident");
        rig.pass_ms(300);
        // In two pieces, and the answer of whoever was asked, which is no request.
        rig.receive(0, &foreign[..5]);
        rig.receive(3, &foreign[5..]);
        rig.receive(20, &reply(9, 10, turn, 0));
    }
    assert!(rig.line.has_foreign_master(rig.now));
    assert_eq!(rig.line.stats().foreign_requests, 3);
    rig.pass_ms(61_000);
    assert!(!rig.line.has_foreign_master(rig.now));
}
