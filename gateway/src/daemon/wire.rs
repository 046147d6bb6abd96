//! What was on the wires of a bus lately, for the API.

use std::ops::Range;

use gatehouse_drivers::dissect::{self, Language};
use gatehouse_drivers::line::{Direction, TraceFrame};
use gatehouse_drivers::listen::{From, Heard};

use super::run::Daemon;
use crate::api::{Refusal, doc};

impl Daemon {
    /// The frames of a bus after the one with the number `since`, as far as its ring still has them.
    pub(super) fn frames(&self, bus: &str, since: u64) -> Result<doc::Frames, Refusal> {
        let at = self.site.buses.iter().position(|known| known.id == *bus);
        let found = at.and_then(|at| Some((at, self.site.buses.get(at)?, self.buses.get(at)?)));
        let Some((at, config, runtime)) = found else {
            let hint = super::device::nearest(bus, self.site.buses.iter().map(|bus| bus.id.as_str()));
            return Err(Refusal::new(404, "unknown_bus", format!("the site has no bus {bus:?}{hint}")));
        };
        let mut languages = self.site.devices_on(at).map(|(_, device)| gatehouse_config::language(config, device));
        let first = languages.next().flatten();
        // Bytes that nobody waited for are read as what everybody speaks here.
        let common = first.filter(|first| languages.all(|other| other == Some(*first)));
        let line = runtime.handle.line.borrow();
        let oldest = line.frames().next().map_or(since, |frame| frame.seq.saturating_sub(1));
        let told = |frame: &TraceFrame| {
            let known = frame.device.and_then(|ix| {
                let speaks = |device: &mut super::device::DeviceRuntime| {
                    (device.config.id.to_string(), gatehouse_config::language(config, &device.config))
                };
                self.hub.with(ix, speaks)
            });
            let (device, language) = known.map_or((None, common), |(id, language)| (Some(id), language));
            frame_doc(frame, device, language, self.hub.clock.stamp(frame.at).wall.0)
        };
        let frames: Vec<doc::Frame> = line.frames().filter(|frame| frame.seq > since).map(told).collect();
        let last = frames.last().map_or(since, |frame| frame.seq);
        Ok(doc::Frames { bus: bus.to_owned(), last, lost: oldest.saturating_sub(since), frames })
    }
}

/// A frame that somebody else sent, as whoever only listens tells it. What holds a password, a key, a card or what was
/// typed is told by its length alone.
pub(crate) fn heard_doc(seq: u64, at_us: i64, heard: &Heard) -> doc::Frame {
    let (sent, verdict) = match heard.from {
        From::Master => (true, "request"),
        From::Device => (false, "reply"),
        From::Nobody => (false, "noise"),
    };
    let secret = heard.is_secret;
    let fields = heard.language.filter(|_| !secret).map(|language| dissect::fields(language, sent, &heard.bytes));
    doc::Frame {
        seq,
        at_us,
        sent,
        device: None,
        verdict: if secret { format!("{verdict}, not shown: it holds a secret") } else { verdict.to_owned() },
        length: heard.bytes.len(),
        bytes: if secret { String::new() } else { dissect::hex(&heard.bytes) },
        dissector: heard.language.map(Language::dissector).unwrap_or_default().to_owned(),
        fields: fields_doc(fields),
    }
}

fn fields_doc(fields: Option<Vec<dissect::Field>>) -> Vec<doc::Field> {
    let told = |field: dissect::Field| doc::Field {
        name: field.name.to_owned(),
        text: field.text,
        from: field.bytes.start,
        to: field.bytes.end,
    };
    fields.into_iter().flatten().map(told).collect()
}

/// The fields of a frame of which bytes are blotted out; where nobody knows how to take it apart, which bytes.
fn concealed(language: Option<Language>, sent: bool, bytes: &[u8], range: &Range<usize>) -> Vec<dissect::Field> {
    let told = language.map(|language| dissect::concealed_fields(language, sent, bytes, range)).unwrap_or_default();
    match told.iter().any(|field| field.bytes.end > range.start) {
        true => told,
        false => vec![dissect::Field { bytes: range.clone(), name: "data", text: "concealed".to_owned() }],
    }
}

fn frame_doc(frame: &TraceFrame, device: Option<String>, language: Option<Language>, at_us: i64) -> doc::Frame {
    let sent = frame.direction == Direction::Sent;
    let whole = frame.bytes().len() == frame.length;
    let known = language.filter(|_| whole && frame.length > 0);
    let fields = match &frame.concealed {
        None => known.map(|language| dissect::fields(language, sent, frame.bytes())),
        Some(range) => Some(concealed(known, sent, frame.bytes(), range)),
    };
    doc::Frame {
        seq: frame.seq,
        at_us,
        sent,
        device,
        verdict: frame.verdict.to_string(),
        length: frame.length,
        bytes: dissect::hex(frame.bytes()),
        dissector: language.map(Language::dissector).unwrap_or_default().to_owned(),
        fields: fields_doc(fields),
    }
}
