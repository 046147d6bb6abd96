//! From a point to the bytes of a controller's answer, step by step.

use super::datagram::Datagram;
use super::point::Field;
use super::reply::Reply;
use super::request::Request;
use crate::dissect::hex;
use crate::explain::Explanation;

/// See [`crate::explain::steps`].
pub(crate) fn steps(field: Field, unit: &str, (request, reply): (&[u8], &[u8])) -> Option<Explanation> {
    let asked = Datagram::read(request).ok()?;
    let answer = Datagram::read(reply).ok()?;
    let wanted = field.of_door().map_or(Request::Status, |door| Request::Door { door });
    if Request::read(&asked).ok()? != wanted {
        return None;
    }
    let told = Reply::judge(&wanted, asked.serial(), &answer).ok()?;
    let (place, bytes) = place(field, reply);
    let value = match field.value(&told) {
        Ok(value) => format!("{value} {unit}").trim_end().to_owned(),
        Err(why) => format!("no value ({why})"),
    };
    let what = match wanted {
        Request::Door { door } => format!("how door {door} is controlled"),
        _ => "its status".to_owned(),
    };
    let steps = vec![
        format!("the request asks controller {} for {what}", asked.serial()),
        format!("{field} is {place} of the answer: {}", hex(&bytes)),
        format!("{}: {value}", reading(field)),
    ];
    Some(Explanation { value, steps })
}

/// Where a field lies in its answer, counted from 0, and its bytes.
fn place(field: Field, reply: &[u8]) -> (String, Vec<u8>) {
    let byte = |at: usize| (format!("byte {at}"), reply.get(at..=at).unwrap_or_default().to_vec());
    match field {
        Field::DoorOpen(door) => byte(27 + usize::from(door)),
        Field::Button(door) => byte(31 + usize::from(door)),
        Field::Relay(door) => {
            let (place, bytes) = byte(49);
            (format!("bit {} in {place}", door.saturating_sub(1)), bytes)
        }
        Field::ForceLock => (format!("bit 0 in {}", byte(50).0), byte(50).1),
        Field::Fire => (format!("bit 1 in {}", byte(50).0), byte(50).1),
        Field::EventIndex => ("bytes 8 to 11".to_owned(), reply.get(8..12).unwrap_or_default().to_vec()),
        Field::SystemError => byte(36),
        Field::Clock => {
            let parts = [reply.get(51..54), reply.get(37..40)].map(Option::unwrap_or_default);
            ("bytes 51 to 53 and 37 to 39".to_owned(), parts.concat())
        }
        Field::DoorMode(_) => byte(9),
        Field::DoorDelay(_) => byte(10),
    }
}

/// How the bytes of a field are read.
fn reading(field: Field) -> &'static str {
    match field {
        Field::DoorOpen(_) | Field::Button(_) => "anything but 0 is true",
        Field::Relay(_) | Field::ForceLock | Field::Fire => "1 is true",
        Field::EventIndex => "low byte first",
        Field::SystemError | Field::DoorMode(_) | Field::DoorDelay(_) => "a number",
        Field::Clock => "YY MM DD and hh mm ss in packed decimals",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fire_input_and_a_delay_are_followed_to_their_bytes() {
        let request = Request::Status.encode(7);
        let reply = request.put(50, &[2]);
        let told = steps(Field::Fire, "", (request.bytes(), reply.bytes())).unwrap();
        assert_eq!(told.value, "true");
        assert_eq!(
            told.steps,
            [
                "the request asks controller 7 for its status",
                "fire is bit 1 in byte 50 of the answer: 02",
                "1 is true: true",
            ]
        );
        let request = Request::Door { door: 2 }.encode(7);
        let reply = request.put(9, &[3, 5]);
        let told = steps(Field::DoorDelay(2), "s", (request.bytes(), reply.bytes())).unwrap();
        assert_eq!(told.value, "5 s");
        assert_eq!(steps(Field::DoorDelay(1), "s", (request.bytes(), reply.bytes())), None, "of another door");
        assert_eq!(steps(Field::Fire, "", (request.bytes(), reply.bytes())), None);
    }
}
