//! A message of records as a receiver reads it: borrowed, so that checking keeps up with a gateway flat out.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The payload of `<lane>/live` and `<lane>/backfill`, as `docs/uplink.md` describes it.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    /// Version of the format.
    pub v: u32,
    /// The box.
    #[serde(rename = "box", borrow)]
    pub box_id: Cow<'a, str>,
    /// The epoch of the numbers.
    pub epoch: u64,
    /// The lane.
    #[serde(borrow)]
    pub lane: Cow<'a, str>,
    /// Number of the first record.
    pub seq: u64,
    /// The records.
    #[serde(borrow)]
    pub records: Vec<Record<'a>>,
}

/// One record.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// Its number in the lane.
    pub seq: u64,
    /// When it was taken, RFC 3339.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// How far the time may be believed; absent: synchronised.
    #[serde(borrow, default)]
    pub trust: Option<Cow<'a, str>>,
    /// The device of a sample.
    #[serde(borrow, default)]
    pub device: Option<Cow<'a, str>>,
    /// The values of a sample.
    #[serde(borrow, default)]
    pub values: Pairs<'a, Delivered<'a>>,
    /// Why points have none.
    #[serde(borrow, default)]
    pub missing: Pairs<'a, Cow<'a, str>>,
    /// The name of an event.
    #[serde(borrow, default)]
    pub event: Option<Cow<'a, str>>,
    /// What it tells.
    #[serde(default)]
    pub data: serde_json::Value,
    /// What is not there any more.
    #[serde(default)]
    pub gap: Option<Gap>,
}

impl Record<'_> {
    /// The last number that the record accounts for.
    pub fn last(&self) -> u64 {
        self.gap.as_ref().map_or(self.seq, |gap| gap.last)
    }
}

/// Numbers that hold nothing more.
#[derive(Debug, Deserialize)]
pub struct Gap {
    /// The last of them.
    pub last: u64,
    /// Stored records among them that are gone.
    pub lost: u64,
    /// Why.
    pub reason: String,
}

/// One delivered value.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivered<'a> {
    /// On or off.
    Flag(bool),
    /// A telemetry number.
    Number(f64),
    /// A billing number, or text.
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Delivered<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        #[expect(clippy::cast_precision_loss, reason = "JSON numbers are compared as doubles")]
        impl<'de> Visitor<'de> for Any {
            type Value = Delivered<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flag, a number or a text")
            }
            fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
                Ok(Delivered::Flag(on))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
                Ok(Delivered::Number(n as f64))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
                Ok(Delivered::Number(n as f64))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Self::Value, E> {
                Ok(Delivered::Number(n))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Delivered::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Delivered::Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The fields of a JSON object, in its order.
#[derive(Debug)]
pub struct Pairs<'a, T>(pub Vec<(Cow<'a, str>, T)>);

impl<T> Default for Pairs<'_, T> {
    fn default() -> Self {
        Pairs(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Pairs<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<'a, T>(PhantomData<(&'a (), T)>);
        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Fields<'a, T> {
            type Value = Pairs<'a, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(16).min(256));
                while let Some(Key(key)) = map.next_key()? {
                    pairs.push((key, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Wall time of a record, in microseconds since 1970; `None` for a text that is no time.
pub fn wall_us(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_the_documentation_shows_it() {
        let text = r#"{"v":1,"box":"b","epoch":3,"lane":"telemetry","seq":7,"records":[
            {"seq":7,"time":"2026-11-23T10:00:00.123Z","device":"m1","values":{"u":231.2,"on":true,"e":"12.50"},
             "missing":{"i":"timeout"}},
            {"seq":8,"time":"2026-11-23T10:00:01Z","trust":"unset","gap":{"last":9,"lost":1,"reason":"bounded"}}]}"#;
        let message: Message<'_> = serde_json::from_str(text).unwrap();
        let [sample, gap] = &message.records[..] else { unreachable!("two records") };
        assert_eq!(wall_us(&sample.time), Some(1_795_428_000_123_000));
        let values: Vec<(&str, &Delivered<'_>)> = sample.values.0.iter().map(|(k, v)| (k.as_ref(), v)).collect();
        let text = Delivered::Text("12.50".into());
        assert_eq!(values, [("u", &Delivered::Number(231.2)), ("on", &Delivered::Flag(true)), ("e", &text)]);
        assert_eq!(sample.missing.0[0].1, "timeout");
        assert_eq!((sample.last(), gap.last(), gap.gap.as_ref().unwrap().lost), (7, 9, 1));
        assert!(serde_json::from_str::<Message<'_>>("{}").is_err());
    }
}
