//! Byte buffers that the connections of one thread share in turn.
//! Owns: the pool. Never: a byte that somebody still needs. An idle connection holds no buffer at
//! all; a busy one takes the buffer used last, which is still in the processor's cache.

/// Buffers that a thread keeps for the next user; more are given back to the allocator.
const BUFFERS_KEPT: usize = 64;
/// Capacity of a fresh buffer, bytes: what one read of a socket takes in at most.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Buffers that grew beyond this are not kept, bytes.
const BUFFER_BYTES_KEPT_MAX: usize = 128 * 1024;

/// The free buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty buffer with room for [`BUFFER_BYTES`] at least.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Takes a buffer back. One without capacity is no buffer and is dropped.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let is_worth_keeping = (BUFFER_BYTES..=BUFFER_BYTES_KEPT_MAX).contains(&buffer.capacity());
        if is_worth_keeping && self.free.len() < BUFFERS_KEPT {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    /// Gives `slot` a buffer if it has none.
    pub(crate) fn equip(&mut self, slot: &mut Vec<u8>) {
        if slot.capacity() == 0 {
            *slot = self.take();
        }
    }

    /// Takes the buffer out of `slot` if nothing stands in it.
    pub(crate) fn retire(&mut self, slot: &mut Vec<u8>) {
        if slot.is_empty() && slot.capacity() > 0 {
            self.give(std::mem::take(slot));
        }
    }
}
