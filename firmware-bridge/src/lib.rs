//! The box's own chips, through embedded-hal 1.0 traits.
