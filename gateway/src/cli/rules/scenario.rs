//! A file of rule tests: as it is written, and as it is played.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatehouse_core::{DeviceIx, Mono, NoData, PointReading, Value};
use gatehouse_drivers::profile::keys::{did_you_mean, line_and_column};
use gatehouse_rules::Catalog;
use gatehouse_rules::words::{AlarmId, AlarmState};
use serde::Deserialize;
use toml::Spanned;

use super::super::{Failure, exit};
use super::series::{self, Item};

/// A test file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: PathBuf,
    every: Option<Spanned<String>>,
    #[serde(default)]
    test: Vec<WrittenTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTest {
    name: String,
    #[serde(default)]
    input: Vec<Spanned<WrittenInput>>,
    #[serde(default)]
    act: Vec<WrittenAct>,
    #[serde(default)]
    expect: Vec<Spanned<WrittenExpect>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenInput {
    point: Option<Spanned<String>>,
    device: Option<Spanned<String>>,
    #[serde(default)]
    link: bool,
    values: Spanned<String>,
    every: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAct {
    at: Spanned<String>,
    alarm: Spanned<String>,
    #[serde(rename = "do")]
    action: Action,
    minutes: Option<u32>,
}

/// What a person may do in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Acknowledge,
    Reset,
    Shelve,
    Unshelve,
    RemoveFromService,
    ReturnToService,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Action::Acknowledge => "acknowledge",
            Action::Reset => "reset",
            Action::Shelve => "shelve",
            Action::Unshelve => "unshelve",
            Action::RemoveFromService => "remove_from_service",
            Action::ReturnToService => "return_to_service",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpect {
    at: Spanned<String>,
    alarm: Option<Spanned<String>>,
    state: Option<AlarmState>,
    message: Option<String>,
    pending: Option<bool>,
    occurrences: Option<u64>,
    alarms: Option<Vec<Spanned<String>>>,
}

/// One test, checked.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) instants: BTreeMap<Mono, Instant>,
}

/// Everything that happens at one instant, in the order in which it happens.
#[derive(Debug, Default)]
pub(super) struct Instant {
    pub(super) link: Option<bool>,
    pub(super) online: BTreeMap<DeviceIx, bool>,
    pub(super) readings: BTreeMap<DeviceIx, Vec<PointReading>>,
    pub(super) acts: Vec<Act>,
    pub(super) expects: Vec<Expect>,
}

/// What a person does.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) alarm: AlarmId,
    pub(super) action: Action,
    pub(super) minutes: Option<u32>,
}

/// What is expected.
#[derive(Debug)]
pub(super) enum Expect {
    /// One alarm is as described.
    Alarm {
        id: AlarmId,
        state: Option<AlarmState>,
        message: Option<String>,
        pending: Option<bool>,
        occurrences: Option<u64>,
    },
    /// These alarms, and no others, are in a state other than normal.
    All(Vec<AlarmId>),
}

/// A test file, read.
#[derive(Debug)]
pub(super) struct Scenarios {
    name: String,
    text: String,
    file: File,
}

impl Scenarios {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let bad = |why: String| Failure::error(exit::CONFIGURATION, format!("{name}: {why}"));
        let text = std::fs::read_to_string(path).map_err(|why| bad(format!("cannot be read: {why}")))?;
        let file: File = toml::from_str(&text).map_err(|why| bad(why.to_string()))?;
        let scenarios = Scenarios { text, file, name };
        if scenarios.file.test.is_empty() {
            return Err(scenarios.wrong(0..0, "there is no [[test]] in this file"));
        }
        Ok(scenarios)
    }

    /// The site file whose rules are tested; it is named from the folder of the test file.
    pub(super) fn site(&self, path: &Path) -> PathBuf {
        path.parent().unwrap_or(Path::new("")).join(&self.file.site)
    }

    /// The tests, checked against the site.
    pub(super) fn tests(&self, catalog: &Catalog, alarms: &[AlarmId]) -> anyhow::Result<Vec<Test>> {
        self.file.test.iter().map(|test| self.test(test, catalog, alarms)).collect()
    }

    fn test(&self, written: &WrittenTest, catalog: &Catalog, alarms: &[AlarmId]) -> anyhow::Result<Test> {
        let mut instants: BTreeMap<Mono, Instant> = BTreeMap::new();
        for input in &written.input {
            self.input(input, catalog, &mut instants)?;
        }
        for act in &written.act {
            let alarm = self.alarm(&act.alarm, alarms)?;
            if (act.action == Action::Shelve) != act.minutes.is_some() {
                return Err(self.wrong(act.alarm.span(), "`minutes` goes with do = \"shelve\", and with nothing else"));
            }
            let at = instants.entry(self.time(&act.at)?).or_default();
            at.acts.push(Act { alarm, action: act.action, minutes: act.minutes });
        }
        if written.expect.is_empty() {
            return Err(
                self.wrong(0..0, &format!("the test {:?} expects nothing: add a [[test.expect]]", written.name))
            );
        }
        for expect in &written.expect {
            let (span, expect) = (expect.span(), expect.get_ref());
            let expected = self.expect(span, expect, alarms)?;
            instants.entry(self.time(&expect.at)?).or_default().expects.push(expected);
        }
        Ok(Test { name: written.name.clone(), instants })
    }

    fn expect(&self, span: Range<usize>, written: &WrittenExpect, alarms: &[AlarmId]) -> anyhow::Result<Expect> {
        let WrittenExpect { alarm, state, message, pending, occurrences, alarms: all, .. } = written;
        let says = state.is_some() || message.is_some() || pending.is_some() || occurrences.is_some();
        match (alarm, all, says) {
            (Some(alarm), None, true) => {
                let id = self.alarm(alarm, alarms)?;
                let (state, message) = (*state, message.clone());
                Ok(Expect::Alarm { id, state, message, pending: *pending, occurrences: *occurrences })
            }
            (Some(_), None, false) => {
                Err(self.wrong(span, "say what is expected: state, message, pending or occurrences"))
            }
            (None, Some(all), false) => {
                let mut ids = all.iter().map(|alarm| self.alarm(alarm, alarms)).collect::<anyhow::Result<Vec<_>>>()?;
                ids.sort();
                Ok(Expect::All(ids))
            }
            (Some(_), Some(_), _) | (None, _, _) => {
                let message = "name one alarm (alarm = \"CLASS/SOURCE\" with state, message, pending or occurrences), or all \
                               that are not normal (alarms = [...])";
                Err(self.wrong(span, message))
            }
        }
    }

    fn input(
        &self,
        written: &Spanned<WrittenInput>,
        catalog: &Catalog,
        instants: &mut BTreeMap<Mono, Instant>,
    ) -> anyhow::Result<()> {
        let (span, input) = (written.span(), written.get_ref());
        let every = match input.every.as_ref().or(self.file.every.as_ref()) {
            Some(every) => self.time(every)?,
            None => Mono::from_millis(60_000),
        };
        if every == Mono(0) {
            return Err(self.wrong(span, "`every` must be more than 0s"));
        }
        let items = series::parse(input.values.get_ref())
            .map_err(|wrong| self.wrong(self.inside(&input.values, wrong.span), &wrong.message))?;
        let spans = (0u64..).zip(items).map(|(at, item)| (Mono(every.0.saturating_mul(at)), item));
        match (&input.point, &input.device, input.link) {
            (Some(point), None, false) => {
                let (device, at, kind) = self.point(point, catalog)?;
                for (time, item) in spans {
                    let value = match item {
                        Item::Nothing => continue,
                        Item::NoData => Err(NoData::Timeout),
                        Item::Value(text) => Ok(Value::parse(kind, &text).map_err(|why| {
                            self.wrong(
                                input.values.span(),
                                &format!("{text:?} is no value of {}: {why}", point.get_ref()),
                            )
                        })?),
                    };
                    let readings = instants.entry(time).or_default().readings.entry(device).or_default();
                    readings.push(PointReading::new(at, value));
                }
            }
            (None, Some(device), false) => {
                let ix = self.device(device, device.get_ref(), catalog)?;
                for (time, item) in spans {
                    if let Some(online) = self.word(input, item, ("online", "offline"))? {
                        instants.entry(time).or_default().online.insert(ix, online);
                    }
                }
            }
            (None, None, true) => {
                for (time, item) in spans {
                    if let Some(up) = self.word(input, item, ("up", "down"))? {
                        instants.entry(time).or_default().link = Some(up);
                    }
                }
            }
            _ => {
                let message = "an input is one of point = \"DEVICE/POINT\", device = \"DEVICE\" and link = true";
                return Err(self.wrong(span, message));
            }
        }
        Ok(())
    }

    fn word(&self, input: &WrittenInput, item: Item, (yes, no): (&str, &str)) -> anyhow::Result<Option<bool>> {
        match item {
            Item::Nothing => Ok(None),
            Item::Value(text) if text == yes => Ok(Some(true)),
            Item::Value(text) if text == no => Ok(Some(false)),
            Item::NoData | Item::Value(_) => {
                Err(self
                    .wrong(input.values.span(), &format!("this series has the words {yes}, {no} and . (no change)")))
            }
        }
    }

    fn device(&self, written: &Spanned<String>, id: &str, catalog: &Catalog) -> anyhow::Result<DeviceIx> {
        catalog.device_by_id(id).map(|(ix, _)| ix).ok_or_else(|| {
            let all: Vec<&str> = catalog.devices.iter().map(|device| device.id.as_str()).collect();
            self.wrong(written.span(), &format!("the site has no device `{id}`: {}", did_you_mean(id, &all)))
        })
    }

    fn point(
        &self,
        written: &Spanned<String>,
        catalog: &Catalog,
    ) -> anyhow::Result<(DeviceIx, gatehouse_core::PointIx, gatehouse_core::Kind)> {
        let Some((id, name)) = written.get_ref().split_once('/') else {
            return Err(self.wrong(written.span(), "write a point as DEVICE/POINT, for example meter-101/voltage_l1"));
        };
        let ix = self.device(written, id, catalog)?;
        let found = catalog.device(ix).and_then(|device| device.point_by_name(name));
        let (point, config) = found.ok_or_else(|| {
            let points = catalog.device(ix).map(|device| device.points.as_slice()).unwrap_or_default();
            let all: Vec<&str> = points.iter().map(|point| point.name.as_str()).collect();
            self.wrong(written.span(), &format!("{id} has no point `{name}`: {}", did_you_mean(name, &all)))
        })?;
        Ok((ix, point, config.kind))
    }

    fn alarm(&self, written: &Spanned<String>, alarms: &[AlarmId]) -> anyhow::Result<AlarmId> {
        let id =
            AlarmId::try_from(written.get_ref().clone()).map_err(|why| self.wrong(written.span(), &why.to_string()))?;
        if !alarms.contains(&id) {
            let all: Vec<String> = alarms.iter().map(ToString::to_string).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let near = gatehouse_drivers::profile::keys::nearest(written.get_ref(), all.iter().copied());
            let help = near.map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            return Err(self.wrong(written.span(), &format!("the site has no alarm `{id}`{help}")));
        }
        Ok(id)
    }

    fn time(&self, written: &Spanned<String>) -> anyhow::Result<Mono> {
        let span: Option<Duration> = series::duration(written.get_ref());
        let help = "is no time: write it like \"90s\" or \"1m30s\", up to 366d";
        let span = span.ok_or_else(|| self.wrong(written.span(), &format!("{:?} {help}", written.get_ref())))?;
        Ok(Mono(0) + span)
    }

    /// The place of a part of a text without escapes; of the whole text otherwise.
    fn inside(&self, written: &Spanned<String>, part: Range<usize>) -> Range<usize> {
        let span = written.span();
        let plain = span.end - span.start == written.get_ref().len() + 2;
        if plain { span.start + 1 + part.start..span.start + 1 + part.end } else { span }
    }

    fn wrong(&self, span: Range<usize>, message: &str) -> anyhow::Error {
        let (line, column) = line_and_column(&self.text, span.start);
        Failure::error(exit::CONFIGURATION, format!("{}:{line}:{column}: {message}", self.name))
    }
}
