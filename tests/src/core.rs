//! A core that hands out credentials: what it signs is made by `tests/peers/core.py`, which shares no code with the box.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::slave::python;
use crate::stage::Stage;

/// The core of one site, `box-1`.
#[derive(Debug)]
pub struct Core {
    seed: String,
    lookup_key: String,
    /// Its public key in base64, as the site file takes it.
    pub public: String,
}

impl Core {
    /// A core with keys of its own. Writes the site's secrets into the stage's folder: `lookup_key` (32 bytes), `seal_key`
    /// and `pin_secret` (base64, as `openssl rand -base64 32` prints them).
    pub fn new(stage: &Stage) -> Core {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let lookup: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        std::fs::write(stage.file("lookup_key"), lookup).unwrap();
        stage.write("seal_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
        stage.write("pin_secret", "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n");
        let seed = hex(&std::array::from_fn::<u8, 32, _>(|_| fastrand::u8(..)));
        let public = run(&["public", &seed]).trim().to_owned();
        Core { seed, lookup_key: hex(&lookup), public }
    }

    /// `[access]` of the site file, without zones.
    pub fn table(&self, stage: &Stage) -> String {
        let folder = stage.path().display();
        let secret = |key: &str| format!("{key} = {{ file = \"{folder}/{key}\" }}\n");
        let secrets: String = ["lookup_key", "seal_key", "pin_secret"].map(secret).concat();
        format!("[access]\ncore_keys = [\"{}\"]\n{secrets}", self.public)
    }

    /// Signs a snapshot (or, with `base_version`, a delta) and publishes it. `order` goes before what is usual: see
    /// `tests/peers/core.py`.
    pub fn publish(&self, broker: &Broker<'_>, version: u64, order: &Value) {
        let mut whole = json!({ "seed": self.seed, "lookup_key": self.lookup_key, "header": {} });
        for (key, value) in order.as_object().unwrap() {
            whole[key] = value.clone();
        }
        whole["header"]["site"] = "box-1".into();
        whole["header"]["version"] = version.into();
        for message in run(&["snapshot", &whole.to_string()]).lines() {
            broker.publish("credentials", message);
        }
    }
}

fn run(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/core.py");
    let output = Command::new(python()).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "core.py: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
