//! Writes the seeds that are committed, from the conformance vectors: `cargo run --example seed` in this folder.
//!
//! A decoder's input begins with bytes that choose device, step, mode and point; each vector is put behind a few of
//! them. Seeds of the same content have the same name, so that a second run changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The seeds of one target by name.
type Seeds = BTreeMap<String, Vec<u8>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = here.join("../drivers/vectors");
    let hex = |file: &str| -> Result<Vec<(String, Vec<u8>)>, Box<dyn std::error::Error>> {
        let whole: Value = serde_json::from_str(&fs::read_to_string(vectors.join(file))?)?;
        let list = whole["vectors"].as_array().cloned().unwrap_or_default();
        let frame = |vector: &Value| Some((vector["id"].as_str()?.to_owned(), bytes(vector["hex"].as_str()?)?));
        Ok(list.iter().filter_map(frame).collect())
    };
    let behind = |heads: &[&[u8]], list: Vec<(String, Vec<u8>)>| -> Seeds {
        let seeds = list.into_iter().enumerate().map(|(at, (id, bytes))| {
            let head = heads.get(at % heads.len()).copied().unwrap_or_default();
            (id, [head, &bytes].concat())
        });
        seeds.collect()
    };
    let modbus = [hex("modbus.json")?, hex("modbus-faults.json")?].concat();
    let by = |test: fn(&[u8]) -> bool| -> Vec<_> { modbus.iter().filter(|(_, bytes)| test(bytes)).cloned().collect() };
    let heads: &[&[u8]] = &[&[0, 0, 0, 0], &[5, 1, 2, 1], &[7, 0, 1, 2], &[12, 2, 5, 3]];
    write(here, "modbus_rtu", behind(heads, modbus.clone()))?;
    write(here, "modbus_ascii", behind(heads, by(|bytes| bytes.contains(&b':'))))?;
    write(here, "modbus_tcp", behind(heads, by(|bytes| bytes.get(2..4) == Some(&[0, 0]))))?;
    let dlt645 = [hex("dlt645-2007.json")?, hex("dlt645-1997.json")?].concat();
    write(here, "dlt645", behind(heads, dlt645.clone()))?;
    let cjt188 = hex("cjt188.json")?;
    write(here, "cjt188", behind(heads, cjt188.clone()))?;
    let osdp = hex("osdp-frames.json")?;
    write(here, "osdp_frame", behind(&[&[0], &[0x0F, 0]], osdp.clone()))?;
    write(here, "uhppote", behind(&[&[0, 0], &[3, 0], &[9, 0]], hex("uhppote.json")?))?;
    // A story of the line: the medium, then each frame as bytes that came, with a request handed out before it.
    let story = |bytes: &[u8]| [&[0, 15, 0, u8::try_from(bytes.len()).unwrap_or(u8::MAX)][..], bytes, &[6]].concat();
    let stories = [&modbus[..20], &dlt645[..20], &cjt188[..10], &osdp[..10]].concat();
    write(here, "line", stories.into_iter().map(|(id, bytes)| (id, story(&bytes))).collect())?;
    write(here, "osdp_session", conversations())?;
    write(here, "wiegand", wiegand(&here.join("../rules/vectors/wiegand.json"))?)?;
    write(here, "credentials", texts(CREDENTIALS))?;
    write(here, "visitor_code", texts(&["GH1.AQAAAAABAAAAAg", "\u{9}riverside\u{4}gate\u{4}door\u{3}all"]))?;
    write(here, "command", texts(COMMANDS))?;
    Ok(())
}

const CREDENTIALS: &[&str] = &[
    concat!(
        "\u{1}",
        r#"{"format":"gatehouse-credentials/1","site":"riverside","lookup_key":"0710a50f67a2f639","version":12,"created":1,"#,
        r#""expires_at":2000000000,"count":1}"#,
        "\n",
        r#"{"put":{"id":"5d000000000000000000000000000000","kind":"plate","who":"p-5c1d","class":"resident","#,
        r#""household":"h-12","groups":["garage"]}}"#,
        "\n"
    ),
    concat!(
        "\u{1}",
        r#"{"format":"gatehouse-credentials/1","site":"riverside","lookup_key":"0710a50f67a2f639","version":13,"base_version":12,"#,
        r#""created":1,"expires_at":2000000000,"count":2}"#,
        "\n",
        r#"{"revoke":"71000000000000000000000000000000"}"#,
        "\n",
        r#"{"remove":"03000000000000000000000000000000"}"#,
        "\n"
    ),
    "\u{0}{\"signature\":\"00\"}\n",
];

const COMMANDS: &[&str] = &[
    r#"{"v":1,"id":"c-1","target":"gate:main","action":"open","issuer":"u-1","issued_at":"2026-11-26T12:00:00Z","expires_at":"2026-11-26T12:00:10Z"}"#,
    r#"{"v":1,"id":"c-2","target":"device:meter-101","point":"relay_1","value":"on","issuer":"u-1","reason_code":"ambulance","issued_at":"2026-11-26T12:00:00+08:00","expires_at":"2026-11-26T12:00:10+08:00"}"#,
    r#"{"v":1,"id":"c-3","target":"ticket:17","action":"close","args":{"note":"done"},"issuer":"u-1","issued_at":"x","expires_at":"y","signature":"AA"}"#,
];

/// Conversations with a reader: an honest one in the clear and in a Secure Channel, then cards, refusals and silence.
fn conversations() -> Seeds {
    let card = [9, 0x50, 0, 1, 26, 0, 0xBD, 0xD9, 0x37, 0x40];
    let honest = |count: usize| -> Vec<u8> { std::iter::repeat_n([2, 0], count).flatten().collect() };
    let seed = |first: u8, before: usize, then: &[u8]| [&[first][..], &honest(before), then, &honest(3)].concat();
    let shown = [&[1, 0, 8][..], &card[2..], &[0x50]].concat();
    [
        ("clear", seed(0, 5, &shown)),
        ("secure", seed(1, 7, &shown)),
        ("secure-act", seed(1, 7, &[0x42, 4, 0, 0x42, 0, 0])),
        ("former-key", seed(3, 12, &shown)),
        ("commissioning", seed(0x25, 14, &shown)),
        ("refused", seed(1, 3, &[5, 0, 4, 5, 0, 6])),
        ("silent", seed(1, 7, &[0x80, 0, 0x80, 0, 0x80, 0, 0x80, 0])),
        ("busy", seed(1, 7, &[6, 0, 0x46, 0, 0])),
        ("checksum", seed(9, 7, &shown)),
    ]
    .map(|(name, seed)| (name.to_owned(), seed))
    .into()
}

fn wiegand(path: &Path) -> Result<Seeds, Box<dyn std::error::Error>> {
    let whole: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let list = whole["vectors"].as_array().cloned().unwrap_or_default();
    let seed = |vector: &Value| {
        let count = u8::try_from(vector["nbits"].as_u64()?).ok()?;
        let bits = bytes(vector["left_aligned_hex"].as_str()?)?;
        let format = [count, 1, 8, 9, 16, 1, 12, 0, 0];
        Some((vector["id"].as_str()?.to_owned(), [&format[..], &bits].concat()))
    };
    Ok(list.iter().filter_map(seed).collect())
}

fn texts(list: &[&str]) -> Seeds {
    (1..).zip(list).map(|(at, text)| (format!("text-{at}"), text.as_bytes().to_vec())).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

fn write(here: &Path, target: &str, seeds: Seeds) -> std::io::Result<()> {
    let folder: PathBuf = here.join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    for (name, seed) in seeds {
        fs::write(folder.join(name), seed)?;
    }
    Ok(())
}
