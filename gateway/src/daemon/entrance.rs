//! What people and cameras bring to the API about access: presentations, visitor codes, and the state of credentials.

use gatehouse_rules::access::plate::PlateColour;
use gatehouse_rules::access::wiegand::{Bits, Card, Format};
use gatehouse_rules::access::{CodeOrder, IssueError, Proof};
use gatehouse_rules::engine::{Admission, Setup};
use gatehouse_rules::words::HolderClass;
use gatehouse_rules::{Access, Engine};
use serde::Deserialize;
use serde_json::{Value, json};

use super::credentials::random;
use super::run::Daemon;
use crate::api::{Answer, Refusal};

/// What was shown at a reader: one of the three, a card maybe with its PIN.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    card: Option<ShownCard>,
    pin: Option<String>,
    plate: Option<ShownPlate>,
    code: Option<String>,
}

/// A card: by its bits, or by what its format says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownCard {
    /// The bits as a text of 0 and 1, the first one first.
    bits: Option<String>,
    format: Option<String>,
    facility: Option<u32>,
    number: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownPlate {
    text: String,
    confidence: u8,
    colour: Option<PlateColour>,
}

/// The visitor code that a guard wants.
#[derive(Debug, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case", deny_unknown_fields)]
enum Wanted {
    Pin {},
    Signed {
        #[serde(default = "visitor")]
        class: HolderClass,
        #[serde(default)]
        gates: Vec<String>,
        #[serde(default)]
        groups: Vec<String>,
        /// In seconds since 1970; now, if it is not said.
        from: Option<u32>,
        /// How long it is valid, in seconds.
        for_s: u32,
    },
}

fn visitor() -> HolderClass {
    HolderClass::Visitor
}

fn bad_body(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, "bad_body", format!("the request's body: {why}"))
}

impl Daemon {
    /// Something was shown at a reader.
    pub(super) fn present(&self, reader: &str, body: &[u8]) -> Result<Answer, Refusal> {
        let proof = proof(body, &self.site.rules).map_err(bad_body)?;
        let mut admission = None;
        self.hub.decide(|engine, now| admission = engine.handle_presented(now, reader, proof));
        let known = || Refusal::new(404, "unknown_reader", format!("the site has no reader {reader:?}"));
        Ok(Answer::Json(told(&admission.ok_or_else(known)?)))
    }

    /// A guard wants a code for a visitor.
    pub(super) fn issue_code(&self, body: &[u8], by: &str) -> Result<Answer, Refusal> {
        let wanted: Wanted = serde_json::from_slice(body).map_err(bad_body)?;
        let second = u32::try_from(self.hub.clock.now().wall.0.div_euclid(1_000_000)).unwrap_or(u32::MAX);
        let order = match wanted {
            Wanted::Pin {} => CodeOrder::Pin,
            Wanted::Signed { class, gates, groups, from, for_s } => {
                let from = from.unwrap_or(second);
                CodeOrder::Signed { class, gates, groups, from, until: from.saturating_add(for_s) }
            }
        };
        let mut made = None;
        self.hub.decide(|engine, now| {
            let serial = u64::from_be_bytes(random());
            made = engine.handle_access(now, |access, now| access.handle_issue(now, &order, serial, by));
        });
        let made =
            made.ok_or_else(|| Refusal::new(409, "no_access", "the site has no [access], or its keys cannot be read"))?;
        made.map(|code| Answer::Json(json!({ "text": code.text, "who": code.who, "until": code.until })))
            .map_err(|why| refusal(&why))
    }
}

fn refusal(why: &IssueError) -> Refusal {
    let (status, code) = match why {
        IssueError::NoClock => (409, "time_unknown"),
        IssueError::NoKey(_) => (409, "no_key"),
        IssueError::Time { .. } => (422, "bad_time"),
        IssueError::Targets(_) => (422, "bad_targets"),
        IssueError::Unknown(_) => (422, "unknown_gate"),
    };
    Refusal::new(status, code, why.to_string())
}

fn proof(body: &[u8], setup: &Setup) -> Result<Proof, String> {
    let shown: Shown = serde_json::from_slice(body).map_err(|why| why.to_string())?;
    match shown {
        Shown { card: Some(card), pin, plate: None, code: None } => {
            let (bits, format) = card_bits(card, setup)?;
            Ok(match pin {
                Some(pin) => Proof::CardAndPin { bits, format, pin },
                None => Proof::Card { bits, format },
            })
        }
        Shown { card: None, pin: None, plate: Some(plate), code: None } => {
            Ok(Proof::Plate { text: plate.text, confidence: plate.confidence.min(100), colour: plate.colour })
        }
        Shown { card: None, pin: None, plate: None, code: Some(code) } => Ok(Proof::Code(code)),
        _ => Err("one of card (maybe with pin), plate and code".to_owned()),
    }
}

fn card_bits(card: ShownCard, setup: &Setup) -> Result<(Bits, Option<String>), String> {
    match card {
        ShownCard { bits: Some(bits), format, facility: None, number: None } => {
            Ok((Bits::parse(&bits).map_err(|why| why.to_string())?, format))
        }
        ShownCard { bits: None, format: Some(name), facility, number: Some(number) } => {
            let own = setup.access.iter().flat_map(|access| access.formats.iter().cloned());
            let format = Format::built_in().into_iter().chain(own).find(|format| format.name() == name);
            let format = format.ok_or_else(|| format!("there is no format {name:?}"))?;
            let bits = format.encode(Card { facility, number }).map_err(|why| why.to_string())?;
            Ok((bits, Some(name)))
        }
        _ => Err("a card is told by bits, or by format and number (and facility)".to_owned()),
    }
}

fn told(admission: &Admission) -> Value {
    match admission {
        Admission::Decided(verdict) => json!({
            "request": verdict.request.0, "decided": true, "allowed": verdict.allowed, "reason": verdict.reason,
            "decided_by": verdict.decided_by,
        }),
        Admission::Asked(request) => json!({ "request": request.0, "decided": false }),
        Admission::Duplicate(request) => json!({ "request": request.0, "duplicate": true }),
        Admission::Patrol { known } => json!({ "known": known }),
    }
}

/// The state of credentials, as a document of the API.
pub(super) fn document(engine: &Engine) -> Value {
    let Some(access) = engine.access().map(Access::view) else { return json!({ "credentials": 0, "version": null }) };
    let time = |second: Option<u32>| {
        second.and_then(|second| jiff::Timestamp::from_second(i64::from(second)).ok()).map(|time| time.to_string())
    };
    let stats = access.stats;
    json!({
        "version": access.version,
        "created": time(access.created),
        "expires_at": time(access.expires_at),
        "credentials": access.credentials,
        "zones": access.zones.iter().map(|(zone, inside, capacity)| {
            json!({ "zone": zone, "inside": inside, "capacity": capacity })
        }).collect::<Vec<_>>(),
        "closed_readers": access.closed_readers.iter().map(|(reader, _)| reader.as_deref().unwrap_or("all")).collect::<Vec<_>>(),
        "asked": access.asked,
        "missed_cards": engine.missed_cards(),
        "duplicates": stats.duplicates,
        "unanswered": stats.unanswered,
        "unasked": stats.unasked,
        "late_answers": stats.late_answers,
        "not_authentic": stats.not_authentic,
        "forgotten_holders": stats.forgotten_holders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        let text = "[site]\nid = \"box\"\ntimezone = \"UTC\"\n[[bus]]\nid = \"plant\"\ntcp = \"127.0.0.1:502\"\n\
                    [[device]]\nid = \"meter\"\nbus = \"plant\"\nunit = 1\nprofile = \"acrel-adl400\"\npoints = [\"voltage_l1\"]\n";
        let library = gatehouse_drivers::profile::Library::new();
        let site = gatehouse_config::check("site.toml", text, std::path::Path::new("."), &library).unwrap().site;
        (*site.rules).clone()
    }

    #[test]
    fn what_was_shown_is_read_or_refused_with_its_reason() {
        let setup = setup();
        let read = |text: &str| proof(text.as_bytes(), &setup);
        let bits = Format::built_in()[0].encode(Card { facility: Some(1), number: 2 }).unwrap();
        let card = read(r#"{"card":{"format":"H10301-26","facility":1,"number":2}}"#).unwrap();
        assert_eq!(card, Proof::Card { bits, format: Some("H10301-26".to_owned()) });
        let card = read(&format!(r#"{{"card":{{"bits":"{bits}"}},"pin":"4711"}}"#)).unwrap();
        assert_eq!(card, Proof::CardAndPin { bits, format: None, pin: "4711".to_owned() });
        let plate = read(r#"{"plate":{"text":"京A12345","confidence":91,"colour":"blue"}}"#).unwrap();
        let colour = Some(PlateColour::Blue);
        assert_eq!(plate, Proof::Plate { text: "京A12345".to_owned(), confidence: 91, colour });
        assert_eq!(read(r#"{"code":"12"}"#).unwrap(), Proof::Code("12".to_owned()));
        for (wrong, why) in [
            (r#"{"code":"1","plate":{"text":"A1234","confidence":9}}"#, "one of card (maybe with pin), plate and code"),
            (r#"{"card":{"bits":"012"}}"#, "'2' at 2 is not a bit: write 0 and 1 only"),
            (r#"{"card":{"format":"H1","number":2}}"#, "there is no format \"H1\""),
            (r#"{"card":{"number":2}}"#, "a card is told by bits, or by format and number (and facility)"),
            (r#"{"card":{"format":"H10301-26","number":70000}}"#, "the number does not fit the format"),
        ] {
            assert_eq!(read(wrong).unwrap_err(), why, "{wrong}");
        }
    }
}
