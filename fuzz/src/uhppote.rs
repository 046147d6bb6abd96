//! UHPPOTE: datagrams, and replies to every request of a controller.

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{CardNumber, ControllerAnswer, ControllerAsk, Driver, Name, PointIx, StepId};
use gatehouse_drivers::dissect::{self, Language};
use gatehouse_drivers::uhppote::{
    Datagram, Field, LENGTH, Listener, Reply, Request, UhppoteController, UhppoteSettings,
};

use crate::feed::{Mode, Subject, TAG};
use crate::script::Script;

const SERIAL: u32 = 423_187_757;

/// Runs an input: step, mode, then the datagram.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    CONTROLLER.with(|controller| {
        let step = controller.steps[script.place(controller.steps.len())];
        let mode = Mode::read(&mut script);
        let mut heard = script.rest().to_vec();
        if mode.answers() {
            let head: Vec<u8> = controller.request(step).into_iter().take(8).collect();
            heard = head.into_iter().chain(heard).chain(std::iter::repeat(0)).take(LENGTH).collect();
        }
        // A datagram comes whole.
        if controller.hear(step, Mode::read(&mut Script::new(&[])), &heard).is_some() {
            let mut readings = Vec::new();
            controller.driver.decode(step, TAG, &heard, &mut readings);
            let _ = ControllerAnswer::from_readings(&readings);
        }
        let _ = controller.driver.is_word(&heard);
        for is_request in [false, true] {
            dissect::fields(Language::Uhppote, is_request, &heard);
        }
        if let Ok(datagram) = Datagram::read(&heard) {
            if let Ok(Reply::Event(event)) = Reply::read(&datagram) {
                event.told();
            }
            if let Ok(request) = Request::read(&datagram) {
                let _ = Reply::judge(&request, datagram.serial(), &datagram);
                let again = request.encode(datagram.serial());
                assert_eq!(Request::read(&again), Ok(request), "what is read is written alike");
            }
        }
    });
}

fn controller() -> Subject {
    let points: Vec<Field> = Field::all().collect();
    let all = (0..points.len()).filter_map(|at| u16::try_from(at).ok().map(PointIx)).collect();
    let listener = Some(Listener { address: [192, 168, 1, 2], port: 60_001 });
    let controller = UhppoteController::new(UhppoteSettings { serial: SERIAL, listener }, points, &[all]);
    Subject::new(controller, |controller: &mut UhppoteController, steps: &mut Vec<StepId>| {
        let asks = [ControllerAsk::Event(8), ControllerAsk::CardCount, ControllerAsk::CardAt(1), ControllerAsk::Listen];
        let of_a_card = CardNumber::new(6_154_412)
            .into_iter()
            .flat_map(|number| [ControllerAsk::Card(number), ControllerAsk::DropCard(number)]);
        let asks = asks.into_iter().chain(of_a_card).map(Action::Controller);
        let open =
            Name::new("open").ok().map(|command| Action::Call { command, channel: Some(1), argument: Argument::None });
        for action in asks.chain(open).chain([Action::Identify]) {
            let _ = controller.begin(&action, steps);
        }
    })
}

thread_local! {
    static CONTROLLER: Subject = controller();
}
