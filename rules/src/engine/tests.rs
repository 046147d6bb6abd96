//! The engine as a whole, beside a model of everything around it: stories, and random happenings against what must
//! always hold.

mod core;
mod entrance;
mod happening;
mod keypad;
mod law;
mod long;
mod plant;
mod recorded;
mod shell;
mod site;
mod stories;
mod storms;
mod supply;
mod weather;
