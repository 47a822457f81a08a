//! Floats of the machine (53 bits): scores, weights, coordinates.
//! Owns: reading as `strtod` of C reads, printing as `%.17g` of C prints. Never: a locale; the 80 bits of
//! INCRBYFLOAT, see [`extended`](super::extended).
//!
//! Sums and comparisons of doubles are the same on every processor that Keystead runs on (IEEE 754, no extended
//! registers), so replicas agree.

use std::fmt::Write as _;

/// What stands in front of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prefix {
    /// The number; 0 if there is none.
    pub(crate) value: f64,
    /// Bytes that belong to it, blanks before it included; 0 if there is none.
    pub(crate) len: usize,
    /// True if it was too great, or so small that nothing of it is left.
    pub(crate) is_out_of_range: bool,
}

impl Prefix {
    const NONE: Self = Self { value: 0.0, len: 0, is_out_of_range: false };
}

/// Reads a number that is the whole text: no blank before or behind it, not NaN, within range.
pub(crate) fn parse_float(text: &[u8]) -> Option<f64> {
    let Prefix { value, len, is_out_of_range } = parse_prefix(text);
    let starts_blank = text.first().is_none_or(|byte| is_blank(*byte));
    (!starts_blank && len == text.len() && !is_out_of_range && !value.is_nan()).then_some(value)
}

/// Reads the number in front of `text` as `strtod` does: blanks, sign, then decimal, hexadecimal, `inf` or `nan`.
pub(crate) fn parse_prefix(text: &[u8]) -> Prefix {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    let (sign, start) = match text.get(blanks) {
        Some(b'-') => (-1.0, blanks + 1),
        Some(b'+') => (1.0, blanks + 1),
        _ => (1.0, blanks),
    };
    let body = &text[start..];
    let found =
        parse_word(body).or_else(|| parse_hexadecimal(body)).unwrap_or_else(|| parse_decimal(body));
    if found.len == 0 {
        return Prefix::NONE;
    }
    Prefix { value: found.value.copysign(sign), len: start + found.len, ..found }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn parse_word(body: &[u8]) -> Option<Prefix> {
    let starts =
        |word: &[u8]| body.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    let (value, len) = if starts(b"infinity") {
        (f64::INFINITY, 8)
    } else if starts(b"inf") {
        (f64::INFINITY, 3)
    } else if starts(b"nan") {
        let word = body[3..].strip_prefix(b"(").unwrap_or_default();
        let inner = word.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        (f64::NAN, if word.get(inner) == Some(&b')') { inner + 5 } else { 3 })
    } else {
        return None;
    };
    Some(Prefix { value, len, is_out_of_range: false })
}

fn parse_decimal(body: &[u8]) -> Prefix {
    let (digits, number_len) = count_digits(body, u8::is_ascii_digit);
    if digits == 0 {
        return Prefix::NONE;
    }
    let len = number_len + exponent_len(&body[number_len..], b'e');
    let text =
        std::str::from_utf8(&body[..len]).expect("digits, a point and an exponent are ASCII");
    let value: f64 = text.parse().expect("the digits were counted above");
    let is_zero = !body[..number_len].iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Prefix { value, len, is_out_of_range: value.is_infinite() || (value == 0.0 && !is_zero) }
}

/// How many digits there are before and behind at most one point, and their length with the point.
fn count_digits(body: &[u8], is_digit: impl Fn(&u8) -> bool) -> (usize, usize) {
    let integer = body.iter().take_while(|byte| is_digit(byte)).count();
    if body.get(integer) != Some(&b'.') {
        return (integer, integer);
    }
    let fraction = body[integer + 1..].iter().take_while(|byte| is_digit(byte)).count();
    (integer + fraction, integer + 1 + fraction)
}

/// The length of `e`, a sign and at least one digit; 0 if that is not what stands there.
fn exponent_len(rest: &[u8], letter: u8) -> usize {
    if !rest.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&letter)) {
        return 0;
    }
    let sign = usize::from(matches!(rest.get(1), Some(b'+' | b'-')));
    let digits = rest[1 + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 { 0 } else { 1 + sign + digits }
}

/// `0x`, digits, and an exponent of two behind `p`; `None` if it is none of these.
fn parse_hexadecimal(body: &[u8]) -> Option<Prefix> {
    const BITS_KEPT: u32 = 120;
    let body_hex = body.strip_prefix(b"0x").or_else(|| body.strip_prefix(b"0X"))?;
    let (digits, number_len) = count_digits(body_hex, u8::is_ascii_hexdigit);
    if digits == 0 {
        return None;
    }
    let (mut bits, mut exponent, mut is_inexact) = (0u128, 0i64, false);
    let mut is_fraction = false;
    for byte in &body_hex[..number_len] {
        let Some(digit) = char::from(*byte).to_digit(16) else {
            is_fraction = true;
            continue;
        };
        if bits >> BITS_KEPT == 0 {
            bits = bits << 4 | u128::from(digit);
            exponent -= if is_fraction { 4 } else { 0 };
        } else {
            is_inexact |= digit != 0;
            exponent += if is_fraction { 0 } else { 4 };
        }
    }
    let exponent_len = exponent_len(&body_hex[number_len..], b'p');
    exponent += exponent_of_two(&body_hex[number_len..number_len + exponent_len]);
    let value = rounded(bits, is_inexact, exponent);
    let is_out_of_range = value.is_infinite() || (value == 0.0 && bits != 0);
    Some(Prefix { value, len: 2 + number_len + exponent_len, is_out_of_range })
}

/// The number behind `p`; absurdly long ones saturate.
fn exponent_of_two(text: &[u8]) -> i64 {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0i64, |sum, digit| (sum * 10 + i64::from(digit - b'0')).min(1 << 40));
    if text.get(1) == Some(&b'-') { -size } else { size }
}

/// `bits * 2^exponent`, and a little more if `is_inexact`, to the nearest double, ties to even.
fn rounded(bits: u128, is_inexact: bool, exponent: i64) -> f64 {
    const MANTISSA_BITS: i64 = 53;
    const EXPONENT_MIN: i64 = -1074;
    let length = 128 - i64::from(bits.leading_zeros());
    if bits == 0 || length + exponent < EXPONENT_MIN {
        return 0.0;
    }
    if length + exponent > 1024 {
        return f64::INFINITY;
    }
    let drop = (length - MANTISSA_BITS).max(EXPONENT_MIN - exponent).max(0);
    let mut mantissa = bits.checked_shr(u32::try_from(drop).unwrap_or(u32::MAX)).unwrap_or(0);
    if drop > 0 {
        let drop = u32::try_from(drop).unwrap_or(u32::MAX);
        let lost = bits ^ mantissa.checked_shl(drop).unwrap_or(0);
        let half = 1u128.checked_shl(drop - 1).unwrap_or(u128::MAX);
        let is_up = lost > half || (lost == half && (is_inexact || mantissa & 1 == 1));
        mantissa += u128::from(is_up);
    }
    // Two steps, each exact: the mantissa has been rounded to what the result can hold.
    let power = i32::try_from(exponent + drop).expect("the exponent was bounded above");
    mantissa as f64 * 2f64.powi(power / 2) * 2f64.powi(power - power / 2)
}

/// A double as `%.17g` prints it: 17 significant digits, no zeros at their end, an exponent where it is shorter.
#[derive(Clone, Copy)]
pub(crate) struct FloatText {
    bytes: [u8; 32],
    len: usize,
}

/// Integers below have at most 17 digits, all of which are printed.
const INTEGER_MAX: f64 = 1e17;
/// Significant digits.
const DIGITS: usize = 17;

impl FloatText {
    /// The text of `value`.
    pub(crate) fn of(value: f64) -> Self {
        let mut text = Self { bytes: [0; 32], len: 0 };
        if value.is_infinite() {
            text.push(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value == 0.0 {
            text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if value.trunc() == value && value.abs() < INTEGER_MAX {
            #[expect(clippy::cast_possible_truncation, reason = "an integer below 10^17")]
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            text.push_digits(value);
        }
        text
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("digits are ASCII")
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Neither zero nor infinite.
    fn push_digits(&mut self, value: f64) {
        let mut scientific = Self { bytes: [0; 32], len: 0 };
        write!(scientific, "{:.*e}", DIGITS - 1, value.abs())
            .expect("it fits: 17 digits and 6 signs");
        let (mantissa, exponent) =
            scientific.as_str().split_once('e').expect("the format has an exponent");
        let exponent: i32 = exponent.parse().expect("an exponent is a number");
        let mut digits = [b'0'; DIGITS];
        digits[0] = mantissa.as_bytes()[0];
        digits[1..].copy_from_slice(&mantissa.as_bytes()[2..]);
        let used = DIGITS - digits.iter().rev().take_while(|digit| **digit == b'0').count();
        let digits = &digits[..used];
        if value < 0.0 {
            self.push(b"-");
        }
        match usize::try_from(exponent) {
            Err(_) if exponent >= -4 => {
                let zeros = exponent.unsigned_abs() as usize - 1;
                self.push(b"0.");
                self.push(&b"000"[..zeros]);
                self.push(digits);
            }
            Ok(before) if before < DIGITS => {
                let integer = digits.len().min(before + 1);
                self.push(&digits[..integer]);
                self.push(&[b'0'; DIGITS][..before + 1 - integer]);
                if integer < digits.len() {
                    self.push(b".");
                    self.push(&digits[integer..]);
                }
            }
            _ => {
                self.push(&digits[..1]);
                if used > 1 {
                    self.push(b".");
                    self.push(&digits[1..]);
                }
                write!(self, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
                    .expect("it fits: 17 digits and 6 signs");
            }
        }
    }
}

impl std::fmt::Write for FloatText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.len + text.len() > self.bytes.len() {
            return Err(std::fmt::Error);
        }
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_print_as_redis_prints_scores() {
        // Right column: replies of redis-server 7.0.15 on x86-64.
        for (value, text) in [
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (-0.0, "-0"),
            (f64::NEG_INFINITY, "-inf"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::from_bits(0x4300_0000_0000_0001), "562949953421312.12"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e300, "1.0000000000000001e+300"),
            (-0.0001, "-0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (1e22, "1e+22"),
        ] {
            assert_eq!(FloatText::of(value).as_str(), text);
        }
    }

    #[test]
    fn floats_are_read_as_c_reads_them() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("+1.", Some(1.0)),
            (".5", Some(0.5)),
            ("1e3", Some(1000.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("1e-310", Some(1e-310)),
            ("0e-999", Some(0.0)),
            ("0x10", Some(16.0)),
            ("0x.8p1", Some(1.0)),
            ("-0x1.fffffffffffff8p0", Some(-2.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0x0.8p-1074", None),
            ("0x1p99999999999999999999", None),
            ("0x", None),
            ("0xg", None),
            ("1e", None),
            ("1e+", None),
            (".", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("nan", None),
            ("nan(7)", None),
            ("1e999", None),
            ("1e-999", None),
            ("1_0", None),
            ("infx", None),
        ] {
            assert_eq!(parse_float(text.as_bytes()), value, "{text:?}");
        }
        for (text, value, len) in [
            ("", 0.0, 0),
            (" 5", 5.0, 2),
            ("5x", 5.0, 1),
            ("1e+", 1.0, 1),
            ("0xg", 0.0, 1),
            ("-", 0.0, 0),
        ] {
            let prefix = parse_prefix(text.as_bytes());
            assert_eq!((prefix.value, prefix.len), (value, len), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_printed_is_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            let read = parse_float(FloatText::of(value).as_str().as_bytes());
            prop_assert_eq!(read.map(f64::to_bits), Some(bits));
        }

        #[test]
        fn hexadecimal_numbers_round_to_the_nearest(mantissa: u64, power in -1200i32..1000) {
            // Division by a power of two that keeps the number normal is exact, so this is rounded once, too.
            let text = format!("0x{mantissa:x}p{power}");
            let expected = if power < -900 {
                (mantissa as f64) * 2f64.powi(power / 2) * 2f64.powi(power - power / 2)
            } else {
                (mantissa as f64) * 2f64.powi(power)
            };
            prop_assume!(expected == 0.0 || expected.is_normal());
            prop_assert_eq!(parse_prefix(text.as_bytes()).value, expected);
        }

        #[test]
        fn any_bytes_may_stand_where_a_float_should(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(parse_prefix(&bytes).len <= bytes.len());
            let _ = parse_float(&bytes);
        }
    }
}
