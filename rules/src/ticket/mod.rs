//! Tickets: a fault becomes one work order.
