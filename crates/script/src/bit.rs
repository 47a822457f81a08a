//! The library `bit`: operations on 32 bits.
//! Owns: its functions. Never: more than 32 bits.

use mlua::Value;

use crate::function::{Arguments, Library, Raise};

/// The low 32 bits of a number, rounded to the nearest integer, ties to even.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
fn bits(arguments: &Arguments<'_>, at: usize) -> Result<u32, Raise> {
    // 2^52 + 2^51: the sum has the integer in the low bits of its mantissa.
    Ok((arguments.number(at)? + 6_755_399_441_055_744.0).to_bits() as u32)
}

/// An operation on one number.
type Unary = fn(u32) -> u32;
/// An operation on two.
type Binary = fn(u32, u32) -> u32;

fn answer(bits: u32) -> Vec<Value> {
    vec![Value::Number(f64::from(bits.cast_signed()))]
}

/// Adds all functions.
pub(crate) fn fill(library: &Library<'_>) -> mlua::Result<()> {
    let unary: [(&'static str, Unary); 3] =
        [("tobit", |a| a), ("bnot", |a| !a), ("bswap", u32::swap_bytes)];
    for (name, run) in unary {
        library.add(name, move |_, arguments| Ok(answer(run(bits(arguments, 0)?))));
    }
    let folds: [(&'static str, Binary); 3] =
        [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, run) in folds {
        library.add(name, move |_, arguments| {
            let mut result = bits(arguments, 0)?;
            for at in 1..arguments.values.len() {
                result = run(result, bits(arguments, at)?);
            }
            Ok(answer(result))
        });
    }
    let shifts: [(&'static str, Binary); 5] = [
        ("lshift", |a, n| a << n),
        ("rshift", |a, n| a >> n),
        ("arshift", |a, n| (a.cast_signed() >> n).cast_unsigned()),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, run) in shifts {
        library.add(name, move |_, arguments| {
            Ok(answer(run(bits(arguments, 0)?, bits(arguments, 1)? & 31)))
        });
    }
    library.add("tohex", |lua, arguments| {
        let value = bits(arguments, 0)?;
        let digits = match arguments.get(1) {
            None => 8,
            Some(_) => bits(arguments, 1)?.cast_signed(),
        };
        let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
        let shown = usize::try_from(digits.unsigned_abs().min(8)).unwrap_or(8);
        Ok(vec![Value::String(lua.create_string(&text[8 - shown..])?)])
    });
    Ok(())
}
