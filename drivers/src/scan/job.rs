//! One question, and what it is for.

use super::patience::Pace;
use super::question::Question;
use super::quiet::{Control, Doubt};
use super::trial::Trial;
use super::wildcard::Hearing;
use crate::line::settings::Characters;

/// One question and what it is for.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) question: Question,
    pub(super) characters: Option<Characters>,
    pub(super) pace: Pace,
    pub(super) purpose: Purpose,
    /// It was asked before, over a connection that was closed instead of an answer.
    pub(super) is_repeated: bool,
}

impl Job {
    pub(super) fn new(question: Question, characters: Option<Characters>, pace: Pace, purpose: Purpose) -> Job {
        Job { question, characters, pace, purpose, is_repeated: false }
    }
}

/// What a question is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// Is anybody there?
    Probe,
    /// Is it one device? If it is none at all, there is a doubt left of another parity.
    Trial { trial: Trial, doubt: Option<Box<Doubt>> },
    /// Who of many is there?
    Wildcard(Hearing),
    /// Which model is the finding at this place? How often that was asked without trouble, and how often with it.
    Study { place: usize, tries: u8, troubles: u8 },
    /// Is the line quiet when nobody is asked who is there?
    Control(Control),
    /// Does anything answer whatever unit is asked?
    Sentinel,
}

impl Purpose {
    pub(super) fn trial(trial: Trial) -> Purpose {
        Purpose::Trial { trial, doubt: None }
    }
}
