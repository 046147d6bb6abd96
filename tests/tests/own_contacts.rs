//! What is wired to the box itself: a device of the running daemon, and relays that rest when it does not run.

// Helpers of tests may unwrap as tests do: a panic is the report.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use gatehouse_tests::{Gateway, SECONDS, Stage, eventually, gatehouse};
use rustix::process::Signal;

/// What the kernel shows as the triggers of an output that has none.
const TRIGGERS: &str = "[none] oneshot";

/// A folder that looks like an output of the LED class.
fn led(stage: &Stage, name: &str) -> String {
    let dir = stage.file(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("trigger"), TRIGGERS).unwrap();
    for (file, text) in [("max_brightness", "1"), ("brightness", "0")] {
        std::fs::write(dir.join(file), text).unwrap();
    }
    dir.display().to_string()
}

fn site(stage: &Stage) -> PathBuf {
    let (buzzer, release) = (led(stage, "buzzer"), led(stage, "release"));
    let rest = format!(
        "[box]\ntitle = \"Lobby\"\n[[box.contact]]\nname = \"fire\"\nchip = \"gpiochip-none\"\nline = 4\n\
         [[box.relay]]\nname = \"buzzer\"\nled = \"{buzzer}\"\n\
         [[box.relay]]\nname = \"release\"\nled = \"{release}\"\nat_restart = \"keep\"\n"
    );
    stage.site("mqtt://127.0.0.1:1", "", &rest)
}

#[test]
fn the_box_is_a_device_and_its_relays_rest_when_the_daemon_is_killed() {
    let stage = Stage::new();
    let config = site(&stage);
    let brightness = |name: &str| std::fs::read_to_string(stage.file(name).join("brightness")).unwrap();
    let mut gateway = Gateway::start(&stage, &config);
    let trouble = gateway.until("the trouble of the fire contact", 30 * SECONDS, |status| {
        let troubles = status["troubles"].as_array()?.iter().filter_map(|trouble| trouble.as_str());
        troubles.map(str::to_owned).find(|trouble| trouble.starts_with("fire of the box: "))
    });
    assert!(trouble.contains("there is no GPIO chip /dev/gpiochip-none"), "{trouble}");
    gateway.until("the box's device", 30 * SECONDS, |status| {
        let device = status["devices"].as_array()?.iter().find(|device| device["id"] == "box")?;
        (device["state"] == "online").then_some(())
    });
    for relay in ["buzzer", "release"] {
        let written = gateway.json(&["write", "box", relay, "on"]);
        assert_eq!(written["outcome"], "verified", "{written}");
        assert_eq!(brightness(relay), "1");
    }
    let read = gateway.json(&["read", "box"]);
    let point = |name: &str| read["points"].as_array().unwrap().iter().find(|point| point["name"] == name).unwrap();
    assert_eq!(point("buzzer")["value"], "true", "{read}");
    assert_eq!(point("fire")["missing"].as_str(), Some("bus_down"), "{read}");
    eventually("the alarm of the lost contact", 30 * SECONDS, || {
        let alarms = gateway.json(&["alarms"]);
        alarms.as_array()?.iter().find(|alarm| alarm["alarm"] == "contact_lost/box").cloned()
    });

    for relay in ["buzzer", "release"] {
        // The kernel would still know its triggers; a file has what was written last.
        std::fs::write(stage.file(relay).join("trigger"), TRIGGERS).unwrap();
    }
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("line = 4", "line = 5")).unwrap();
    let reloaded = gateway.json(&["reload"]);
    assert!(reloaded["message"].as_str().unwrap().ends_with("the box's own contacts begin anew"), "{reloaded}");
    eventually("relays that begin anew as at_restart says", 30 * SECONDS, || {
        (brightness("buzzer") == "0" && brightness("release") == "1").then_some(())
    });
    let written = gateway.json(&["write", "box", "buzzer", "on"]);
    assert_eq!(written["outcome"], "verified", "{written}");

    let refused = gateway.ask(&["outputs-off"]);
    assert_eq!(refused.status.code(), Some(2), "a daemon runs");
    gateway.process.signal(Signal::KILL);
    gateway.process.wait(20 * SECONDS);
    assert_eq!(brightness("buzzer"), "1", "a killed daemon drives nothing");
    let off = gatehouse().arg("outputs-off").arg("--config").arg(&config).output().unwrap();
    assert!(off.status.success(), "{}", String::from_utf8_lossy(&off.stderr));
    assert_eq!((brightness("buzzer").as_str(), brightness("release").as_str()), ("0", "1"), "as at_restart says");
}
