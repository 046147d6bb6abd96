//! Supplies through the whole engine: who may cut, and how one comes back.

use gatehouse_core::driver::{Action, Argument};
use ring::signature::Ed25519KeyPair;

use super::shell::Shell;
use super::site::{METERS, name, setup};
use crate::command::{Outcome, Reception, Request, Source, State};
use crate::engine::Setup;
use crate::supply::SupplySpec;

const SEED: [u8; 32] = [9; 32];
const GUARD: Source = Source::Socket { uid: 1000 };

fn site() -> Setup {
    let mut setup = setup();
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    setup.commands.signing.keys = vec![ring::signature::KeyPair::public_key(&pair).as_ref().try_into().unwrap()];
    let spec =
        SupplySpec { cut: name("trip"), permit: Some(name("permit_close")), connect: name("close"), deadline: true };
    setup.supply.devices.insert(METERS[0], spec);
    setup
}

fn signed(shell: &Shell, mut request: Request) -> Request {
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let text = shell.setup.commands.signing.text(&request);
    request.signature = Some(pair.sign(text.as_bytes()).as_ref().try_into().unwrap());
    request
}

fn refusal(reception: Reception, shell: &Shell, id: &str) -> String {
    let outcome = match (reception, shell.engine.commands().state(id)) {
        (Reception::Ended(outcome), _) => outcome,
        (Reception::Pending, Some(State::Ended(outcome))) => outcome.clone(),
        (reception, state) => panic!("{reception:?} {state:?}"),
    };
    match outcome {
        Outcome::Refused { reason, .. } => reason.into(),
        other => panic!("not refused: {other:?}"),
    }
}

fn called(shell: &Shell) -> Vec<String> {
    let calls = shell.line.iter().map(|act| match &act.action {
        Action::Call { command, argument: Argument::At(_), .. } => command.to_string(),
        other => panic!("{other:?}"),
    });
    calls.collect()
}

#[test]
fn a_supply_is_cut_by_the_core_and_by_nobody_else_not_even_at_the_box() {
    let mut shell = Shell::awake(site());
    let trip = r#""action":"trip","reason_code":"unpaid""#;
    for (id, source) in [("a", Source::Core), ("b", GUARD)] {
        let request = shell.request(id, "device:meter-1", trip, 60);
        let reception = shell.receive(source, &request);
        assert_eq!(refusal(reception, &shell, id), "signature_required", "{source:?}");
    }
    let request = signed(&shell, shell.request("c", "device:meter-1", r#""action":"trip""#, 60));
    let reception = shell.receive(Source::Core, &request);
    assert_eq!(refusal(reception, &shell, "c"), "no_reason");
    for action in ["permit_close", "close"] {
        let request = shell.request(action, "device:meter-1", &format!(r#""action":"{action}""#), 60);
        let reception = shell.receive(GUARD, &request);
        assert_eq!(refusal(reception, &shell, action), "reserved");
    }
    assert!(shell.line.is_empty());
    let request = signed(&shell, shell.request("d", "device:meter-1", trip, 60));
    assert_eq!(shell.receive(Source::Core, &request), Reception::Pending);
    assert_eq!(called(&shell), ["trip"]);
}

#[test]
fn a_supply_that_was_paid_for_comes_back_once_its_meter_answers_however_late() {
    let mut shell = Shell::awake(site());
    shell.set_online(METERS[0], false);
    let wish = r#""action":"reconnect","reason_code":"paid""#;
    let request = signed(&shell, shell.request("w", "device:meter-1", wish, 7 * 86_400));
    assert_eq!(shell.receive(Source::Core, &request), Reception::Pending);
    assert_eq!(shell.engine.commands().state("w"), Some(State::Ended(&Outcome::Acknowledged)), "it is kept");
    assert!(shell.line.is_empty());
    shell.set_link(false);
    shell.set_online(METERS[0], true);
    assert_eq!(called(&shell), ["permit_close"], "whether the core is there or not");
    shell.work();
    shell.set_online(METERS[0], false);
    shell.set_online(METERS[0], true);
    assert!(shell.line.is_empty());
}
