//! What happens by itself in a demo with an end: an outage, a silent meter, a noisy line, each in its own act.

use std::time::Duration;

use super::world::World;
use crate::rig::Link;

/// The device that falls silent: the first meter on Modbus TCP or a line that polls often.
const SILENT_DEVICE: &str = "meter-pump";

/// Acts by their beginning, as a share of the whole in percent.
const ACTS: [(u32, Act); 6] =
    [(20, Act::Cut), (40, Act::Mend), (45, Act::Silence), (70, Act::Unsilence), (72, Act::Noise), (85, Act::Quiet)];

#[derive(Debug, Clone, Copy)]
enum Act {
    Cut,
    Mend,
    Silence,
    Unsilence,
    Noise,
    Quiet,
}

/// The script of one run.
pub(super) struct Script {
    length: Duration,
    next: usize,
}

impl Script {
    /// A script of this length.
    pub(super) fn new(length: Duration) -> Self {
        Script { length, next: 0 }
    }

    /// Plays the acts whose time has come.
    pub(super) fn play(&mut self, world: &mut World) {
        while let Some(&(share, act)) = ACTS.get(self.next) {
            if world.began.elapsed() < self.length * share / 100 {
                return;
            }
            self.next += 1;
            match act {
                Act::Cut => world.set_link(Link::Cut),
                Act::Mend => world.set_link(Link::Up),
                Act::Silence => {
                    let at = world.site.devices.iter().position(|device| device.id == SILENT_DEVICE);
                    world.silence(at);
                }
                Act::Unsilence => world.silence(None),
                Act::Noise => world.set_noise(0, true),
                Act::Quiet => world.set_noise(0, false),
            }
        }
    }
}
