//! `gatehouse monitor`: what is on the wires of a bus, live.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{Failure, Where, block_on, exit, load_site};
use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::daemon::direct;
use crate::pcap;

/// How often the daemon is asked: its ring holds more frames than a fast line carries meanwhile.
const OFTEN: Duration = Duration::from_millis(200);

const HELP: &str = "\
Through the running daemon it shows what the daemon sends and hears, and the polls go on as ever. Where no daemon runs, it \
opens the port itself and only listens: it sends nothing, and shows what other masters and their devices say, as far as \
they use the line settings of the port. That is of use on serial lines and serial servers; on Modbus TCP and UDP nobody \
else is heard. Passwords and keys are never shown, nor are cards and what is typed at a reader: the bytes are 0, and the \
fields say `concealed`.";

/// Arguments of `gatehouse monitor`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    at: Where,
    /// The bus's id.
    bus: String,
    /// Shows so many frames and ends; without it until Ctrl-C.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Begins with the frames that the daemon still has; without a daemon there are none.
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

/// Follows a bus through the running daemon, whose polls go on as ever; where none runs, by listening to its port.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    gatehouse_core::Name::new(&args.bus)
        .map_err(|why| Failure::error(exit::USAGE, format!("{:?} is no id of a bus: {why}", args.bus)))?;
    let create = |path: &Path| {
        let cannot = |why| Failure::error(exit::USAGE, format!("--pcap {}: {why}", path.display()));
        File::create(path).and_then(|file| pcap::Writer::new(BufWriter::new(file))).map_err(cannot)
    };
    let capture = args.pcap.as_deref().map(create).transpose()?;
    let mut screen = Screen { args, capture, out, shown: 0, before: None };
    block_on(async {
        match follow(args, &mut screen).await {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NoDaemon(_))) => {
                let site = load_site(&args.at.config)?;
                eprintln!("gatehouse: no daemon runs: listening to the port of {}, sending nothing", args.bus);
                direct::listen(&site, &args.bus, |frame| screen.show(&frame)).await
            }
            done => done,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the frames that the daemon tells of, until there are enough.
async fn follow(args: &Args, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let ask = |since: u64| async move {
        let path = format!("/api/v1/buses/{}/frames?since={since}", args.bus);
        let answer = client::call(&args.at.socket(), &path, None).await?;
        Ok::<doc::Frames, anyhow::Error>(serde_json::from_value(answer)?)
    };
    let begin = ask(0).await?;
    let mut since = if args.past { 0 } else { begin.last };
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
            if !screen.show(frame)? {
                return Ok(());
            }
        }
        tokio::time::sleep(OFTEN).await;
    }
}

/// Where frames are shown.
struct Screen<'a> {
    args: &'a Args,
    capture: Option<pcap::Writer<BufWriter<File>>>,
    out: &'a mut dyn Write,
    shown: u64,
    /// When the last frame was there.
    before: Option<i64>,
}

impl Screen<'_> {
    /// Shows a frame; false once there are enough.
    fn show(&mut self, frame: &doc::Frame) -> anyhow::Result<bool> {
        if let Some(capture) = &mut self.capture {
            capture.frame(frame.at_us, &frame.dissector, &frame.raw())?;
        }
        if self.args.json {
            serde_json::to_writer(&mut *self.out, frame).map_err(std::io::Error::from)?;
            writeln!(self.out)?;
        } else {
            show(frame, self.before, self.args.brief, self.out)?;
        }
        self.out.flush()?;
        self.before = Some(frame.at_us);
        self.shown += 1;
        Ok(self.args.count.is_none_or(|count| self.shown < count))
    }
}

/// `10:03:01.123456   +19.2 ms < meter-101  reply`, its bytes below, and below them what they are.
fn show(frame: &doc::Frame, before: Option<i64>, brief: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let time = jiff::Timestamp::from_microsecond(frame.at_us).unwrap_or_default();
    let time = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.6f");
    let gap = before.map(|before| format!("+{:.1} ms", (frame.at_us - before).max(0) as f64 / 1e3)).unwrap_or_default();
    let way = if frame.sent { '>' } else { '<' };
    let device = frame.device.as_deref().unwrap_or("-");
    writeln!(out, "{time} {gap:>12} {way} {device}  {}, {} bytes", frame.verdict, frame.length)?;
    if !frame.bytes.is_empty() {
        writeln!(out, "    {}", frame.bytes)?;
    }
    if !brief && !frame.fields.is_empty() {
        let fields: Vec<String> = frame.fields.iter().map(|field| format!("{} {}", field.name, field.text)).collect();
        writeln!(out, "    {}", fields.join("; "))?;
    }
    Ok(())
}
