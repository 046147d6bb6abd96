//! The stable codes of problems. Scripts may rely on them; their texts may be bettered.

/// The file cannot be read.
pub const UNREADABLE: &str = "gatehouse::config::unreadable";
/// The text is not TOML.
pub const SYNTAX: &str = "gatehouse::config::syntax";
/// A key that its table does not have.
pub const UNKNOWN_KEY: &str = "gatehouse::config::unknown_key";
/// A key that its table must have.
pub const MISSING_KEY: &str = "gatehouse::config::missing_key";
/// A value of another TOML type than its key takes.
pub const WRONG_TYPE: &str = "gatehouse::config::wrong_type";
/// A value outside what its key takes.
pub const BAD_VALUE: &str = "gatehouse::config::bad_value";
/// Values that do not go together.
pub const CONFLICT: &str = "gatehouse::config::conflict";
/// A name or an address that is taken.
pub const DUPLICATE: &str = "gatehouse::config::duplicate";
/// The site has no bus or no device.
pub const EMPTY_SITE: &str = "gatehouse::config::empty_site";
/// A device on a bus that is not in the file.
pub const UNKNOWN_BUS: &str = "gatehouse::config::unknown_bus";
/// A profile that neither the program nor the site's folder has.
pub const UNKNOWN_PROFILE: &str = "gatehouse::config::unknown_profile";
/// A point that neither the profile nor the device has.
pub const UNKNOWN_POINT: &str = "gatehouse::config::unknown_point";
/// A zone that this machine does not know.
pub const UNKNOWN_TIMEZONE: &str = "gatehouse::config::unknown_timezone";
/// Two devices of one bus with the same unit address.
pub const DUPLICATE_UNIT: &str = "gatehouse::config::duplicate_unit";
/// Two buses on one port.
pub const SHARED_PORT: &str = "gatehouse::config::shared_port";
/// A device whose profile usually has other line settings than its bus.
pub const LINE_SETTINGS: &str = "gatehouse::config::line_settings";
/// A unit address that the standard reserves.
pub const RESERVED_UNIT: &str = "gatehouse::config::reserved_unit";
/// A point that bills cannot be made of, or only with care.
pub const BILLING: &str = "gatehouse::config::billing";
/// A secret written into the file.
pub const LITERAL_SECRET: &str = "gatehouse::config::literal_secret";
/// A file that the site file names and that cannot be read now.
pub const FILE_ABSENT: &str = "gatehouse::config::file_absent";
/// A secret that everybody on the box can read.
pub const OPEN_SECRET: &str = "gatehouse::config::open_secret";
/// A port that is not there now.
pub const PORT_ABSENT: &str = "gatehouse::config::port_absent";
/// A way to the core that others can listen to.
pub const PLAIN_UPLINK: &str = "gatehouse::config::plain_uplink";
/// A page without a password, reachable from outside.
pub const OPEN_HTTP: &str = "gatehouse::config::open_http";
/// A setting that nothing uses.
pub const UNUSED: &str = "gatehouse::config::unused";
/// A profile file with mistakes.
pub const BAD_PROFILE: &str = "gatehouse::config::bad_profile";
/// An address that the device's limits say must not be read.
pub const FORBIDDEN_ADDRESS: &str = "gatehouse::config::forbidden_address";
/// A device that is not in the file.
pub const UNKNOWN_DEVICE: &str = "gatehouse::config::unknown_device";
/// A rule that nothing reaches.
pub const UNREACHABLE: &str = "gatehouse::config::unreachable";
/// A rule that, once raised, can never clear.
pub const NEVER_CLEARS: &str = "gatehouse::config::never_clears";
/// Rules that do not fit together.
pub const BAD_RULE: &str = "gatehouse::config::bad_rule";
/// A gate that cannot work as it is described.
pub const BAD_GATE: &str = "gatehouse::config::bad_gate";
/// A sensor of a gate, or of the supply, that is read too rarely.
pub const SLOW_SENSOR: &str = "gatehouse::config::slow_sensor";
