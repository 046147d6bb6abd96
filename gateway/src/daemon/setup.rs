//! From the site file to the engine, with what the journal kept of an earlier run.

use gatehouse_config::Site;
use gatehouse_rules::Engine;
use gatehouse_store::Store;

/// The engine of a site, as it was when the journal was last written. `run` counts the engines of this daemon.
///
/// # Panics
/// When the site was changed after its file was checked.
pub fn engine(site: &Site, store: &Store, run: u32) -> Engine {
    let mut engine = Engine::new(&site.rules, run).expect("a checked site file has only rules that fit together");
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
    engine
}
