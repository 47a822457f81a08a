//! A stream as the parts that snapshots hold and digests are taken of.
//! Owns: their bytes. Never: trusts them when they come back.
//!
//! First the marks, then the blocks, then each group with its consumers and what is pending. A part begins with a byte
//! that says what it is.

use crate::table::Hasher;
use crate::value::Kind;
use crate::value::stream::{Group, Inner, Marks, Stream, StreamId};
use crate::wire::{WireReader, put_bytes, put_var};

const MARKS: u8 = b'M';
const BLOCK: u8 = b'B';
const GROUP: u8 = b'G';
const CONSUMER: u8 = b'C';
const PENDING: u8 = b'P';

const SHORT: &str = "a part of a stream is cut short";

impl Kind for Stream {
    const NAME: &'static str = "stream";
    const CODE: u8 = b'X';
    const IS_ORDERED: bool = true;

    fn new() -> Self {
        Self(Box::default())
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    /// Never: a stream without entries has a last id, and groups may wait for what comes.
    fn is_empty(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        size_of::<Inner>() + self.0.blocks.bytes() + self.0.group_bytes
    }

    fn content_bytes(&self) -> usize {
        self.0.blocks.used() + self.0.group_bytes
    }

    fn duplicate(&self, _hasher: &Hasher) -> Self {
        let mut copy = self.0.clone();
        copy.blocks.count_bytes();
        Self(copy)
    }

    fn form(&self) -> u8 {
        0
    }

    fn part_count(&self) -> u64 {
        let in_groups: usize = self
            .groups()
            .values()
            .map(|group| 1 + group.consumers().len() + group.pending().len())
            .sum();
        (1 + self.block_count() + in_groups) as u64
    }

    fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        let marks = self.marks();
        let mut part = vec![MARKS];
        put_id(&mut part, marks.last_id);
        put_id(&mut part, marks.max_deleted);
        put_var(&mut part, marks.entries_added);
        visit(&part);
        for (first, bytes) in self.blocks() {
            part.clear();
            part.push(BLOCK);
            put_id(&mut part, first);
            part.extend_from_slice(bytes);
            visit(&part);
        }
        for (name, group) in self.groups() {
            each_part_of_group(name, group, &mut part, visit);
        }
    }

    fn begin(_hasher: &Hasher, form: u8, _parts: u64) -> Option<Self> {
        (form == 0).then(Self::new)
    }

    fn add_part(&mut self, _hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        let mut part = WireReader(part);
        match part.byte().ok_or(SHORT)? {
            MARKS => {
                let last_id = id(&mut part)?;
                let max_deleted = id(&mut part)?;
                let entries_added = part.var().ok_or(SHORT)?;
                if self.last_entry_id() > Some(last_id) {
                    return Err("an entry is above the last id of its stream");
                }
                self.set_marks(Marks { last_id, max_deleted, entries_added });
                Ok(())
            }
            BLOCK => {
                let first = id(&mut part)?;
                self.load_block(first, part.0)
                    .ok_or("a block of a stream is none, or out of order")?;
                let last = self.last_entry_id();
                let is_below = last <= Some(self.last_id());
                if is_below { Ok(()) } else { Err("an entry is above the last id of its stream") }
            }
            GROUP => {
                let name = part.bytes().ok_or(SHORT)?;
                let last_id = id(&mut part)?;
                let is_known = part.byte().ok_or(SHORT)? == 1;
                let read = part.u64().ok_or(SHORT)?.cast_signed();
                let group = Group::new(last_id, is_known.then_some(read));
                if self.add_group(name, group) { Ok(()) } else { Err("a group stands twice") }
            }
            kind => {
                let name = part.bytes().ok_or(SHORT)?;
                let added = self.edit_group(name, |group| add_to_group(group, kind, part));
                added.unwrap_or(Err("a consumer's group is missing"))
            }
        }
    }
}

fn each_part_of_group(
    name: &[u8],
    group: &Group,
    part: &mut Vec<u8>,
    visit: &mut dyn FnMut(&[u8]),
) {
    let begin = |part: &mut Vec<u8>, kind: u8| {
        part.clear();
        part.push(kind);
        put_bytes(part, name);
    };
    begin(part, GROUP);
    put_id(part, group.last_id);
    part.push(u8::from(group.entries_read.is_some()));
    part.extend_from_slice(&group.entries_read.unwrap_or_default().to_le_bytes());
    visit(part);
    for (consumer, held) in group.consumers() {
        begin(part, CONSUMER);
        part.extend_from_slice(&held.seen_at.to_le_bytes());
        part.push(u8::from(held.active_at.is_some()));
        part.extend_from_slice(&held.active_at.unwrap_or_default().to_le_bytes());
        part.extend_from_slice(consumer);
        visit(part);
    }
    for (id, record) in group.pending() {
        begin(part, PENDING);
        put_id(part, *id);
        part.extend_from_slice(&record.delivered_at.to_le_bytes());
        part.extend_from_slice(&record.deliveries.to_le_bytes());
        part.extend_from_slice(&record.consumer);
        visit(part);
    }
}

fn add_to_group(group: &mut Group, kind: u8, mut part: WireReader<'_>) -> Result<(), &'static str> {
    match kind {
        CONSUMER => {
            let seen_at = part.u64().ok_or(SHORT)?.cast_signed();
            let is_active = part.byte().ok_or(SHORT)? == 1;
            let active_at = part.u64().ok_or(SHORT)?.cast_signed();
            if !group.add_consumer(part.0, seen_at) {
                return Err("a consumer stands twice in its group");
            }
            group.note_active(part.0, is_active.then_some(active_at));
            Ok(())
        }
        PENDING => {
            let id = id(&mut part)?;
            let at = part.u64().ok_or(SHORT)?.cast_signed();
            let deliveries = part.u64().ok_or(SHORT)?;
            if group.consumer(part.0).is_none() {
                return Err("an entry is pending for a consumer that is missing");
            }
            if group.pending().contains_key(&id) {
                return Err("an entry is pending twice");
            }
            group.assign(id, part.0, at, deliveries);
            Ok(())
        }
        _ => Err("a part of a stream is of no known kind"),
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.to_bytes());
}

fn id(part: &mut WireReader<'_>) -> Result<StreamId, &'static str> {
    part.array().map(StreamId::from_bytes).ok_or(SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_resp::{Args, Span};

    fn stream_of(count: usize) -> Stream {
        let mut stream = Stream::new();
        for _ in 0..count {
            let spans = [(0, 4), (4, 5)].map(|(start, len)| Span { start, len });
            stream.add(None, 7, Args::new(b"namevalue", &spans)).expect("a fresh id");
        }
        stream
    }

    fn parts_of(stream: &Stream) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        stream.each_part(&mut |part| parts.push(part.to_vec()));
        parts
    }

    /// INV-ST1 and INV-ST3.
    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let hasher = Hasher::new(1);
        let (short, mut long) = (stream_of(2), stream_of(3));
        let mut group = Group::new(StreamId::MIN, None);
        group.add_consumer(b"c", 1);
        group.assign(short.last_id(), b"c", 1, 1);
        long.add_group(b"g", group);
        let (short, long) = (parts_of(&short), parts_of(&long));
        let [marks, block, group, consumer, pending] = &long[..] else { panic!("five parts") };
        let add = |parts: &[&Vec<u8>]| {
            let mut stream = Stream::new();
            parts.iter().try_for_each(|part| stream.add_part(&hasher, part))
        };
        assert_eq!(add(&[marks, block, group, consumer, pending]), Ok(()));
        for parts in [
            &[block][..],
            &[&short[0], block],
            &[marks, block, &short[0]],
            &[marks, block, block],
            &[marks, consumer],
            &[marks, group, group],
            &[marks, group, consumer, consumer],
            &[marks, group, pending],
            &[marks, group, consumer, pending, pending],
        ] {
            assert!(add(parts).is_err(), "{} parts", parts.len());
        }
    }

    #[test]
    fn a_copy_counts_its_own_bytes() {
        let hasher = Hasher::new(1);
        let stream = stream_of(250);
        let copy = stream.duplicate(&hasher);
        assert!(copy.bytes() <= stream.bytes());
        assert_eq!(copy.duplicate(&hasher).bytes(), copy.bytes());
        assert_eq!(parts_of(&copy), parts_of(&stream));
    }
}
