//! `register-map/1`: register maps in JSON, for the device decodes.

use std::path::Path;

use gatehouse_core::{Decimal, Name};
use gatehouse_drivers::modbus::point::{DataType, ModbusPoint, Table, WriteWith};
use gatehouse_drivers::point::{Place, PointSpec, Protocol};
use gatehouse_drivers::profile::{Defaults, Limits, Profile};
use serde_json::Value;

use super::VectorsError;
use super::folder::json_files;
use super::formats::{data_type, order};

/// A register map, or why it cannot be used.
pub(super) struct DeviceMap {
    /// The device that it is of.
    pub(super) device: String,
    pub(super) map: Result<Profile, String>,
}

/// Every register map of a folder. One that cannot be used fails the vectors of its device.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<DeviceMap>, VectorsError> {
    let mut maps = Vec::new();
    for path in json_files(folder)? {
        let failed = |why: String| VectorsError::Map { file: path.clone(), why };
        let text = std::fs::read_to_string(&path).map_err(|why| failed(why.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|why| failed(format!("not JSON: {why}")))?;
        if json["schema"] == "register-map/1" {
            let device = json["id"].as_str().ok_or_else(|| failed("`id` is missing".to_owned()))?.to_owned();
            let map =
                read_map(&json).map_err(|why| format!("the register map {} cannot be used: {why}", path.display()));
            maps.push(DeviceMap { device, map });
        }
    }
    if maps.is_empty() {
        let why = "no file in the folder has the schema register-map/1".to_owned();
        return Err(VectorsError::Map { file: folder.to_owned(), why });
    }
    Ok(maps)
}

fn text<'v>(json: &'v Value, field: &str) -> Result<&'v str, String> {
    json[field].as_str().ok_or_else(|| format!("`{field}` is missing"))
}

fn read_map(json: &Value) -> Result<Profile, String> {
    let entries = json["points"].as_array().ok_or("`points` is missing")?;
    let point = |entry: &Value| read_point(entry).map_err(|why| format!("point {}: {why}", entry["name"]));
    Ok(Profile {
        name: Name::new(text(json, "id")?).map_err(|why| format!("`id`: {why}"))?,
        vendor: text(json, "vendor").unwrap_or_default().to_owned(),
        model: text(json, "model").unwrap_or_default().to_owned(),
        category: text(json, "category").unwrap_or_default().to_owned(),
        protocol: Protocol::Modbus,
        defaults: Defaults::default(),
        meter: gatehouse_drivers::cjt188::Traits::default(),
        limits: Limits::default(),
        points: entries.iter().map(point).collect::<Result<_, _>>()?,
        commands: Vec::new(),
        notes: Vec::new(),
        sources: Vec::new(),
        status: text(json, "status").unwrap_or_default().to_owned(),
    })
}

fn read_point(json: &Value) -> Result<PointSpec, String> {
    let table = match json["fc"].as_u64() {
        Some(1) => Table::Coil,
        Some(2) => Table::Discrete,
        Some(3) => Table::Holding,
        Some(4) => Table::Input,
        _ => return Err("`fc` must be 1 to 4".to_owned()),
    };
    let address = json["addr"].as_u64().and_then(|address| u16::try_from(address).ok());
    let registers = json["count"].as_u64().and_then(|count| u16::try_from(count).ok()).unwrap_or(1);
    let data_type = data_type(text(json, "type")?, registers)?;
    let place = ModbusPoint {
        table,
        address: address.ok_or("`addr` must be 0 to 65535")?,
        data_type,
        order: json["order"].as_str().map_or(Ok(Default::default()), order)?,
        bit: None,
        scale: decimal(&json["scale"], 1)?,
        offset: decimal(&json["offset"], 0)?,
        not_available: marks(&json["na"])?,
        write: write(json, data_type),
    };
    Ok(PointSpec {
        name: Name::new(text(json, "name")?).map_err(|why| format!("`name`: {why}"))?,
        unit: text(json, "unit").unwrap_or_default().to_owned(),
        bits: bits(&json["bits"])?,
        note: text(json, "note").unwrap_or_default().to_owned(),
        place: Place::Modbus(place),
    })
}

fn decimal(json: &Value, usual: i128) -> Result<Decimal, String> {
    match json {
        Value::Null => Ok(Decimal::whole(usual)),
        Value::String(text) => Decimal::parse(text).map_err(|why| why.to_string()),
        other => Decimal::parse(&other.to_string()).map_err(|why| why.to_string()),
    }
}

/// Marks as hexadecimal text, one or several.
fn marks(json: &Value) -> Result<Vec<u64>, String> {
    let mark = |json: &Value| {
        let text = json.as_str().map(|text| text.trim_start_matches("0x"));
        let parsed = text.map_or_else(|| json.as_u64(), |text| u64::from_str_radix(text, 16).ok());
        parsed.ok_or_else(|| format!("`na` is {json}, a hexadecimal text is wanted"))
    };
    match json {
        Value::Null => Ok(Vec::new()),
        Value::Array(several) => several.iter().map(mark).collect(),
        one => mark(one).map(|mark| vec![mark]),
    }
}

fn bits(json: &Value) -> Result<Vec<(String, u8)>, String> {
    let named = |(name, bit): (&String, &Value)| {
        let bit = bit.as_u64().and_then(|bit| u8::try_from(bit).ok()).filter(|bit| *bit < 64);
        bit.map(|bit| (name.clone(), bit)).ok_or_else(|| format!("`bits.{name}` is no bit"))
    };
    let mut bits = json.as_object().into_iter().flatten().map(named).collect::<Result<Vec<_>, _>>()?;
    bits.sort_by_key(|(_, bit)| *bit);
    Ok(bits)
}

fn write(json: &Value, data_type: DataType) -> Option<WriteWith> {
    let single = !matches!(data_type, DataType::U32 | DataType::I32 | DataType::F32 | DataType::U64 | DataType::I64);
    match (json["access"].as_str(), json["write_fc"].as_u64()) {
        (Some("rw"), Some(5)) => Some(WriteWith::SingleCoil),
        (Some("rw"), Some(15)) => Some(WriteWith::Coils),
        (Some("rw"), Some(16)) => Some(WriteWith::Registers),
        (Some("rw"), Some(22)) => Some(WriteWith::Mask),
        (Some("rw"), _) if data_type == DataType::Bool => Some(WriteWith::SingleCoil),
        (Some("rw"), _) if single => Some(WriteWith::SingleRegister),
        (Some("rw"), _) => Some(WriteWith::Registers),
        _ => None,
    }
}
