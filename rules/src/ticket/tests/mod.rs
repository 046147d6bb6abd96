//! Stories of tickets, told to a box that restarts, loses its power and its clock.

mod causes;
mod course;
mod updates;
