//! GEOADD: places as scores.

use keystead_resp::{Args, ReplyWriter};

use super::place;
use crate::command::Writer;
use crate::command::sorted_set::add::{Options, set_scores};
use crate::error::CommandError;

pub(crate) fn geoadd(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut options = Options::default();
    let mut places = args.from(2);
    while places.get(0).is_some_and(|word| options.accept_for_places(word)) {
        places = places.from(1);
    }
    if places.is_empty() || !places.len().is_multiple_of(3) || options.is_contradictory() {
        return Err(CommandError::Syntax);
    }
    let scores: Result<Vec<f64>, _> = (0..places.len())
        .step_by(3)
        .map(|at| place(&places[at], &places[at + 1]).map(super::cell::Place::score))
        .collect();
    let scores = scores?;
    let members = scores.iter().zip(places.iter().skip(2).step_by(3));
    set_scores(writer, &args[1], members.map(|(score, name)| (name, *score)), (options, reply))
}
