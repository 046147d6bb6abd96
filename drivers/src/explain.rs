//! From a point to the bytes that it came from, step by step, for the person who doubts a value.

use crate::dissect::Language;
use crate::point::{Place, PointSpec};

/// How a reply became a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The value of these bytes with its unit, or why they hold none.
    pub value: String,
    /// The steps to it, one sentence each.
    pub steps: Vec<String>,
}

/// The steps from a reply to the value of a point; `None` where the request did not ask for the
/// point, or the reply is none to it.
pub fn steps(language: Language, point: &PointSpec, request: &[u8], reply: &[u8]) -> Option<Explanation> {
    let frames = (request, reply);
    match &point.place {
        Place::Modbus(place) => {
            let Language::Modbus(framing) = language else { return None };
            crate::modbus::explain::steps(framing, place, &point.unit, frames)
        }
        Place::Dlt645(place) => crate::dlt645::explain::steps(place, &point.unit, frames),
        Place::Cjt188(place) => {
            let Language::Cjt188(traits) = language else { return None };
            crate::cjt188::explain::steps(&traits, place, &point.unit, frames)
        }
        Place::Osdp(place) => crate::osdp::explain::steps(*place, frames),
        Place::Uhppote(place) => crate::uhppote::explain::steps(*place, &point.unit, frames),
        Place::Own { .. } => None,
    }
}
