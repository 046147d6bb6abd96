//! The demo as lines, for logs and pipes.

use std::io::Write;
use std::time::Duration;

use super::script::Script;
use super::world::World;
use crate::rig::Link;

/// Time from one line to the next.
const EVERY: Duration = Duration::from_secs(2);
/// Time from one look at the world to the next.
const STEP: Duration = Duration::from_millis(50);

/// Shows the demo until its time is over, or until it is interrupted.
pub(super) fn show(world: &mut World, run_for: Option<Duration>) -> anyhow::Result<()> {
    let mut script = world.script(run_for);
    let (mut next, mut told, mut before) = (Duration::ZERO, 0, 0);
    let over = |world: &World, script: &Option<Script>| {
        run_for.is_some_and(|length| world.began.elapsed() >= length) && script.as_ref().is_none_or(Script::is_over)
    };
    while !world.interrupted() && !over(world, &script) {
        if let Some(script) = &mut script {
            script.play(world);
        }
        world.observe();
        let mut out = std::io::stdout().lock();
        for (at, text) in world.events_since(told) {
            writeln!(out, "{:>5.1} s  * {text}", at.as_secs_f64())?;
        }
        told = world.noted;
        let now = world.began.elapsed();
        if now >= next {
            next += EVERY;
            let values = world.tally.with(|tally| tally.values);
            writeln!(out, "{:>5.1} s  {}", now.as_secs_f64(), line(world, values, values - before))?;
            before = values;
        }
        drop(out);
        std::thread::sleep(STEP);
    }
    Ok(())
}

fn line(world: &World, values: u64, new: u64) -> String {
    let status = world.status();
    let online = status.devices.iter().filter(|device| device.state == "online").count();
    let held: u64 = status.spool.lanes.iter().map(|lane| lane.held).sum();
    let loads: Vec<String> = world
        .site
        .lines
        .iter()
        .filter_map(|(id, _)| status.buses.iter().find(|bus| bus.id == *id))
        .map(|bus| format!("{} {:.0} %", bus.id, bus.load_percent))
        .collect();
    let link = match world.proxy.link() {
        Link::Up => status.uplink.as_ref().map_or("?", |uplink| uplink.state.as_str()).to_owned(),
        Link::Cut => "cut".to_owned(),
        Link::Frozen => "frozen".to_owned(),
    };
    format!(
        "{online}/{} online  {}  link {link}  held {held}  delivered {values} values ({}/s)",
        world.site.devices.len(),
        loads.join("  "),
        new / EVERY.as_secs().max(1),
    )
}
