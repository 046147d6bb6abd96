//! `gatehouse explain`: from a value to the bytes that it came from.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use gatehouse_drivers::profile::embedded;

use super::{Failure, Where, block_on, exit, load_site, print_json};
use crate::api::{client, doc};
use crate::daemon::device;

/// Arguments of `gatehouse explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The device's id.
    device: String,
    /// The point's name.
    point: String,
    /// Prints the explanation as JSON.
    #[arg(long)]
    json: bool,
}

/// An explanation.
#[derive(Debug, serde::Serialize)]
struct Explanation {
    device: String,
    point: String,
    /// The value as it is delivered, or why there is none.
    value: String,
    /// Where the point is described.
    described: String,
    request: doc::Frame,
    reply: doc::Frame,
    steps: Vec<String>,
}

/// Has the running daemon read the point, and follows its value from the wire.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    super::check_device_id(&args.device)?;
    let site = load_site(&args.at.config)?;
    let found = site.device_by_id(&args.device).map(|(_, device)| device.clone());
    let on_bus = found.and_then(|device| Some((site.buses.get(device.bus?)?, device)));
    let Some((bus, config)) = on_bus else {
        let hint = device::nearest(&args.device, site.devices.iter().map(|device| device.id.as_str()));
        return Err(Failure::error(exit::USAGE, format!("no bus has a device {:?}{hint}", args.device)));
    };
    let points = device::points_by_name(&config, std::slice::from_ref(&args.point));
    points.map_err(|refusal| Failure::error(exit::USAGE, refusal.message))?;
    let Some((_, point)) = config.point_by_name(&args.point) else { return Ok(ExitCode::from(exit::USAGE)) };
    let language = gatehouse_config::language(bus, &config)
        .ok_or_else(|| Failure::error(exit::USAGE, "frames of this protocol cannot be explained"))?;
    let (answer, frames) = block_on(ask(&args.at, bus.id.as_str(), &args.device, &[args.point.as_str()]))?;
    let value = answer.points.first().map(|point| match (&point.value, &point.missing) {
        (Some(value), _) => format!("{value} {}", point.unit).trim_end().to_owned(),
        (None, missing) => format!("no value: {}", missing.as_deref().unwrap_or("unknown")),
    });
    let explained = frames.frames.windows(2).rev().find_map(|pair| {
        let [request, reply] = pair else { return None };
        if !request.sent || reply.sent || request.device.as_deref() != Some(&*args.device) {
            return None;
        }
        let found = gatehouse_drivers::explain::steps(language, &point.spec, &request.raw(), &reply.raw())?;
        Some((request.clone(), reply.clone(), found))
    });
    let Some((request, reply, found)) = explained else {
        let text = format!("{} {}: {}; no reply to explain", args.device, args.point, value.unwrap_or_default());
        return Err(Failure::error(exit::DEVICE, text));
    };
    let explanation = Explanation {
        device: args.device.clone(),
        point: args.point.clone(),
        // Of these bytes: a poll may have come after the read.
        value: found.value,
        described: described(&args.at.config, config.profile.as_deref(), &args.point),
        request,
        reply,
        steps: found.steps,
    };
    if args.json {
        print_json(out, &explanation)?;
    } else {
        show(&explanation, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Has points of a device read now by the running daemon; what was said for it is among the frames of its bus since.
pub(super) async fn ask(
    at: &Where,
    bus: &str,
    device: &str,
    points: &[&str],
) -> anyhow::Result<(doc::ReadAnswer, doc::Frames)> {
    let socket = at.socket();
    let frames = |since: u64| {
        let (socket, path) = (socket.clone(), format!("/api/v1/buses/{bus}/frames?since={since}"));
        async move {
            let answer = client::call(&socket, &path, None).await?;
            Ok::<doc::Frames, anyhow::Error>(serde_json::from_value(answer)?)
        }
    };
    let before = frames(0).await?.last;
    let body = serde_json::json!({ "points": points });
    let answer = client::call(&socket, &format!("/api/v1/devices/{device}/read"), Some(body)).await?;
    Ok((serde_json::from_value(answer)?, frames(before).await?))
}

/// The file and line that describe the point: the site file, or the device's profile.
fn described(config: &Path, profile: Option<&str>, point: &str) -> String {
    let named = |text: &str| {
        let wanted = [format!("name = \"{point}\""), format!("name=\"{point}\"")];
        let line = text.lines().position(|line| wanted.iter().any(|wanted| line.contains(wanted)));
        line.map(|line| line + 1)
    };
    let file = |name: &str| {
        let site: toml::Table = toml::from_str(&std::fs::read_to_string(config).ok()?).ok()?;
        let folder = site.get("site")?.get("profiles")?.as_str()?.to_owned();
        let path = config.parent()?.join(folder).join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).ok()?;
        Some(format!("{}:{}", path.display(), named(&text)?))
    };
    let own = || {
        let text = std::fs::read_to_string(config).ok()?;
        Some(format!("{}:{}", config.display(), named(&text)?))
    };
    let built_in = |name: &str| {
        let profile = embedded().iter().find(|embedded| embedded.name == name)?;
        Some(format!("the built-in profile {name}, line {}", named(profile.text)?))
    };
    let of_profile = profile.and_then(|name| file(name).or_else(|| built_in(name)));
    of_profile.or_else(own).unwrap_or_else(|| "the site file".to_owned())
}

fn show(explanation: &Explanation, out: &mut dyn Write) -> anyhow::Result<()> {
    let Explanation { device, point, value, described, request, reply, steps } = explanation;
    writeln!(out, "{device} {point}: {value}")?;
    writeln!(out, "described in {described}\n")?;
    for (way, frame) in [("request", request), ("reply", reply)] {
        writeln!(out, "{way:<8} {}", frame.bytes)?;
        for field in &frame.fields {
            writeln!(out, "         {:<12} {}", field.name, field.text)?;
        }
    }
    let took = (reply.at_us - request.at_us).max(0) as f64 / 1e3;
    writeln!(out, "         the reply was whole {took:.1} ms after the request was handed to the port\n")?;
    for (at, step) in (1..).zip(steps) {
        writeln!(out, "{at}. {step}")?;
    }
    Ok(())
}
