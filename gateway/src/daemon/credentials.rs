//! Credentials at work: keys from their files, the image beside the store, and what the core sends, in its order.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_config::Site;
use gatehouse_rules::access::{Access, AccessSpec, Applied, Image, LookupKey, PinSecret, Salt, SealKey, Snapshot};
use gatehouse_uplink::{Assembler, Inbound, Message};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::sync::mpsc;

use super::effector::Held;
use super::hub::Hub;

/// The folder of the image, in the data folder; the store leaves it alone.
const FOLDER: &str = gatehouse_store::GUEST_FOLDER;
/// The image's file.
const IMAGE: &str = "image.ghs";
/// Parts that may wait while a snapshot is looked through: more than a link leaves unsettled.
const QUEUE: usize = 64;
/// What the core hears when nothing of it can be taken.
pub(super) const NO_ACCESS: &str = "the site has no [access], or its keys cannot be read";
/// Pauses before an image that could not be written is tried again, while what it came with is not settled yet.
const KEEP_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// And how often after that.
const KEEP_AGAIN: Duration = Duration::from_secs(60);
/// A secret's file is refused beyond this.
const SECRET_BYTES: u64 = 4096;

/// So many random bytes.
///
/// # Panics
/// When the kernel gives none, which it does only in a sandbox without `getrandom`.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}

/// The access machine of a site, as it is before anything was taken back, and the key of its image. `None` where the
/// site file has no `[access]`.
///
/// # Errors
/// A sentence on the secret that cannot be used.
pub(super) fn machine(site: &Site) -> Result<Option<(Access, SealKey)>, String> {
    let (Some(secrets), Some(setup)) = (&site.access, &site.rules.access) else { return Ok(None) };
    let Some(seal) = seal_key(site)? else { return Ok(None) };
    let optional = |key, path: &Option<PathBuf>| path.as_deref().map(|path| secret(key, path)).transpose();
    let access = Access::new(AccessSpec {
        site: site.id.to_string(),
        lookup: LookupKey::new(&secret("lookup_key", &secrets.lookup)?),
        core_keys: setup.core_keys.clone(),
        seal: seal.clone(),
        own_seed: optional("code_key", &secrets.code_key)?,
        pins: optional("pin_secret", &secrets.pin_secret)?.map(|secret| PinSecret::new(&secret)),
        gates: setup.gates.clone(),
        zones: setup.zones.clone(),
        formats: setup.formats.clone(),
        guesses: setup.guesses,
        calendar: site.rules.calendar.clone(),
        zone: site.rules.zone.clone(),
    });
    Ok(Some((access, seal)))
}

/// The keys of the box for what lies on its disk.
#[derive(Clone)]
pub(super) struct Seals {
    /// The one that seals.
    pub(super) now: SealKey,
    /// The one that sealed before.
    pub(super) before: Option<SealKey>,
}

/// The box's keys for what lies on its disk; `None` where the site file names none. A former key that cannot be used is
/// told in the log.
///
/// # Errors
/// A sentence on why the one that seals cannot be used.
pub(super) fn seals(site: &Site) -> Result<Option<Seals>, String> {
    let (Some(now), Some(secrets)) = (seal_key(site)?, &site.access) else { return Ok(None) };
    let before = secrets.seal_before.as_deref().and_then(|path| {
        secret("seal_key_before", path).inspect_err(|why| tracing::error!(why, "the former key cannot be used")).ok()
    });
    Ok(Some(Seals { now, before: before.map(|before| SealKey::new(&before)) }))
}

/// The box's key for what lies on its disk; `None` where the site file names none.
///
/// # Errors
/// A sentence on why it cannot be used.
pub(super) fn seal_key(site: &Site) -> Result<Option<SealKey>, String> {
    let Some(secrets) = &site.access else { return Ok(None) };
    Ok(Some(SealKey::new(&secret("seal_key", &secrets.seal)?)))
}

/// 32 bytes as they are, or their base64.
fn secret(key: &str, path: &Path) -> Result<[u8; 32], String> {
    let wrong = |why: String| format!("access.{key}: {}: {why}", path.display());
    let meta = std::fs::metadata(path).map_err(|why| wrong(why.to_string()))?;
    if meta.len() > SECRET_BYTES {
        return Err(wrong("it is too large for a secret of 32 bytes".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|why| wrong(why.to_string()))?;
    if let Ok(plain) = bytes.as_slice().try_into() {
        return Ok(plain);
    }
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| STANDARD.decode(text.trim()).ok());
    let decoded = text.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    decoded.ok_or_else(|| wrong("it holds neither 32 bytes nor the base64 of 32 bytes".to_owned()))
}

/// The image that was written last; `None` where none was.
///
/// # Errors
/// A sentence on what is wrong with it.
pub(super) fn read_image(data: &Path, key: &SealKey) -> Result<Option<Image>, String> {
    let path = data.join(FOLDER).join(IMAGE);
    let sealed = match std::fs::read(&path) {
        Ok(sealed) => sealed,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(format!("{}: {why}", path.display())),
    };
    Image::open(key, &sealed).map(Some).map_err(|why| format!("{}: {why}", path.display()))
}

/// Writes the image so that after a power cut there is the old one or the new one, whole.
fn write_image(folder: &Path, sealed: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let (path, fresh) = (folder.join(IMAGE), folder.join("image.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(sealed)?;
    file.sync_all()?;
    std::fs::rename(&fresh, &path)?;
    File::open(folder)?.sync_all()
}

/// Where snapshots and deltas of the core are handed in.
pub(super) struct Intake {
    queue: mpsc::Sender<Message>,
    busy: Rc<Cell<bool>>,
    key: SealKey,
}

impl Intake {
    /// Takes what the core sends in, one after the other, and keeps the image up to date.
    pub(super) fn spawn(hub: Rc<Hub>, data: &Path, key: SealKey) -> Intake {
        let (queue, messages) = mpsc::channel(QUEUE);
        let busy = Rc::new(Cell::new(true));
        let task = Task {
            hub,
            folder: data.join(FOLDER),
            key: key.clone(),
            assembler: Assembler::default(),
            busy: busy.clone(),
            told: RefCell::default(),
        };
        tokio::task::spawn_local(task.run(messages));
        Intake { queue, busy, key }
    }

    /// True while it seals with this key.
    pub(super) fn seals_with(&self, key: &SealKey) -> bool {
        self.key == *key
    }

    /// Takes one part. Gives it back when too many wait.
    pub(super) fn take(&self, message: Message) -> Result<(), Message> {
        self.queue.try_send(message).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// True while a snapshot is on its way into force or onto the disk.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get() || self.queue.capacity() < QUEUE
    }
}

struct Task {
    hub: Rc<Hub>,
    folder: PathBuf,
    key: SealKey,
    assembler: Assembler,
    busy: Rc<Cell<bool>>,
    /// What was told last of an image that could not be written.
    told: RefCell<Option<(u64, String)>>,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        self.keep_image().await;
        self.busy.set(false);
        loop {
            match tokio::time::timeout(KEEP_AGAIN, messages.recv()).await {
                Ok(Some(message)) => {
                    self.busy.set(true);
                    self.apply(&message).await;
                    self.hub.hold(Held::Settle(message.id));
                }
                Ok(None) => return,
                Err(_) => {
                    self.busy.set(true);
                    self.keep_image().await;
                }
            }
            self.busy.set(false);
        }
    }

    /// Takes one part, and the whole if it was the last. An image that cannot be written is told and tried again, also
    /// after the message was settled: the broker would hold back everything else that was settled after it.
    async fn apply(&mut self, message: &Message) {
        let whole = match self.assembler.handle_part(&message.payload) {
            Ok(Some(whole)) => whole,
            Ok(None) => return,
            Err(why) => return self.hub.refuse_message(Inbound::Credentials, &why.to_string()),
        };
        let Some(expected) = self.hub.look(|engine| engine.access().map(Access::expected)) else {
            return self.hub.refuse_message(Inbound::Credentials, NO_ACCESS);
        };
        let verified = tokio::task::spawn_blocking(move || Snapshot::verify(&whole.bytes, &expected)).await;
        let Ok(verified) = verified else {
            return self.hub.refuse_message(Inbound::Credentials, "its verification did not end: send it again");
        };
        let mut applied = None;
        self.hub.decide(|engine, now| {
            applied = engine.handle_access(now, |access, now| match verified {
                Ok(verified) => access.handle_snapshot(now, verified, Salt(random())).ok(),
                Err(why) => {
                    tracing::warn!(why = %why, "credentials of the core are not taken");
                    access.handle_bad_snapshot(now, &why);
                    None
                }
            });
        });
        if let Some(Applied { version, .. }) = applied.flatten() {
            tracing::info!(version, "credentials are in force");
        }
        for pause in KEEP_PAUSES {
            if self.keep_image().await {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        self.keep_image().await;
    }

    /// Writes the image while one is wanted. False when it could not be written.
    async fn keep_image(&self) -> bool {
        while self.hub.look(|engine| engine.access().is_some_and(Access::wants_image)) {
            let mut image = None;
            self.hub.decide(|engine, now| image = engine.handle_access(now, |access, _| access.image()).flatten());
            let Some(image) = image else { return true };
            let (key, folder, version) = (self.key.clone(), self.folder.clone(), image.version());
            let written = tokio::task::spawn_blocking(move || {
                write_image(&folder, &image.seal(&key, Salt(random()))).map_err(|why| why.to_string())
            });
            if let Err(why) = written.await.unwrap_or_else(|why| Err(why.to_string())) {
                if self.told.replace(Some((version, why.clone()))) != Some((version, why.clone())) {
                    tracing::error!(why, "the image of the credentials cannot be written");
                    self.hub.audit("credentials_not_kept", &json!({ "version": version, "why": why }));
                }
                return false;
            }
            self.told.replace(None);
            self.hub.decide(|engine, now| {
                engine.handle_access(now, |access, now| access.handle_image_written(now, version));
            });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_bytes_or_their_base64() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, [7; 32]).unwrap();
        assert_eq!(secret("seal_key", &path), Ok([7; 32]));
        std::fs::write(&path, format!("{}\n", STANDARD.encode([8; 32]))).unwrap();
        assert_eq!(secret("seal_key", &path), Ok([8; 32]));
        std::fs::write(&path, "swordfish").unwrap();
        let why = secret("seal_key", &path).unwrap_err();
        let told = format!("access.seal_key: {}: it holds neither 32 bytes nor the base64 of 32 bytes", path.display());
        assert_eq!(why, told);
    }

    #[test]
    fn an_image_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        write_image(&folder, b"one").unwrap();
        write_image(&folder, b"two").unwrap();
        assert_eq!(std::fs::read(folder.join(IMAGE)).unwrap(), b"two");
        let key = SealKey::new(&[1; 32]);
        let why = read_image(dir.path(), &key).unwrap_err();
        assert!(why.ends_with("image.ghs: not a sealed text: it does not begin with GHS1, or ends too soon"), "{why}");
        assert_eq!(read_image(&dir.path().join("elsewhere"), &key), Ok(None));
    }
}
