//! Segment files: blocks of one lane, one after the other, deleted whole.
//!
//! A file begins with 32 bytes: magic `GHSEG1\r\n`, number u64, epoch u64, lane u8, times thinned u8, zero `[2]`, crc32
//! u32 of the 28 bytes before. Then blocks (see [`crate::block`]). A file is written by one process run only and never
//! changed in place, so that whatever cannot be read was torn or damaged, and stays for people to look at.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gatehouse_core::{Lane, Trust, Wall};

use crate::block::{self, BlockReader, Head};
use crate::intervals::Intervals;
use crate::wire::Take;

const MAGIC: [u8; 8] = *b"GHSEG1\r\n";
/// Bytes before the first block.
pub(crate) const FILE_HEAD: u64 = 32;

/// What is known of a segment file.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) lane: Lane,
    pub(crate) epoch: u64,
    pub(crate) path: PathBuf,
    /// First and last number of its blocks.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// How often it was thinned.
    pub(crate) level: u8,
}

pub(crate) fn file_name(lane: Lane, id: u64) -> String {
    format!("{lane}-{id:010}.seg")
}

/// The lane and number in a segment's file name.
pub(crate) fn parse_name(name: &str) -> Option<(Lane, u64)> {
    let (lane, id) = name.strip_suffix(".seg")?.rsplit_once('-')?;
    let lane = Lane::from_name(lane).filter(|lane| !lane.is_event())?;
    let id: u64 = id.parse().ok()?;
    (file_name(lane, id) == name).then_some((lane, id))
}

pub(crate) fn file_head(lane: Lane, id: u64, epoch: u64, level: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&[if lane == Lane::Billing { 4 } else { 5 }, level, 0, 0]);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Epoch and times thinned.
fn parse_head(bytes: &[u8]) -> Option<(u64, u8)> {
    let mut take = Take(bytes);
    let magic: [u8; 8] = take.array()?;
    take.le_u64()?;
    let epoch = take.le_u64()?;
    let level = take.bytes(4)?[1];
    (magic == MAGIC && take.le_u32()? == crc32fast::hash(&bytes[..28])).then_some((epoch, level))
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(crate) enum At {
    /// A block with a sound header.
    Block(Head),
    /// Bytes that are no block; a sound one follows at `next`, if any.
    Damage { next: Option<u64> },
    /// The end.
    End,
}

/// Looks at `offset`; `len` is the length of the file.
pub(crate) fn look(file: &File, offset: u64, len: u64) -> io::Result<At> {
    if offset >= len {
        return Ok(At::End);
    }
    let mut bytes = [0; block::HEAD];
    if len - offset >= block::HEAD as u64 {
        file.read_exact_at(&mut bytes, offset)?;
        if let Some(head) = Head::decode(&bytes).filter(|head| offset + block_len(head) <= len) {
            return Ok(At::Block(head));
        }
    }
    let rest = read_vec(file, offset, len - offset)?;
    let mut from = 1;
    while let Some(found) = rest.get(from..).and_then(|rest| rest.windows(4).position(|w| w == block::MAGIC)) {
        let at = from + found;
        if Head::decode(&rest[at..]).is_some_and(|head| offset + at as u64 + block_len(&head) <= len) {
            return Ok(At::Damage { next: Some(offset + at as u64) });
        }
        from = at + 1;
    }
    Ok(At::Damage { next: None })
}

/// Bytes of a block, header included.
pub(crate) fn block_len(head: &Head) -> u64 {
    (block::HEAD + head.body) as u64
}

/// Reads and unpacks the block at `offset`; `None` when its body is damaged.
pub(crate) fn open_block(file: &File, offset: u64, head: &Head) -> io::Result<Option<BlockReader>> {
    let body = read_vec(file, offset + block::HEAD as u64, head.body as u64)?;
    Ok(BlockReader::open(head, &body))
}

pub(crate) fn read_vec(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// What a look at all headers of a file gives.
#[derive(Debug)]
pub(crate) struct Scan {
    /// `None` when the file's own header is damaged and no block is left to tell the lane by.
    pub(crate) segment: Option<Segment>,
    /// Numbers that its blocks hold.
    pub(crate) held: Intervals,
    /// Numbers that its blocks account for as delivered.
    pub(crate) done: Intervals,
    /// Offset and length of bytes that are no block.
    pub(crate) damage: Vec<(u64, u64)>,
}

/// Looks at all headers of a file, and at the body of the last block, which a power cut may have torn.
pub(crate) fn scan(path: &Path, lane: Lane, id: u64) -> io::Result<Scan> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut scan = Scan { segment: None, held: Intervals::default(), done: Intervals::default(), damage: Vec::new() };
    let head = read_vec(&file, 0, len.min(FILE_HEAD))?;
    let known = parse_head(&head);
    if known.is_none() && len > 0 {
        scan.damage.push((0, len.min(FILE_HEAD)));
    }
    let (epoch, level) = known.unwrap_or((0, 0));
    let mut heads: Vec<(u64, Head)> = Vec::new();
    let mut segment =
        Segment { id, lane, epoch, path: path.into(), first: u64::MAX, last: 0, records: 0, bytes: len, level };
    let mut offset = FILE_HEAD;
    loop {
        match look(&file, offset, len)? {
            At::Block(head) => {
                heads.push((offset, head));
                offset += block_len(&head);
            }
            At::Damage { next } => {
                let end = next.unwrap_or(len);
                scan.damage.push((offset, end - offset));
                offset = end;
            }
            At::End => break,
        }
        // Summed up as we go, but for the last one, whose body is to be seen first.
        if heads.len() > 1 {
            take_in(&mut scan, &mut segment, &heads.remove(0).1);
        }
    }
    if let Some((offset, head)) = heads.pop() {
        if open_block(&file, offset, &head)?.is_some() {
            take_in(&mut scan, &mut segment, &head);
        } else {
            scan.damage.push((offset, block_len(&head)));
        }
    }
    if segment.last > 0 {
        scan.segment = Some(segment);
    }
    Ok(scan)
}

fn take_in(scan: &mut Scan, segment: &mut Segment, head: &Head) {
    scan.held.insert(head.first, head.last);
    scan.done.insert(head.covers_from, head.first - 1);
    segment.first = segment.first.min(head.first);
    segment.last = segment.last.max(head.last);
    segment.records += u64::from(head.records);
}

/// When the oldest record of the block that holds `number`, or of the first one after it, happened.
pub(crate) fn wall_at(segment: &Segment, number: u64) -> Option<(Wall, Trust)> {
    let file = File::open(&segment.path).ok()?;
    let mut offset = FILE_HEAD;
    loop {
        match look(&file, offset, segment.bytes).ok()? {
            At::Block(head) if head.last >= number => return Some((head.wall, head.trust)),
            At::Block(head) => offset += block_len(&head),
            At::Damage { next } => offset = next?,
            At::End => return None,
        }
    }
}
