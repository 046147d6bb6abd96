//! From the site file to the engine, with what the journal kept of an earlier run.

use std::path::Path;

use gatehouse_config::Site;
use gatehouse_rules::Engine;
use gatehouse_rules::access::SealKey;
use gatehouse_store::Store;

use super::credentials;

/// An engine, ready to begin.
pub(super) struct Prepared {
    pub(super) engine: Engine,
    /// The key of the credentials' image, where there are credentials.
    pub(super) key: Option<SealKey>,
    /// Why there are no credentials, or not those that there were; `""` for nothing.
    pub(super) trouble: String,
}

/// The engine of a site, as it was when the journal was last written. `run` counts the engines of this daemon.
///
/// # Panics
/// When the site was changed after its file was checked.
pub(super) fn engine(site: &Site, store: &Store, run: u32) -> Prepared {
    let mut engine = Engine::new(&site.rules, run).expect("a checked site file has only rules that fit together");
    let (machine, mut trouble) = match credentials::machine(site) {
        Ok(machine) => (machine, String::new()),
        Err(why) => (None, why),
    };
    let key = machine.map(|(access, key)| {
        engine.set_access(access);
        key
    });
    for prefix in Engine::KEPT {
        for (key, value) in store.scan(prefix.as_bytes()) {
            if let Ok(key) = std::str::from_utf8(&key) {
                engine.restore(key, &value);
            }
        }
    }
    if engine.unreadable() > 0 {
        tracing::error!(pieces = engine.unreadable(), "kept state of the rules could not be read and is left out");
    }
    if let Some(key) = &key {
        trouble = open(&mut engine, &site.store.dir, key).err().unwrap_or_default();
    }
    if !trouble.is_empty() {
        let then = if key.is_some() { "gates decide by their offline policies" } else { "readers refuse everybody" };
        tracing::error!(why = trouble, then, "credentials cannot be used");
    }
    Prepared { engine, key, trouble }
}

fn open(engine: &mut Engine, data: &Path, key: &SealKey) -> Result<(), String> {
    let image = credentials::read_image(data, key);
    let opened = engine.open_access(image.as_ref().ok().and_then(Option::as_ref));
    image?;
    opened.map_err(|why| why.to_string())
}
