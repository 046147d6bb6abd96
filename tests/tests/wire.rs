//! Seeing the wire through a running daemon: frames as they come, and a value followed to its bytes.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use gatehouse_tests::{Broker, Gateway, SECONDS, Security, Slave, Stage};
use serde_json::Value;

#[test]
fn a_bus_is_watched_and_a_value_is_followed_to_the_bytes_that_made_it() {
    let stage = Stage::new();
    let broker = Broker::start(&stage, Security::Open);
    let slave = Slave::tcp(&stage, &[1]);
    let text = format!(
        "[[bus]]\nid = \"riser\"\ntcp = \"127.0.0.1:{}\"\n[[device]]\nid = \"meter\"\nunit = 1\ninterval = \"100ms\"\n\
         [[device.point]]\nname = \"reads\"\ntable = \"holding\"\naddress = 0\ntype = \"u32\"\nunit = \"kWh\"\n",
        slave.port()
    );
    let site = stage.site(&broker.url(), "", &text);
    let gateway = Gateway::start(&stage, &site);
    gateway.until("a sample", 60 * SECONDS, |status| (status["devices"][0]["samples"].as_u64()? > 2).then_some(()));

    let capture = stage.path().join("riser.pcap");
    let seen =
        gateway.ask(&["monitor", "riser", "--past", "--count", "4", "--json", "--pcap", capture.to_str().unwrap()]);
    let lines = String::from_utf8_lossy(&seen.stdout);
    let frames: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<&str> = frames.iter().map(|frame| frame["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["request", "reply", "request", "reply"]);
    let field = |frame: &Value, name: &str| {
        let field = frame["fields"].as_array().unwrap().iter().find(|field| field["name"] == name);
        field.map(|field| field["text"].as_str().unwrap().to_owned())
    };
    assert_eq!(field(&frames[0], "function").as_deref(), Some("03 read holding registers"));
    assert_eq!(field(&frames[0], "quantity").as_deref(), Some("2 (0x0002)"));
    let registers = field(&frames[1], "registers").unwrap();
    assert_eq!(u32::from_str_radix(&registers.replace(' ', ""), 16).unwrap(), 1, "the slave counts reads: {frames:?}");
    assert!(std::fs::metadata(&capture).unwrap().len() > 24 + 4 * 16, "four packets after the header");

    let explained = gateway.json(&["explain", "meter", "reads"]);
    let value = explained["value"].as_str().unwrap().strip_suffix(" kWh").unwrap();
    let bytes: Vec<&str> = explained["reply"]["bytes"].as_str().unwrap().split(' ').collect();
    let on_the_wire = u32::from_str_radix(&bytes[bytes.len() - 4..].concat(), 16).unwrap();
    assert_eq!(value.parse(), Ok(on_the_wire), "{explained}");
    assert!(explained["described"].as_str().unwrap().contains("site.toml:"), "{explained}");

    let unknown = gateway.ask(&["monitor", "risr"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("the site has no bus \"risr\": did you mean \"riser\"?"), "{said}");
    assert_eq!(unknown.status.code(), Some(2), "{said}");
}
