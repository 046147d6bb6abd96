//! What the site file says of commands.

use std::collections::BTreeSet;
use std::time::Duration;

use gatehouse_core::Name;

use super::signature::Signing;

/// The action that wishes a supply back.
pub const WISH: &str = "reconnect";
/// The longest time that it may wait.
const LONGEST_WISH: Duration = Duration::from_secs(31 * 86_400);

/// What the site file says of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who may command from afar.
    pub signing: Signing,
    /// Actions that only people at the site may ask for, through the box's socket. Default: `reset_fire`.
    pub local_only: BTreeSet<Name>,
    /// The longest time from `issued_at` to `expires_at`. Default 1 h.
    pub longest_life: Duration,
    /// How far `issued_at` may lie in the future of the box's clock. Default 30 s.
    pub skew: Duration,
    /// How long after its expiry a command may go on without an outcome; it is then `unknown`. Default 2 min.
    pub patience: Duration,
    /// How much longer an id is kept than its command could act. Default 10 min.
    pub margin: Duration,
    /// How many ids are kept. Default 4,096; 64 more for STOP.
    pub room: usize,
    /// How many commands wait for one target. Default 16.
    pub waiting: usize,
}

impl Settings {
    /// The defaults, for the box of this id.
    pub fn new(box_id: Name) -> Self {
        Settings {
            signing: Signing::new(box_id),
            local_only: Name::new("reset_fire").into_iter().collect(),
            longest_life: Duration::from_secs(3600),
            skew: Duration::from_secs(30),
            patience: Duration::from_secs(120),
            margin: Duration::from_secs(600),
            room: 4096,
            waiting: 16,
        }
    }

    /// How long a command may live: a wish to give a supply back waits for a site that is cut off.
    pub(super) fn longest_for(&self, action: &str) -> Duration {
        if action == WISH { LONGEST_WISH } else { self.longest_life }
    }

    /// How long an id is kept whose command may not act: until it could not act any more by any clock.
    pub(super) fn refused_for(&self) -> Duration {
        self.longest_life + self.margin
    }
}
