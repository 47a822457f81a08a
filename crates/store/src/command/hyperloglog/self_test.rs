//! PFSELFTEST: whether sketches come to the same in both encodings, and near enough to the truth.
//! Redis goes up to ten million elements and holds everybody up meanwhile; this stops where both encodings were used.

use keystead_resp::{Args, ReplyWriter};

use super::estimate::cardinality;
use super::sketch::{Encoding, Sketch};
use crate::command::Reader;
use crate::error::CommandError;

/// Different elements, well past those at which a sketch becomes dense by itself. A few milliseconds.
const ELEMENTS: u32 = 10_000;
/// How far an estimate may be from the truth: six times the standard error of 16384 registers, 0.81 %.
const ERROR_PERCENT_MAX: u64 = 5;

pub(crate) fn pfselftest(
    _reader: &Reader<'_>,
    _args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let failed = |text| CommandError::Text { text };
    let (mut grown, mut dense) = (Sketch::new(), Sketch::new());
    dense.make_dense()?;
    for element in 0..ELEMENTS {
        let element = element.to_le_bytes();
        if grown.add(&element)? != dense.add(&element)? {
            return Err(failed("TESTFAILED the encodings differ in whether an element is new"));
        }
    }
    let (registers, expected) = (grown.registers()?, u64::from(ELEMENTS));
    if grown.encoding() != Encoding::Dense || registers != dense.registers()? {
        return Err(failed("TESTFAILED the encodings hold different registers"));
    }
    if cardinality(&registers).abs_diff(expected) * 100 > expected * ERROR_PERCENT_MAX {
        return Err(failed("TESTFAILED the estimate is too far from the truth"));
    }
    reply.ok();
    Ok(())
}
