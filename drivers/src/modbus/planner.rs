//! The cheapest set of read requests for a device's points.
//!
//! Exact: points sorted by address are cut into consecutive runs, one request each, by dynamic programming. Runs lose
//! nothing: where an optimal set would take a point out of the middle of a run, that point's end lies beyond the run,
//! so everything of the run from there on lies within the other request and moves there for free.

use std::time::Duration;

use gatehouse_core::PointIx;

use super::frame::Framing;
use super::pdu::{MAX_READ_BITS, MAX_READ_REGISTERS};
use super::point::{ModbusPoint, Table};
use crate::line::settings::Wire;
use crate::profile::Limits;

/// What requests cost in time on the device's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Nanoseconds that each request costs beside its bytes: silences and turnaround, or a round trip.
    pub per_request_ns: u64,
    /// Nanoseconds of one byte on the wire.
    pub per_byte_ns: u64,
}

/// Nanoseconds of a byte at 100 Mbit/s.
const TCP_BYTE_NS: u64 = 80;

impl Cost {
    /// On a serial line: two silences, the device's turnaround and its pause, and the characters.
    pub fn serial(wire: &Wire, turnaround: Duration, pause: Duration) -> Cost {
        let around = wire.silence() * 2 + turnaround + pause;
        Cost { per_request_ns: nanos(around), per_byte_ns: nanos(wire.chars(1)) }
    }

    /// On a socket: the round trip, the device's own time included.
    pub fn tcp(round_trip: Duration) -> Cost {
        Cost { per_request_ns: nanos(round_trip), per_byte_ns: TCP_BYTE_NS }
    }

    /// The time of one read of `quantity` registers or bits, in nanoseconds.
    pub fn read_ns(&self, framing: Framing, table: Table, quantity: u16) -> u64 {
        let bytes = framing.frame_bytes(READ_REQUEST_PDU) + framing.frame_bytes(read_reply_pdu(table, quantity));
        self.per_request_ns + self.per_byte_ns * bytes as u64
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Bytes of a read request's PDU.
pub(super) const READ_REQUEST_PDU: usize = 5;

/// Bytes of the PDU that answers a read.
pub(super) fn read_reply_pdu(table: Table, quantity: u16) -> usize {
    let quantity = usize::from(quantity);
    2 + if table.is_bits() { quantity.div_ceil(8) } else { 2 * quantity }
}

/// One planned read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What is read.
    pub table: Table,
    /// First wire address.
    pub address: u16,
    /// Bits or registers.
    pub quantity: u16,
    /// The points within it, ascending.
    pub points: Vec<PointIx>,
}

/// Why a point cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The device has no such point.
    #[error("the device has no point {}", point.0)]
    Unknown {
        /// The point.
        point: PointIx,
    },
    /// The point reaches beyond address 65535.
    #[error("point {} reaches beyond the last wire address, 65535", point.0)]
    BeyondLast {
        /// The point.
        point: PointIx,
    },
    /// The point takes more registers than the device gives in one read.
    #[error("point {} takes {width} registers, the device gives at most {most} in one read", point.0)]
    TooWide {
        /// The point.
        point: PointIx,
        /// What it takes, with even alignment where the device wants that.
        width: u32,
        /// The limit.
        most: u16,
    },
    /// The point lies in addresses that must not be read.
    #[error("point {} lies in the addresses {first} to {last}, which must not be read", point.0)]
    InHole {
        /// The point.
        point: PointIx,
        /// First address of the hole.
        first: u16,
        /// Last address of the hole.
        last: u16,
    },
}

/// A place that no read may cross: the device refused a read across it.
pub(super) type Cut = (Table, u16);

/// What the plan must hold to, and what it costs.
pub(super) struct Rules<'a> {
    pub(super) framing: Framing,
    pub(super) cost: Cost,
    pub(super) limits: &'a Limits,
    pub(super) cuts: &'a [Cut],
}

/// Plans the reads of some points of a device.
///
/// # Errors
/// [`PlanError`] names the first point that no read can give.
pub fn plan(
    specs: &[ModbusPoint],
    points: &[PointIx],
    framing: Framing,
    limits: &Limits,
    cost: Cost,
) -> Result<Vec<Read>, PlanError> {
    plan_with(specs, points, &Rules { framing, cost, limits, cuts: &[] })
}

/// One point's addresses.
#[derive(Clone, Copy)]
struct Item {
    point: PointIx,
    start: u32,
    /// The address after the last.
    end: u32,
}

impl Item {
    fn new(spec: &ModbusPoint, point: PointIx) -> Item {
        let start = u32::from(spec.address);
        Item { point, start, end: start + u32::from(spec.width().max(1)) }
    }
}

pub(super) fn plan_with(specs: &[ModbusPoint], points: &[PointIx], rules: &Rules) -> Result<Vec<Read>, PlanError> {
    if let Some(&point) = points.iter().find(|point| usize::from(point.0) >= specs.len()) {
        return Err(PlanError::Unknown { point });
    }
    let mut reads = Vec::new();
    for table in [Table::Coil, Table::Discrete, Table::Holding, Table::Input] {
        let mut items = Vec::new();
        for &point in points {
            let Some(spec) = specs.get(usize::from(point.0)).filter(|spec| spec.table == table) else { continue };
            let item = Item::new(spec, point);
            rules.check(table, item)?;
            items.push(item);
        }
        items.sort_by_key(|item| (item.start, item.end, item.point));
        items.dedup_by_key(|item| (item.start, item.end, item.point));
        rules.cheapest(table, &items, &mut reads);
    }
    Ok(reads)
}

impl Rules<'_> {
    /// True when a read of this point alone is within the limits.
    pub(super) fn can_read(&self, specs: &[ModbusPoint], point: PointIx) -> bool {
        let Some(spec) = specs.get(usize::from(point.0)) else { return false };
        self.check(spec.table, Item::new(spec, point)).is_ok()
    }

    /// One read of all these points, whatever was refused before; `None` beyond the limits.
    pub(super) fn read_all(&self, specs: &[ModbusPoint], table: Table, points: &[PointIx]) -> Option<Read> {
        let spec = |&point: &PointIx| specs.get(usize::from(point.0)).map(|spec| Item::new(spec, point));
        let mut items: Vec<Item> = points.iter().filter_map(spec).collect();
        items.sort_by_key(|item| (item.start, item.end, item.point));
        let (address, quantity) = Rules { cuts: &[], ..*self }.read(table, &items)?;
        let mut points = points.to_vec();
        points.sort_unstable();
        Some(Read { table, address, quantity, points })
    }

    /// The window of a read of these registers; `None` beyond the limits.
    pub(super) fn row(&self, table: Table, first: u16, count: u16) -> Option<(u16, u16)> {
        let start = u32::from(first);
        let item = Item { point: PointIx(0), start, end: start + u32::from(count) };
        self.check(table, item).ok()?;
        let (start, end) = self.window(table, item.start, item.end);
        Some((u16::try_from(start).ok()?, u16::try_from(end - start).ok()?))
    }

    fn most(&self, table: Table) -> u16 {
        if table.is_bits() {
            self.limits.max_bits.clamp(1, MAX_READ_BITS)
        } else {
            self.limits.max_registers.clamp(1, MAX_READ_REGISTERS)
        }
    }

    /// The window that a read of these addresses has.
    fn window(&self, table: Table, start: u32, end: u32) -> (u32, u32) {
        if self.limits.even && !table.is_bits() { (start & !1, end.next_multiple_of(2)) } else { (start, end) }
    }

    fn hole(&self, table: Table, start: u32, end: u32) -> Option<(u16, u16)> {
        let holes = self.limits.holes.iter().filter(|hole| hole.0 == table);
        holes.map(|hole| (hole.1, hole.2)).find(|&(first, last)| u32::from(first) < end && start <= u32::from(last))
    }

    fn check(&self, table: Table, item: Item) -> Result<(), PlanError> {
        let point = item.point;
        let (start, end) = self.window(table, item.start, item.end);
        if end > 0x1_0000 {
            return Err(PlanError::BeyondLast { point });
        }
        let most = self.most(table);
        if end - start > u32::from(most) {
            return Err(PlanError::TooWide { point, width: end - start, most });
        }
        match self.hole(table, start, end) {
            Some((first, last)) => Err(PlanError::InHole { point, first, last }),
            None => Ok(()),
        }
    }

    fn is_cut(&self, table: Table, start: u32, end: u32) -> bool {
        self.cuts.iter().any(|&(at, cut)| at == table && start < u32::from(cut) && u32::from(cut) < end)
    }

    /// The window of one read of a run of items, if one read may have them all.
    fn read(&self, table: Table, run: &[Item]) -> Option<(u16, u16)> {
        self.reads_from(table, run).nth(run.len().checked_sub(1)?)
    }

    /// The windows of reads of the first item, the first two, the first three and so on, while one read may have them
    /// all: each rule that a run breaks is broken by every longer one.
    fn reads_from(&self, table: Table, items: &[Item]) -> impl Iterator<Item = (u16, u16)> {
        let first = items.first().map_or(0, |item| item.start);
        let mut end = first;
        items.iter().enumerate().map_while(move |(at, item)| {
            if at > 0 && item.start > end + u32::from(self.limits.max_gap) {
                return None;
            }
            end = end.max(item.end);
            if at > 0 && self.is_cut(table, first, end) {
                return None;
            }
            let (start, end) = self.window(table, first, end);
            let fits = end - start <= u32::from(self.most(table)) && self.hole(table, start, end).is_none();
            fits.then_some((u16::try_from(start).ok()?, u16::try_from(end - start).ok()?))
        })
    }

    /// Appends the cheapest reads of one table's items, which are sorted and each readable alone.
    fn cheapest(&self, table: Table, items: &[Item], reads: &mut Vec<Read>) {
        // best[n]: cost of the first n items, and where their last run begins. Ties keep the longer last run.
        let mut best = vec![(u64::MAX, 0usize); items.len() + 1];
        best[0].0 = 0;
        for from in 0..items.len() {
            for (n, (_, quantity)) in (from + 1..).zip(self.reads_from(table, &items[from..])) {
                let cost = best[from].0.saturating_add(self.cost.read_ns(self.framing, table, quantity));
                if cost < best[n].0 {
                    best[n] = (cost, from);
                }
            }
        }
        let first = reads.len();
        let mut n = items.len();
        while n > 0 {
            let from = best[n].1;
            if let Some((address, quantity)) = self.read(table, &items[from..n]) {
                let mut points: Vec<PointIx> = items[from..n].iter().map(|item| item.point).collect();
                points.sort_unstable();
                reads.push(Read { table, address, quantity, points });
            }
            n = from;
        }
        reads[first..].reverse();
    }
}

#[cfg(test)]
mod tests;
