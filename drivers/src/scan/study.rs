//! Which model a device is: what it is asked for that once it is believed.

use std::time::Duration;

use super::finding::{ClashSign, Finding, Model, Station};
use super::fingerprint::Fingerprint;
use super::heard::Heard;
use super::job::{Job, Purpose};
use super::machine::Scan;
use super::patience::Pace;
use super::question::{Answer, Question};
use super::quiet::Doubt;
use crate::cjt188::MeterType;
use crate::cjt188::layout::{HEAT_2004_BYTES, HEAT_2018_BYTES};
use crate::dlt645::Edition;
use crate::modbus::pdu::{Reply, Request};

/// One and the same read was so often garbled or answered twice: then a device that was believed is two.
const TROUBLES: u8 = 3;
/// Questions of a study that are not answered are asked once more.
const STUDY_TRIES: u8 = 2;
/// Who takes longer to answer is hardly heard by drivers as they are set without a `timeout` in the site file, one second.
const SLOW: Duration = Duration::from_millis(800);
/// Basic identification begins with object 0.
const IDENTIFY: Request = Request::Identify { read_code: 1, object: 0 };

/// What is known of the model of one finding.
#[derive(Debug, Clone)]
pub(super) struct Study {
    /// How long its answers are waited for.
    pace: Pace,
    /// `None`: it was not asked who it is.
    fingerprint: Option<Fingerprint>,
}

impl Scan {
    /// Asks for the model of a finding, before anything else.
    pub(super) fn begin_study(&mut self, place: usize, pace: Pace) {
        self.studies.insert(place, Study { pace: pace.max(Pace::Slow), fingerprint: None });
        match self.study(place) {
            Some(job) => self.agenda.push_front(job),
            None => self.tell_slow(place),
        }
    }

    /// The next question about the model of a finding; `None`: there is none.
    fn study(&self, place: usize) -> Option<Job> {
        let Some(Finding::Found(found)) = self.findings.get(place) else { return None };
        let Study { pace, fingerprint } = self.studies.get(&place)?;
        let question = match found.station {
            Station::Modbus(unit) => {
                let request = match fingerprint {
                    None => IDENTIFY,
                    Some(known) => known.next()?,
                };
                Question::Modbus { framing: self.plan.framing(), unit, request }
            }
            Station::Dlt645(edition, address) => {
                Question::Dlt645 { edition, address, di: Question::second_phase(edition) }
            }
            Station::Cjt188 { .. } | Station::Osdp { .. } | Station::Uhppote(_) => return None,
        };
        let purpose = Purpose::Study { place, tries: 1, troubles: 0 };
        Some(Job::new(question, found.characters, *pace, purpose))
    }

    /// Judges an answer about a model. `asked`: how often this question was asked without trouble, and how often with it.
    pub(super) fn settle_study(&mut self, job: &Job, place: usize, asked: (u8, u8), heard: &Heard) {
        let (tries, troubles) = (asked.0, asked.1 + u8::from(heard.is_trouble()));
        let answer = heard.answers.first().filter(|_| !heard.is_trouble());
        let tries = match (answer, heard.is_trouble()) {
            (Some(_), _) => None,
            (None, true) => (troubles < TROUBLES).then_some(tries),
            (None, false) => (tries < STUDY_TRIES).then_some(tries + 1),
        };
        if let Some(tries) = tries {
            let purpose = Purpose::Study { place, tries, troubles };
            self.agenda.push_front(Job { purpose, ..job.clone() });
            return;
        }
        // Two devices that were in step at first are not for long: values differ. Who it is some devices tell in a manner of
        // their own, which proves nothing.
        let is_read = !matches!(job.question, Question::Modbus { request: IDENTIFY, .. });
        if troubles >= TROUBLES && is_read {
            let sign = if heard.is_garbled() { ClashSign::Garbled } else { ClashSign::Twice };
            if let Some((station, _)) = self.findings.get(place).map(Finding::place) {
                self.prove(job, Doubt { place: Some(place), ..Doubt::new(job, station, sign) });
            }
            return;
        }
        self.learn_model(&job.question, place, answer);
    }

    /// Takes the answer to a question about a model, or that there is none.
    pub(super) fn learn_model(&mut self, question: &Question, place: usize, answer: Option<&Answer>) {
        let Some(Finding::Found(found)) = self.findings.get_mut(place) else { return };
        match question {
            Question::Dlt645 { edition, .. } => {
                let model = electricity_model(*edition, answer);
                self.tell_model(place, model);
            }
            Question::Modbus { request, .. } => {
                let Some(study) = self.studies.get_mut(&place) else { return };
                let known = study.fingerprint.get_or_insert_with(Fingerprint::new);
                match (request, answer) {
                    (Request::Identify { .. }, Some(Answer::Modbus { reply: Reply::Identification(told), .. })) => {
                        let text = |text: &[u8]| {
                            String::from_utf8_lossy(text).trim_matches(['\0', ' ']).chars().take(80).collect::<String>()
                        };
                        known.identity = told.objects.iter().map(|(number, bytes)| (*number, text(bytes))).collect();
                        let named = |(number, text): &(u8, String)| {
                            (!text.is_empty()).then(|| (object_name(*number), text.clone()))
                        };
                        found.identity.extend(known.identity.iter().filter_map(named));
                    }
                    (Request::Read { .. }, Some(Answer::Modbus { reply: Reply::Registers { registers, .. }, .. })) => {
                        known.handle(request, Some(registers), false);
                    }
                    (Request::Read { .. }, answer) => known.handle(request, None, answer.is_none()),
                    (
                        Request::Identify { .. }
                        | Request::WriteCoil { .. }
                        | Request::WriteRegister { .. }
                        | Request::WriteCoils { .. }
                        | Request::WriteRegisters { .. }
                        | Request::MaskWrite { .. }
                        | Request::ReadWrite { .. },
                        _,
                    ) => {}
                }
                let model = known.model();
                match self.study(place) {
                    Some(job) => self.agenda.push_front(job),
                    None => self.tell_model(place, model),
                }
            }
            Question::Cjt188 { .. } | Question::Osdp { .. } => {}
        }
    }

    fn tell_model(&mut self, place: usize, model: Model) {
        if let Some(Finding::Found(found)) = self.findings.get_mut(place) {
            found.model = model;
        }
        self.tell_slow(place);
    }

    /// Says of who takes long to answer that the site file has to allow for that.
    fn tell_slow(&mut self, place: usize) {
        if let Some(Finding::Found(found)) = self.findings.get_mut(place)
            && self.turnaround > SLOW
        {
            let ms = self.turnaround.as_millis();
            found
                .identity
                .push(("answers".to_owned(), format!("{ms} ms after it was asked: give it a longer `timeout`")));
        }
    }
}

/// The name of an object of basic identification.
fn object_name(number: u8) -> String {
    match number {
        0 => "vendor".to_owned(),
        1 => "product_code".to_owned(),
        2 => "revision".to_owned(),
        other => format!("object_{other}"),
    }
}

/// The profile of an electricity meter, by its answer to a question for the voltage of phase B.
fn electricity_model(edition: Edition, answer: Option<&Answer>) -> Model {
    let (one, three) = match edition {
        Edition::V1997 => ("dlt645-1997-1p", "dlt645-1997-3p"),
        Edition::V2007 => ("dlt645-2007-1p", "dlt645-2007-3p"),
    };
    match answer {
        Some(Answer::Dlt645 { data: Some(data), .. }) if data.iter().any(|byte| *byte != 0xFF) => Model::Known(three),
        Some(Answer::Dlt645 { .. }) => Model::Known(one),
        Some(Answer::Modbus { .. } | Answer::Cjt188 { .. } | Answer::Osdp { .. }) | None => {
            Model::OneOf(vec![one, three])
        }
    }
}

/// The profile of a water, heat or gas meter, by its type and by how much it tells of 901F.
pub(super) fn pipe_model(meter_type: MeterType, payload: Option<usize>) -> Model {
    match meter_type.0 {
        0x10 | 0x12 | 0x13 => Model::Known("cjt188-cold-water"),
        0x11 => Model::Known("cjt188-hot-water"),
        0x30 => Model::Known("cjt188-gas"),
        0x20..=0x22 if payload == Some(HEAT_2004_BYTES) => Model::Known("cjt188-heat-2004"),
        0x20..=0x22 if payload == Some(HEAT_2018_BYTES) => Model::Known("cjt188-heat-2018"),
        0x20..=0x22 => Model::OneOf(vec!["cjt188-heat-2004", "cjt188-heat-2018"]),
        _ => Model::Unknown,
    }
}
