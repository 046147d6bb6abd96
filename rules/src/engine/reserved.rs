//! What gates and escalations work: nobody else writes it.

use std::collections::BTreeMap;

use gatehouse_core::DeviceIx;
use gatehouse_core::driver::Action;

use crate::catalog::PointRef;
use crate::gate::{GateSpec, How};
use crate::ticket::{Drive, TicketRules};

/// Points and devices, with who works them.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    points: BTreeMap<PointRef, String>,
    /// Devices that gates use by a command of their profile: which contacts that reaches, only the profile knows.
    pulsed: BTreeMap<DeviceIx, String>,
    /// Devices with any output of a gate: a command of theirs may reach it.
    boards: BTreeMap<DeviceIx, String>,
}

impl Reserved {
    pub(super) fn of(gates: &[GateSpec], tickets: &TicketRules) -> Self {
        let mut reserved = Reserved::default();
        let steps = tickets.kinds.values().flat_map(|kind| &kind.escalation);
        for output in steps.flat_map(|step| &step.outputs) {
            if let Drive::Level { on: Action::Write(point, _), .. } = &output.drive {
                let at = PointRef { device: output.device, point: *point };
                reserved.points.insert(at, format!("the escalation output {}", output.name));
            }
        }
        for gate in gates {
            let outputs = &gate.outputs;
            let all = [&outputs.open, &outputs.close, &outputs.stop, &outputs.hold_open, &outputs.lock];
            for output in all.into_iter().flatten() {
                let owner = format!("the gate {}", gate.id);
                match &output.how {
                    How::Pulse { .. } => drop(reserved.pulsed.insert(output.device, owner.clone())),
                    How::Switch { point, .. } | How::Level { point, .. } => {
                        let at = PointRef { device: output.device, point: *point };
                        reserved.points.insert(at, owner.clone());
                    }
                }
                reserved.boards.insert(output.device, owner);
            }
        }
        reserved
    }

    /// Who works a point, so that nobody else writes it.
    pub(super) fn writes(&self, at: PointRef) -> Option<&str> {
        self.points.get(&at).or_else(|| self.pulsed.get(&at.device)).map(String::as_str)
    }

    /// Who works a device, so that nobody else gives it commands.
    pub(super) fn calls(&self, device: DeviceIx) -> Option<&str> {
        self.boards.get(&device).map(String::as_str)
    }
}
