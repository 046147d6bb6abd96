//! Which model a device is: what it is asked for that once it is believed.

use super::finding::{Clash, ClashSign, Finding, Model, Station};
use super::fingerprint::Fingerprint;
use super::heard::Heard;
use super::machine::{Job, Purpose, Scan};
use super::patience::Pace;
use super::question::{Answer, Question};
use crate::cjt188::MeterType;
use crate::cjt188::layout::{HEAT_2004_BYTES, HEAT_2018_BYTES};
use crate::dlt645::Edition;
use crate::modbus::pdu::{Reply, Request};

/// Garbled answers of a device that was believed, after which it is two.
const GARBLED: u8 = 2;
/// Questions of a study that are not answered are asked once more.
const STUDY_TRIES: u8 = 2;
/// Basic identification begins with object 0.
const IDENTIFY: Request = Request::Identify { read_code: 1, object: 0 };

impl Scan {
    /// The next question about the model of a finding.
    pub(super) fn study(&mut self, place: usize, tries: u8) -> Option<Job> {
        let Some(Finding::Found(found)) = self.findings.get(place) else { return None };
        let (station, characters) = (found.station, found.characters);
        let question = match station {
            Station::Modbus(unit) => {
                let framing = self.plan.framing();
                let request = match self.fingerprints.get(&place) {
                    None => IDENTIFY,
                    Some(known) => known.next()?,
                };
                Question::Modbus { framing, unit, request }
            }
            Station::Dlt645(edition, address) => {
                Question::Dlt645 { edition, address, di: Question::second_phase(edition) }
            }
            Station::Cjt188 { .. } | Station::Osdp { .. } | Station::Uhppote(_) => return None,
        };
        Some(Job { question, characters, pace: Pace::Slow, purpose: Purpose::Study(place, tries) })
    }

    pub(super) fn settle_study(&mut self, job: &Job, (place, tries): (usize, u8), heard: &Heard) {
        let answer = heard.answers.first();
        if answer.is_none() && tries < STUDY_TRIES {
            let purpose = Purpose::Study(place, tries + 1);
            self.count_garble(place, heard);
            self.agenda.push_front(Job { purpose, ..job.clone() });
            return;
        }
        self.count_garble(place, heard);
        let Some(Finding::Found(found)) = self.findings.get_mut(place) else { return };
        match (&job.question, answer) {
            (Question::Dlt645 { edition, .. }, answer) => found.model = electricity_model(*edition, answer),
            (Question::Modbus { request, .. }, answer) => {
                let known = self.fingerprints.entry(place).or_insert_with(Fingerprint::new);
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
                found.model = known.model();
                if let Some(job) = self.study(place, 1) {
                    self.agenda.push_front(job);
                }
            }
            (Question::Cjt188 { .. } | Question::Osdp { .. }, _) => {}
        }
    }

    /// Two devices that were in step at first are not for long: values differ.
    fn count_garble(&mut self, place: usize, heard: &Heard) {
        if !heard.is_garbled() && heard.answers.len() < 2 {
            return;
        }
        let garbled = self.garbled.entry(place).or_default();
        *garbled += 1;
        if *garbled < GARBLED {
            return;
        }
        let sign = if heard.is_garbled() { ClashSign::Garbled } else { ClashSign::Twice };
        if let Some(finding) = self.findings.get_mut(place) {
            let (station, characters) = finding.place();
            *finding = Finding::Clash(Clash { station, characters, sign });
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
