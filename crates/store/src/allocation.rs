//! What an allocator makes of a size.
//! Owns: the size classes that tables are cut to and that statistics count with. Never: allocates.
//!
//! mimalloc, which the program uses, has four classes to a doubling, and steps of 16 bytes up to 128; jemalloc's are the
//! same. With another allocator the figures are off by its own rounding, a few per cent.

/// Bytes that are taken for an allocation of `bytes`.
pub(crate) const fn granted(bytes: usize) -> usize {
    let step = if bytes <= 128 { 16 } else { 1 << ((bytes - 1).ilog2() - 2) };
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_four_to_a_doubling() {
        let given = [1, 16, 17, 88, 128, 129, 161, 2048, 2049, 2560, 2561, 1 << 20, (1 << 20) + 1];
        let granted: Vec<usize> = given.into_iter().map(granted).collect();
        assert_eq!(
            granted,
            [16, 16, 32, 96, 128, 160, 192, 2048, 2560, 2560, 3072, 1 << 20, 1_310_720]
        );
    }
}
