//! The part of `math` in which processors and C libraries differ in the last bit, and chance.
//! Owns: functions that are the same everywhere. Never: a random source; chance begins with the entry's seed.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Function, Lua, Value};

use crate::function::{Library, Raise};
use crate::number::plain;

/// A function of one number.
type Unary = fn(f64) -> f64;

const UNARY: [(&str, Unary); 12] = [
    ("acos", libm::acos),
    ("asin", libm::asin),
    ("atan", libm::atan),
    ("cos", libm::cos),
    ("cosh", libm::cosh),
    ("exp", libm::exp),
    ("log", libm::log),
    ("log10", libm::log10),
    ("sin", libm::sin),
    ("sinh", libm::sinh),
    ("tan", libm::tan),
    ("tanh", libm::tanh),
];

/// Puts the functions over those of Lua.
pub(crate) fn fill(library: &Library<'_>, seed: u64) {
    for (name, run) in UNARY {
        library.add(name, move |_, arguments| Ok(vec![Value::Number(run(arguments.number(0)?))]));
    }
    library.add("atan2", |_, arguments| {
        Ok(vec![Value::Number(libm::atan2(arguments.number(0)?, arguments.number(1)?))])
    });
    library.add("pow", |_, arguments| {
        Ok(vec![Value::Number(libm::pow(arguments.number(0)?, arguments.number(1)?))])
    });
    let state = Rc::new(Cell::new(seed));
    let seeded = Rc::clone(&state);
    library.add("randomseed", move |_, arguments| {
        seeded.set(plain(arguments.number(0)?).to_bits());
        Ok(Vec::new())
    });
    library.add("random", move |_, arguments| {
        let chance = next(&state);
        let floor = |at| arguments.number(at).map(f64::floor);
        let (low, high, empty_at) = match arguments.values.len() {
            0 => return Ok(vec![Value::Number(chance)]),
            1 => (1.0, floor(0)?, 1),
            2 => (floor(0)?, floor(1)?, 2),
            _ => return Err(Raise::Here("wrong number of arguments".to_owned())),
        };
        if low.partial_cmp(&high).is_none_or(std::cmp::Ordering::is_gt) {
            let text = format!("bad argument #{empty_at} to 'random' (interval is empty)");
            return Err(Raise::Here(text));
        }
        Ok(vec![Value::Number((chance * (high - low + 1.0)).floor() + low)])
    });
}

/// A number from 0 up to but without 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit into a double")]
fn next(state: &Cell<u64>) -> f64 {
    // Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (SplitMix64).
    let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    state.set(seed);
    let mut z = seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// The function behind the operator `^`.
pub(crate) fn power(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|_, (base, exponent): (f64, f64)| Ok(libm::pow(base, exponent)))
}
