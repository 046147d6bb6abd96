//! When something applies: work days and holidays, weekly hours, and rounds that are due at certain times.
//!
//! Everything here reckons in the site's civil time. The zone is an argument, as time is: the crate reads no zone files.
//! Start with [`Calendar`], then [`Weekly`]; [`zone`] says what happens when clocks are put forward or back.

pub mod calendar;
pub mod days;
pub mod weekly;
pub mod zone;

pub use calendar::{Calendar, CalendarError, CalendarFault, CalendarPart, CalendarSpec, DayKind, Holiday};
pub use days::Days;
pub use weekly::{Span, Weekly};
pub use zone::{local, wall};
