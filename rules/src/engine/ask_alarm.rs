//! What people do to alarms, and to the site as a whole.

use std::time::Duration;

use gatehouse_core::Stamp;

use super::Engine;
use super::routing::{Args, arg, refused};
use crate::alarm::{AckResult, By, Drill, RequestResult, ResetResult, ShelveResult};
use crate::command::{Dispatch, Outcome, Source, Step, What};
use crate::words::{AlarmId, Occurrence};

/// What came of something that a person asked for: it is so now, or it cannot be.
pub(super) type Asked = Result<Option<Step>, Outcome>;

/// It is so now.
pub(super) fn done() -> Asked {
    Ok(Some(Step::Ended(Outcome::Verified { read_back: None })))
}

/// The action of a command that is no write.
pub(super) fn action(dispatch: &Dispatch) -> Result<(&str, &Args), Outcome> {
    match &dispatch.request.what {
        What::Act { action, args } => Ok((action, args)),
        What::Write { .. } => Err(refused("unknown_action", "only devices have points to write")),
    }
}

/// The number of that name.
pub(super) fn number(args: &Args, name: &str) -> Result<Option<u64>, Outcome> {
    match arg(args, name) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| refused("bad_args", format!("{name} takes a whole number, not {text:?}"))),
    }
}

pub(super) fn missing(name: &str, what: &str) -> Outcome {
    refused("bad_args", format!("{name} is missing: {what}"))
}

pub(super) fn unknown(action: &str, known: &str) -> Outcome {
    refused("unknown_action", format!("there is no action {action:?} here; there are {known}"))
}

impl Engine {
    pub(super) fn ask_alarm(&mut self, now: Stamp, id: &AlarmId, dispatch: &Dispatch) -> Asked {
        let (action, args) = action(dispatch)?;
        let who = Engine::asker(dispatch);
        let by = By { who: &who, comment: arg(args, "comment").unwrap_or_default() };
        match action {
            "acknowledge" => {
                let occurrence = number(args, "occurrence")?;
                let occurrence = occurrence.ok_or_else(|| {
                    missing("occurrence", "the number that the alarm was shown with, so that no newer one is meant")
                })?;
                match self.alarms.handle_acknowledge(now, id, Occurrence(occurrence), by) {
                    AckResult::Done | AckResult::AlreadyDone => done(),
                    AckResult::OldOccurrence(newer) => Err(refused(
                        "old_occurrence",
                        format!("the alarm has come again since, as occurrence {}", newer.0),
                    )),
                    AckResult::NoSuchAlarm => Err(no_such_alarm()),
                }
            }
            "shelve" => {
                let minutes =
                    number(args, "minutes")?.ok_or_else(|| missing("minutes", "shelving always has an end"))?;
                let span = Duration::from_secs(minutes.saturating_mul(60));
                match self.alarms.handle_shelve(now, id, span, by) {
                    ShelveResult::Done(_) => done(),
                    ShelveResult::AlreadyDone(until) => {
                        let left = now.mono.until(until).as_secs() / 60;
                        Err(refused(
                            "already_shelved",
                            format!("it is shelved for {left} more minutes: unshelve it first"),
                        ))
                    }
                    ShelveResult::TooLong(most) => Err(refused(
                        "too_long",
                        format!("it may be shelved for {} minutes at most", most.as_secs() / 60),
                    )),
                    ShelveResult::NoSuchAlarm => Err(no_such_alarm()),
                }
            }
            "unshelve" => changed(self.alarms.handle_unshelve(now, id, by)),
            "remove_from_service" => changed(self.alarms.handle_out_of_service(now, id, true, by)),
            "return_to_service" => changed(self.alarms.handle_out_of_service(now, id, false, by)),
            "reset" => match self.alarms.handle_reset(now, id, by) {
                ResetResult::Done | ResetResult::AlreadyDone => done(),
                ResetResult::AcknowledgeFirst => Err(refused("acknowledge_first", "acknowledge it, then reset it")),
                ResetResult::StillActive => Err(refused("still_active", "its condition still holds")),
                ResetResult::NoSuchAlarm => Err(no_such_alarm()),
            },
            other => {
                let known = "acknowledge, shelve, unshelve, remove_from_service, return_to_service and reset";
                Err(unknown(other, known))
            }
        }
    }

    pub(super) fn ask_site(&mut self, now: Stamp, dispatch: &Dispatch) -> Asked {
        let (action, args) = action(dispatch)?;
        match action {
            "begin_drill" => {
                let classes = arg(args, "classes").map(|list| list.split(',').map(|c| c.trim().to_owned()).collect());
                self.alarms.handle_drill(now, classes.map_or(Drill::All, Drill::Classes));
                self.tickets.handle_drill(now, true);
                done()
            }
            "end_drill" => {
                self.alarms.handle_drill(now, Drill::Off);
                self.tickets.handle_drill(now, false);
                done()
            }
            "vouch_clock" => match dispatch.source {
                Source::Socket { .. } => {
                    let issuer = dispatch.request.issuer.clone();
                    self.commands.handle_clock_vouched(now, &issuer, dispatch.source);
                    done()
                }
                Source::Core => Err(refused("local_only", "somebody at the site has to look at the clock")),
            },
            other => Err(unknown(other, "begin_drill, end_drill and vouch_clock")),
        }
    }
}

fn changed(result: RequestResult) -> Asked {
    match result {
        RequestResult::Done | RequestResult::AlreadyDone => done(),
        RequestResult::NoSuchAlarm => Err(no_such_alarm()),
    }
}

fn no_such_alarm() -> Outcome {
    refused("unknown_alarm", "there is no such alarm; `gatehouse alarms` lists those that there are")
}
