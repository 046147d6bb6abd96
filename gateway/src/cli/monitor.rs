//! `gatehouse monitor`: what is on the wires of a bus, live.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{Failure, Where, block_on, exit};
use crate::api::{client, doc};
use crate::pcap;

/// How often the daemon is asked: its ring holds more frames than a fast line carries meanwhile.
const OFTEN: Duration = Duration::from_millis(200);

/// Arguments of `gatehouse monitor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The bus's id.
    bus: String,
    /// Shows so many frames and ends; without it until Ctrl-C.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Begins with the frames that the daemon still has.
    #[arg(long)]
    past: bool,
    /// Leaves out the fields of each frame.
    #[arg(long)]
    brief: bool,
    /// Prints one JSON document for each frame.
    #[arg(long, conflicts_with = "brief")]
    json: bool,
    /// Also writes the frames to a file for Wireshark.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

/// Follows a bus through the running daemon, whose polls go on as ever.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    gatehouse_core::Name::new(&args.bus)
        .map_err(|why| Failure::error(exit::USAGE, format!("{:?} is no id of a bus: {why}", args.bus)))?;
    let mut capture = args.pcap.as_deref().map(|path| {
        let cannot = |why| Failure::error(exit::USAGE, format!("--pcap {}: {why}", path.display()));
        File::create(path).and_then(|file| pcap::Writer::new(BufWriter::new(file))).map_err(cannot)
    });
    let mut capture = capture.take().transpose()?;
    block_on(async {
        let ask = |since: u64| async move {
            let path = format!("/api/v1/buses/{}/frames?since={since}", args.bus);
            let answer = client::call(&args.at.socket(), &path, None).await?;
            Ok::<doc::Frames, anyhow::Error>(serde_json::from_value(answer)?)
        };
        let begin = ask(0).await?;
        let mut since = if args.past { 0 } else { begin.last };
        let (mut shown, mut before) = (0, None);
        loop {
            let frames = ask(since).await?;
            // The daemon was started anew, and counts from the beginning.
            if frames.last < since {
                since = 0;
                continue;
            }
            if frames.lost > 0 && since > 0 {
                eprintln!("gatehouse: {} frames went by unseen", frames.lost);
            }
            since = frames.last;
            for frame in &frames.frames {
                if let Some(capture) = &mut capture {
                    capture.frame(frame.at_us, &frame.dissector, &frame.raw())?;
                }
                if args.json {
                    serde_json::to_writer(&mut *out, frame).map_err(std::io::Error::from)?;
                    writeln!(out)?;
                } else {
                    show(frame, before, args.brief, out)?;
                }
                before = Some(frame.at_us);
                shown += 1;
                if args.count.is_some_and(|count| shown >= count) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            out.flush()?;
            tokio::time::sleep(OFTEN).await;
        }
    })
}

/// `10:03:01.123456   +19.2 ms < meter-101  reply`, its bytes below, and below them what they are.
fn show(frame: &doc::Frame, before: Option<i64>, brief: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let time = jiff::Timestamp::from_microsecond(frame.at_us).unwrap_or_default();
    let time = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.6f");
    let gap = before.map(|before| format!("+{:.1} ms", (frame.at_us - before).max(0) as f64 / 1e3)).unwrap_or_default();
    let way = if frame.sent { '>' } else { '<' };
    let device = frame.device.as_deref().unwrap_or("-");
    writeln!(out, "{time} {gap:>12} {way} {device}  {}, {} bytes", frame.verdict, frame.length)?;
    if frame.length > 0 {
        writeln!(out, "    {}", frame.bytes)?;
    }
    if !brief && !frame.fields.is_empty() {
        let fields: Vec<String> = frame.fields.iter().map(|field| format!("{} {}", field.name, field.text)).collect();
        writeln!(out, "    {}", fields.join("; "))?;
    }
    Ok(())
}
