//! The box's own contacts as a device of the hub: what they say goes the way of any other device's readings, and commands
//! come back to them.

use std::rc::Rc;

use gatehouse_config::Site;
use gatehouse_core::{DeviceIx, Mono, NoData, PointReading};
use gatehouse_drivers::line::{Command, CommandRefusal, CommandResult, Output};
use gatehouse_firmware_bridge as bridge;

use super::box_io::{self, BoxCommands, BoxIo};
use super::bus::Sink;
use super::device::DeviceRuntime;
use super::hub::Hub;
use super::run::Daemon;

/// Lines that an alarm names; of more it gives the number.
const NAMED: usize = 3;

/// The box's own device at run time.
pub struct OwnDevice {
    /// Its index at run time.
    pub device: DeviceIx,
    /// Its lines at work.
    pub io: BoxIo,
    told: String,
}

impl OwnDevice {
    /// What is wrong with each line that cannot be opened, in one sentence each.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        self.io.problems().into_iter().map(|(name, why)| format!("{name} of the box: {why}"))
    }

    /// The same for an alarm; `""` while all lines are open.
    pub fn trouble(&self) -> String {
        let all: Vec<String> = self.troubles().collect();
        let more = all.len().saturating_sub(NAMED);
        let mut text = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        text
    }

    /// True when the trouble is another than when this was asked last.
    pub fn has_news(&mut self) -> bool {
        let trouble = self.trouble();
        let news = trouble != self.told;
        self.told = trouble;
        news
    }
}

impl Daemon {
    /// Starts the box's own device, if the site has one.
    pub(super) fn start_own(&mut self) {
        self.own = start(&self.site, &self.hub, None);
    }

    /// Applies the changed site file: begins `anew` where the wiring differs, else only what is said of it changes.
    pub(super) fn change_own(&mut self, anew: bool) {
        let before = self.own.take();
        if anew {
            if let Some(own) = &before {
                self.hub.remove(own.device);
            }
            self.own = start(&self.site, &self.hub, before.map(|own| own.io));
            return;
        }
        if let (Some(own), Some((place, config))) = (&before, self.site.own_device()) {
            self.hub.with(own.device, |device| {
                let mut next = DeviceRuntime::new((place, config.clone()), None);
                next.inherit(device);
                *device = next;
            });
        }
        self.own = before;
    }
}

/// Starts the box's own device, if the site has one, once the one `before` has let go of its lines.
fn start(site: &Site, hub: &Rc<Hub>, before: Option<BoxIo>) -> Option<OwnDevice> {
    let Some((settings, (place, config))) = site.box_io.clone().zip(site.own_device()) else {
        if let Some(before) = before {
            tokio::task::spawn_local(before.stop());
        }
        return None;
    };
    let device = hub.add(DeviceRuntime::new((place, config.clone()), None));
    let mut alive = Alive::new(config.points.len());
    let sink = hub.clone();
    let io = box_io::spawn(settings, before, hub.clock.clone(), move |output| {
        let state = alive.take(&output);
        pass(&*sink, device, output);
        if let Some((at, online)) = state {
            sink.output(Output::DeviceState { device, at, online, reason: (!online).then_some(NoData::BusDown) });
        }
    });
    Some(OwnDevice { device, io, told: String::new() })
}

/// Hands a command to the box's own device.
///
/// # Errors
/// The command, when too many wait already or the device has ended.
pub(super) fn send(own: &BoxCommands, command: Command) -> Result<(), Command> {
    let Command { id, device, action, expires } = command;
    own.send(bridge::Command { id, action, expires }).map_err(|bridge::Command { id, action, expires }| Command {
        id,
        device,
        action,
        expires,
    })
}

/// Passes on what the device says, in the words of lines.
fn pass(sink: &dyn Sink, device: DeviceIx, output: bridge::Output) {
    let output = match output {
        bridge::Output::Sample { at, readings } => Output::Sample { device, group: 0, at, readings },
        bridge::Output::CommandDone { id, at, result } => Output::CommandDone { id, at, result: line_result(result) },
    };
    // Its samples are small and rare: their buffers are not used again.
    drop(sink.output(output));
}

fn line_result(result: bridge::CommandResult) -> CommandResult {
    match result {
        bridge::CommandResult::Read(readings) => CommandResult::Read(readings),
        bridge::CommandResult::Verified(value) => CommandResult::Verified(value),
        bridge::CommandResult::Acknowledged(read) => CommandResult::Acknowledged(read),
        bridge::CommandResult::Failed(why) => CommandResult::Failed(why),
        bridge::CommandResult::Unknown(why) => CommandResult::Unknown(why, None),
        bridge::CommandResult::Expired => CommandResult::Expired,
        bridge::CommandResult::Refused(why) => CommandResult::Refused(CommandRefusal::Action(why)),
    }
}

/// Whether anything of the box can be read. One line that fails makes no dead device: that is told of the line alone, so
/// that it explains no other line's alarms.
struct Alive {
    points: Vec<bool>,
    told: Option<bool>,
}

impl Alive {
    fn new(points: usize) -> Self {
        Alive { points: vec![false; points], told: None }
    }

    /// Takes what the device says; gives when it came to life or died.
    fn take(&mut self, output: &bridge::Output) -> Option<(Mono, bool)> {
        let bridge::Output::Sample { at, readings } = output else { return None };
        if readings.is_empty() {
            return None;
        }
        for PointReading { point, value, .. } in readings {
            if let Some(slot) = self.points.get_mut(usize::from(point.0)) {
                *slot = !matches!(value, Err(NoData::BusDown | NoData::Timeout));
            }
        }
        let online = self.points.contains(&true);
        (self.told.replace(online) != Some(online)).then_some((*at, online))
    }
}

#[cfg(test)]
mod tests;
