//! The store as the uplink sees it.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use gatehouse_core::Lane;
use gatehouse_store::{Store, resolve};
use gatehouse_uplink::{Outbox, OutboxError, Visit};

/// Hands the store's records to the uplink, with their stamps mended by what is known of the clock now.
pub struct StoreOutbox(pub Rc<RefCell<Store>>);

impl Outbox for StoreOutbox {
    fn epoch(&self) -> u64 {
        self.0.borrow().epoch()
    }

    fn newest(&self, lane: Lane) -> u64 {
        self.0.borrow().newest(lane)
    }

    fn next_unacked(&self, lane: Lane, from: u64) -> Option<u64> {
        self.0.borrow().next_unacked(lane, from)
    }

    fn read(&mut self, lane: Lane, from: u64, visit: &mut Visit<'_>) -> Result<(), OutboxError> {
        let mut store = self.0.borrow_mut();
        let offsets = store.clock_offsets().to_vec();
        store
            .read(lane, from, &mut |record| -> ControlFlow<()> { visit(record, resolve(&offsets, &record.stamp)) })
            .map_err(|e| OutboxError { lane, why: e.to_string() })
    }

    fn ack(&mut self, lane: Lane, first: u64, last: u64) {
        self.0.borrow_mut().ack(lane, first, last);
    }

    fn refuse(&mut self, lane: Lane, seq: u64) {
        self.0.borrow_mut().refuse(lane, seq);
    }
}
