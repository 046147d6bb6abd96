//! DL/T 645, the protocol of Chinese electricity meters, in its editions of 1997 and 2007.

pub mod point;

pub use point::{Dlt645Point, Edition, Format};
