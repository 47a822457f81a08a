//! JSON.ARRAPPEND, JSON.ARRINSERT, JSON.ARRPOP, JSON.ARRTRIM: changing arrays.

use std::collections::VecDeque;

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::command::json::edit::{Edit, Edited, Order, check_size};
use crate::command::json::{check_depth, path_at, read_value, written};
use crate::error::{CommandError, JsonError};
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::json::print::printed;
use crate::value::json::{Json, Location, Node, Turnover};

const NOT_AN_ARRAY: JsonError = JsonError::NotA { what: "an array" };

pub(crate) fn append(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    written(writer, &args[1])?;
    let values = read_values(writer, args.from(3))?;
    let edit = edit(args, (Order::FirstToLast, "json.arrappend"));
    let edited = insert(writer, edit, &values, None)?;
    edited.answer(reply, |len, reply| reply.integer(*len as i64));
    Ok(())
}

pub(crate) fn arrinsert(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    written(writer, &args[1])?;
    let index = parse_integer(&args[3]).ok_or(CommandError::NotAnInteger)?;
    let values = read_values(writer, args.from(4))?;
    let edit = edit(args, (Order::LastToFirst, "json.arrinsert"));
    let edited = insert(writer, edit, &values, Some(index))?;
    edited.answer(reply, |len, reply| reply.integer(*len as i64));
    Ok(())
}

fn edit<'a>(args: Args<'a>, (order, event): (Order, &'static str)) -> Edit<'a> {
    let (key, path) = (args.get(1).unwrap_or_default(), args.get(2).unwrap_or_default());
    Edit { key, path, order, event, nothing: NOT_AN_ARRAY }
}

fn read_values(writer: &Writer<'_>, args: Args<'_>) -> Result<Vec<Node>, CommandError> {
    args.iter().map(|text| read_value(&writer.keyspace.hasher, text)).collect()
}

/// Puts values in front of the element at `index`, or behind the last; gives the new lengths.
fn insert(
    writer: &mut Writer<'_>,
    edit: Edit<'_>,
    values: &[Node],
    index: Option<i64>,
) -> Result<Edited<usize>, CommandError> {
    let depth = values.iter().map(Node::depth).max().unwrap_or(0);
    let bytes: usize = values.iter().map(|value| size_of::<Node>() + value.bytes_behind()).sum();
    let mut places = 0;
    let plan = |_: &Hasher, node: &Node, around: usize| {
        let Some(elements) = node.as_array() else { return Ok(None) };
        check_depth(around + 1, depth)?;
        places += 1;
        check_size(places, bytes)?;
        match index {
            None => Ok(Some(elements.len())),
            Some(index) => {
                let place = from_end(index, elements.len());
                let place = place.filter(|place| *place <= elements.len());
                place.map(Some).ok_or_else(|| JsonError::OutOfBounds.into())
            }
        }
    };
    edit.run(writer, plan, |document, _, location, place| {
        let len = change_array(document, location, |elements, turnover| {
            // A place that is named twice has grown meanwhile.
            let place = if index.is_none() { elements.len() } else { place };
            let behind = elements.split_off(place);
            for value in values {
                turnover.add(value);
                elements.push_back(value.clone());
            }
            elements.extend(behind);
            elements.len()
        });
        (!values.is_empty(), len)
    })
}

pub(crate) fn pop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let index = args.get(3).map_or(Some(-1), parse_integer).ok_or(CommandError::NotAnInteger)?;
    let (key, path) = (&args[1], path_at(args, 2, reply));
    let (order, event) = (Order::LastToFirst, "json.arrpop");
    let edit = Edit { key, path, order, event, nothing: NOT_AN_ARRAY };
    let is_read = !reply.is_discarding();
    let edited = edit.run(
        writer,
        |_, node, _| Ok(node.as_array().map(|_| ())),
        |document, _, location, ()| {
            let popped = change_array(document, location, |elements, turnover| {
                let last = elements.len().checked_sub(1)?;
                let element =
                    elements.remove(from_end(index, elements.len()).unwrap_or(0).min(last))?;
                turnover.remove(&element);
                Some(if is_read { printed(&element) } else { Vec::new() })
            });
            (popped.is_some(), popped)
        },
    )?;
    edited.answer(reply, |popped, reply| reply.bulk_or_null(popped.as_deref()));
    Ok(())
}

pub(crate) fn trim(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let start = parse_integer(&args[3]).ok_or(CommandError::NotAnInteger)?;
    let stop = parse_integer(&args[4]).ok_or(CommandError::NotAnInteger)?;
    let edit = edit(args, (Order::LastToFirst, "json.arrtrim"));
    let edited = edit.run(
        writer,
        |_, node, _| Ok(node.as_array().map(|_| ())),
        |document, _, location, ()| {
            change_array(document, location, |elements, turnover| {
                let before = elements.len();
                let first = from_end(start, before).unwrap_or(0).min(before);
                let behind_last = match usize::try_from(stop) {
                    Ok(stop) => stop.saturating_add(1).min(before),
                    // Before the first counts as the first.
                    Err(_) => from_end(stop, before).unwrap_or(0) + 1,
                };
                let behind_last = behind_last.min(before);
                let kept = first..behind_last.max(first);
                elements.drain(kept.end..).for_each(|element| turnover.remove(&element));
                elements.drain(..kept.start).for_each(|element| turnover.remove(&element));
                if elements.capacity() > 4 * elements.len() {
                    elements.shrink_to_fit();
                }
                (elements.len() < before, elements.len())
            })
        },
    )?;
    edited.answer(reply, |len, reply| reply.integer(*len as i64));
    Ok(())
}

/// Changes the array at a location. It was found to be one before anything was changed; only where a path names a
/// value more than once may a change have moved it away meanwhile.
fn change_array<R: Default>(
    document: &mut Json,
    location: &Location,
    change: impl FnOnce(&mut VecDeque<Node>, &mut Turnover) -> R,
) -> R {
    let changed = document.change(location, |node, turnover| match node {
        Node::Array(elements) => change(elements, turnover),
        _ => R::default(),
    });
    changed.unwrap_or_default()
}

/// An index counted from the end if it is negative; `None` before the first element. It may be beyond the last one.
pub(super) fn from_end(index: i64, len: usize) -> Option<usize> {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { len.checked_sub(distance) } else { Some(distance) }
}
