//! From a point to the bytes that it came from, step by step, for the person who doubts a value.

use crate::dissect::Language;
use crate::point::{Place, PointSpec};

/// The steps from a reply to the value of a point, one sentence each; `None` where the request did not ask for the
/// point, or the reply is none to it.
pub fn steps(language: Language, point: &PointSpec, request: &[u8], reply: &[u8]) -> Option<Vec<String>> {
    match (language, &point.place) {
        (Language::Modbus(framing), Place::Modbus(place)) => {
            crate::modbus::explain::steps(framing, place, &point.unit, (request, reply))
        }
        (Language::Dlt645(_), Place::Dlt645(place)) => {
            crate::dlt645::explain::steps(place, &point.unit, (request, reply))
        }
        (Language::Modbus(_), Place::Dlt645(_) | Place::Own { .. })
        | (Language::Dlt645(_), Place::Modbus(_) | Place::Own { .. }) => None,
    }
}
