//! What a script may tell `cjson`: the settings of the original, with its texts.
//! Owns: their bounds, and the functions that set them. Never: lets one outlive the run that set it; in Redis they hold for
//! all scripts of the server, and so for scripts that know nothing of them.

use std::cell::Cell;
use std::rc::Rc;

use mlua::Value;

use crate::function::{Answer, Arguments, Library, Raise, kind_of};

/// How values are written and read.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    /// Arrays with too many places empty are written as objects; otherwise they are refused.
    pub(super) converts_sparse: bool,
    /// Places for each one taken, at most; 0: any number.
    pub(super) sparse_ratio: i32,
    /// An array with more places than this is written only if enough of them are taken.
    pub(super) sparse_safe: i32,
    pub(super) encode_depth_max: i32,
    pub(super) decode_depth_max: i32,
    /// Significant digits of numbers.
    pub(super) digits: i32,
    pub(super) invalid_written: Invalid,
    /// Numbers that JSON does not have are read: inf, nan, hexadecimal ones.
    pub(super) reads_invalid: bool,
    /// Has no effect; a script may ask what it said.
    keeps_buffer: bool,
}

/// What becomes of a number that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            converts_sparse: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            digits: 14,
            invalid_written: Invalid::Refused,
            reads_invalid: true,
            keeps_buffer: true,
        }
    }
}

/// Adds the functions that set.
pub(super) fn fill(library: &Library<'_>, settings: &Rc<Cell<Settings>>) {
    let with = |run: fn(&Arguments<'_>, &mut Settings) -> Answer| {
        let settings = Rc::clone(settings);
        move |_: &mlua::Lua, arguments: &Arguments<'_>| {
            let mut changed = settings.get();
            let answer = run(arguments, &mut changed)?;
            settings.set(changed);
            Ok(answer)
        }
    };
    library.add(
        "encode_sparse_array",
        with(|arguments, settings| {
            at_most(arguments, 3)?;
            boolean(arguments, &mut settings.converts_sparse)?;
            integer(arguments, 1, (0, i32::MAX), &mut settings.sparse_ratio)?;
            integer(arguments, 2, (0, i32::MAX), &mut settings.sparse_safe)?;
            let numbers = [settings.sparse_ratio, settings.sparse_safe];
            let numbers = numbers.map(|number| Value::Integer(number.into()));
            Ok([Value::Boolean(settings.converts_sparse)].into_iter().chain(numbers).collect())
        }),
    );
    library.add(
        "encode_max_depth",
        with(|arguments, settings| one(arguments, (1, i32::MAX), &mut settings.encode_depth_max)),
    );
    library.add(
        "decode_max_depth",
        with(|arguments, settings| one(arguments, (1, i32::MAX), &mut settings.decode_depth_max)),
    );
    library.add(
        "encode_number_precision",
        with(|arguments, settings| one(arguments, (1, 14), &mut settings.digits)),
    );
    library.add(
        "encode_keep_buffer",
        with(|arguments, settings| {
            at_most(arguments, 1)?;
            boolean(arguments, &mut settings.keeps_buffer)?;
            Ok(vec![Value::Boolean(settings.keeps_buffer)])
        }),
    );
    let of_invalid = Rc::clone(settings);
    library
        .add("encode_invalid_numbers", move |lua, arguments| invalid(lua, arguments, &of_invalid));
    library.add(
        "decode_invalid_numbers",
        with(|arguments, settings| {
            at_most(arguments, 1)?;
            boolean(arguments, &mut settings.reads_invalid)?;
            Ok(vec![Value::Boolean(settings.reads_invalid)])
        }),
    );
}

/// `encode_invalid_numbers`.
fn invalid(lua: &mlua::Lua, arguments: &Arguments<'_>, settings: &Cell<Settings>) -> Answer {
    at_most(arguments, 1)?;
    let mut changed = settings.get();
    changed.invalid_written = match arguments.get(0) {
        None | Some(Value::Nil) => changed.invalid_written,
        Some(Value::Boolean(true)) => Invalid::Written,
        Some(Value::Boolean(false)) => Invalid::Refused,
        Some(_) => match &*arguments.bytes(0)? {
            b"on" => Invalid::Written,
            b"off" => Invalid::Refused,
            b"null" => Invalid::Null,
            other => {
                let shown = String::from_utf8_lossy(other);
                return Err(arguments.unfit(0, &format!("invalid option '{shown}'")));
            }
        },
    };
    settings.set(changed);
    Ok(vec![match changed.invalid_written {
        Invalid::Refused => Value::Boolean(false),
        Invalid::Written => Value::Boolean(true),
        Invalid::Null => Value::String(lua.create_string("null")?),
    }])
}

fn at_most(arguments: &Arguments<'_>, count: usize) -> Result<(), Raise> {
    if arguments.values.len() <= count {
        return Ok(());
    }
    Err(arguments.unfit(count, "found too many arguments"))
}

/// Takes the first argument over, if there is one.
fn boolean(arguments: &Arguments<'_>, setting: &mut bool) -> Result<(), Raise> {
    match arguments.get(0) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *setting = *value,
        // (redis-server 7.0.15 falls over any other value.)
        Some(other) => {
            let text = format!("boolean expected, got {}", kind_of(other));
            return Err(arguments.unfit(0, &text));
        }
    }
    Ok(())
}

/// Takes the argument at a place over, if there is one.
fn integer(
    arguments: &Arguments<'_>,
    at: usize,
    (min, max): (i32, i32),
    setting: &mut i32,
) -> Result<(), Raise> {
    if matches!(arguments.get(at), None | Some(Value::Nil)) {
        return Ok(());
    }
    #[expect(clippy::cast_possible_truncation, reason = "what does not fit is out of bounds")]
    let number = arguments.number(at)? as i64;
    *setting = i32::try_from(number)
        .ok()
        .filter(|it| (min..=max).contains(it))
        .ok_or_else(|| arguments.unfit(at, &format!("expected integer between {min} and {max}")))?;
    Ok(())
}

/// A setting that is one number.
fn one(arguments: &Arguments<'_>, bounds: (i32, i32), setting: &mut i32) -> Answer {
    at_most(arguments, 1)?;
    integer(arguments, 0, bounds, setting)?;
    Ok(vec![Value::Integer((*setting).into())])
}
