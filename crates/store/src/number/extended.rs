//! Floats as INCRBYFLOAT and HINCRBYFLOAT of Redis compute and print them.
//! Owns: reading decimal text, adding, printing. Never: the machine's own floats, which have 53 bits.
//!
//! Redis on x86 computes in 80-bit floats (64 bits of mantissa), rounds to nearest, ties to even, and
//! prints with 17 digits behind the point without trailing zeros. The same is done here with
//! integers, so every replica agrees whatever its processor, and replies equal those of Redis for
//! all decimal input. Not read: hexadecimal floats, which `strtold` would take.

use std::cmp::Ordering;

/// `mantissa * 2^exponent`, negated if `is_negative`; the mantissa has its upper bit set or is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extended {
    is_negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A number.
    Finite(Extended),
    /// Plus or minus infinity, which may be read but not computed with.
    Infinite,
}

/// Longest text that is read, bytes (as Redis).
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Decimal exponents beyond these overflow, or vanish, in 80 bits whatever the digits.
const EXPONENT_MAX: i64 = 4_940;
const EXPONENT_MIN: i64 = -10_100;
/// The exponent of 80-bit floats ends here: a greater number is infinite.
const BINARY_EXPONENT_MAX: i32 = 16_384 - 64;
/// Below it, a number is nearer to zero than to the least 80-bit float.
const BINARY_EXPONENT_MIN: i32 = -16_446 - 63;
/// Digits behind the point that are printed.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

impl Extended {
    const ZERO: Self = Self { is_negative: false, mantissa: 0, exponent: 0 };

    /// Reads decimal text: sign, digits, point, exponent; or `inf`. `None` if it is not a number.
    pub(crate) fn parse(text: &[u8]) -> Option<Parsed> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, body) = match text {
            [b'-', body @ ..] => (true, body),
            [b'+', body @ ..] => (false, body),
            body => (false, body),
        };
        if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            return Some(Parsed::Infinite);
        }
        let (digits, exponent) = split_decimal(body)?;
        if digits.is_zero() {
            return Some(Parsed::Finite(Self { is_negative, ..Self::ZERO }));
        }
        if !(EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent) {
            return None;
        }
        let power = usize::try_from(exponent.unsigned_abs()).ok()?;
        let value = if exponent >= 0 {
            let (bits, is_inexact, shift) = digits.times_power_of_ten(power).upper_bits();
            Self::rounded(is_negative, bits, is_inexact, shift)?
        } else {
            Self::quotient(is_negative, digits, &Big::one().times_power_of_ten(power))?
        };
        (value.exponent >= BINARY_EXPONENT_MIN).then_some(Parsed::Finite(value))
    }

    /// The sum, rounded; `None` if it is infinite.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 || other.mantissa == 0 {
            let is_negative = self.is_negative && other.is_negative;
            let sum = if self.mantissa == 0 { other } else { self };
            return Some(if sum.mantissa == 0 { Self { is_negative, ..Self::ZERO } } else { sum });
        }
        let (large, small) =
            if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        // 63 bits below the larger number's last one; what falls below these only leaves a trace.
        let distance = large.exponent.abs_diff(small.exponent).min(127);
        let a = u128::from(large.mantissa) << 63;
        let shifted = u128::from(small.mantissa) << 63;
        let trace = u128::from((shifted >> distance) << distance != shifted);
        let b = shifted >> distance | trace;
        let (is_negative, bits) = if large.is_negative == small.is_negative {
            (large.is_negative, a + b)
        } else if a >= b {
            (large.is_negative, a - b)
        } else {
            (small.is_negative, b - a)
        };
        if bits == 0 {
            return Some(Self::ZERO);
        }
        Self::rounded(is_negative, bits, false, large.exponent - 63)
    }

    /// A thousand times the number, rounded to 80 bits and then up to an integer; the least one for what is far below
    /// zero, `None` for what is above the greatest.
    pub(crate) fn thousandfold_ceiling(self) -> Option<i64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let bits = u128::from(self.mantissa) * 1000;
        let Some(product) = Self::rounded(self.is_negative, bits, false, self.exponent) else {
            return self.is_negative.then_some(i64::MIN);
        };
        let Ok(shift) = u32::try_from(-i64::from(product.exponent)) else {
            return self.is_negative.then_some(i64::MIN);
        };
        let integer = product.mantissa.checked_shr(shift).unwrap_or(0);
        let is_exact = integer.checked_shl(shift) == Some(product.mantissa);
        if self.is_negative {
            return Some(0i64.saturating_sub_unsigned(integer));
        }
        i64::try_from(integer).ok()?.checked_add(i64::from(!is_exact))
    }

    /// Prints with at most 17 digits behind the point and no trailing zeros.
    pub(crate) fn print(self) -> String {
        let (integer, fraction) = self.rounded_decimal();
        let fraction = format!("{fraction:0FRACTION_DIGITS$}");
        let fraction = fraction.trim_end_matches('0');
        let is_zero = integer == "0" && fraction.is_empty();
        let sign = if self.is_negative && !is_zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{integer}{point}{fraction}")
    }

    /// Digits before the point, and the 17 behind it as a number.
    fn rounded_decimal(self) -> (String, u128) {
        let mantissa = u128::from(self.mantissa);
        let Ok(shift) = u32::try_from(-i64::from(self.exponent)) else {
            return (Big::from_bits(mantissa, self.exponent.unsigned_abs()).to_decimal(), 0);
        };
        let integer = mantissa.checked_shr(shift).unwrap_or(0);
        let rest = mantissa - integer.checked_shl(shift).unwrap_or(0);
        // 64 bits times 10^17 is below 2^121: exact.
        let scaled = rest * FRACTION_SCALE;
        let mut fraction = scaled.checked_shr(shift).unwrap_or(0);
        let lost = scaled - fraction.checked_shl(shift).unwrap_or(0);
        let half = 1u128.checked_shl(shift.wrapping_sub(1)).unwrap_or(u128::MAX);
        if shift > 0 && (lost > half || (lost == half && fraction % 2 == 1)) {
            fraction += 1;
        }
        let carry = fraction / FRACTION_SCALE;
        ((integer + carry).to_string(), fraction % FRACTION_SCALE)
    }

    fn quotient(is_negative: bool, dividend: Big, divisor: &Big) -> Option<Self> {
        let shift = 65 + i64::from(divisor.bits()) - i64::from(dividend.bits());
        let (mut rest, divisor) = match u32::try_from(shift) {
            Ok(up) => (dividend.shifted_left(up), divisor.clone()),
            Err(_) => (dividend, divisor.shifted_left(u32::try_from(-shift).ok()?)),
        };
        let mut quotient = 0u128;
        for bit in (0..=66).rev() {
            let part = divisor.shifted_left(bit);
            if rest.compare(&part) != Ordering::Less {
                rest.subtract(&part);
                quotient |= 1 << bit;
            }
        }
        Self::rounded(is_negative, quotient, !rest.is_zero(), i32::try_from(-shift).ok()?)
    }

    /// Rounds `bits * 2^exponent` (and a little more if `is_inexact`) to 64 bits; `None` if infinite.
    #[expect(clippy::cast_possible_truncation, reason = "shifted down to 64 bits")]
    fn rounded(is_negative: bool, bits: u128, is_inexact: bool, exponent: i32) -> Option<Self> {
        let length = 128 - bits.leading_zeros();
        if length <= 64 {
            let up = 64 - length;
            let mantissa = (bits as u64) << up;
            return Some(Self { is_negative, mantissa, exponent: exponent - up.cast_signed() });
        }
        let drop = length - 64;
        let mut mantissa = bits >> drop;
        let lost = bits - (mantissa << drop);
        let half = 1u128 << (drop - 1);
        let is_odd = mantissa & 1 == 1;
        if lost > half || (lost == half && (is_inexact || is_odd)) {
            mantissa += 1;
        }
        let mut exponent = exponent + drop.cast_signed();
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        (exponent <= BINARY_EXPONENT_MAX).then_some(Self {
            is_negative,
            mantissa: mantissa as u64,
            exponent,
        })
    }
}

/// The digits as one integer, and the power of ten that it is multiplied by.
fn split_decimal(body: &[u8]) -> Option<(Big, i64)> {
    let (number, exponent) = match body.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&body[..at], parse_exponent(&body[at + 1..])?),
        None => (body, 0),
    };
    let (integer, fraction) = match number.iter().position(|b| *b == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &[][..]),
    };
    let mut digits = integer.iter().chain(fraction);
    if integer.len() + fraction.len() == 0 || !digits.clone().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value = Big::zero();
    let fraction_len = i64::try_from(fraction.len()).ok()?;
    digits.by_ref().for_each(|digit| value.multiply_add(10, u32::from(digit - b'0')));
    Some((value, exponent - fraction_len))
}

/// An exponent; absurdly long ones saturate.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let saturate = |value: i64, digit: &u8| (value * 10 + i64::from(digit - b'0')).min(1_000_000);
    Some(sign * digits.iter().fold(0, saturate))
}

/// A natural number of any size, least significant limb first, no zero limb at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big(Vec<u32>);

#[expect(clippy::cast_possible_truncation, reason = "limbs are the lower halves of u64 results")]
impl Big {
    const fn zero() -> Self {
        Self(Vec::new())
    }

    fn one() -> Self {
        Self(vec![1])
    }

    fn from_bits(bits: u128, shift: u32) -> Self {
        let mut limbs: Vec<u32> = (0..4).map(|limb| (bits >> (32 * limb)) as u32).collect();
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        Self(limbs).shifted_left(shift)
    }

    const fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> u32 {
        let top = self.0.last().map_or(0, |limb| 32 - limb.leading_zeros());
        let full = self.0.len().saturating_sub(1) as u32;
        full * 32 + top
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            let wide = u64::from(*limb) * u64::from(factor) + carry;
            *limb = wide as u32;
            carry = wide >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power_of_ten(mut self, power: usize) -> Self {
        for _ in 0..power / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        for _ in 0..power % 9 {
            self.multiply_add(10, 0);
        }
        self
    }

    fn shifted_left(&self, shift: u32) -> Self {
        if self.is_zero() {
            return Self::zero();
        }
        let mut shifted = Self(vec![0; (shift / 32) as usize]);
        shifted.0.extend_from_slice(&self.0);
        if !shift.is_multiple_of(32) {
            shifted.multiply_add(1 << (shift % 32), 0);
        }
        shifted
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Takes away `other`, which is not greater.
    fn subtract(&mut self, other: &Self) {
        let mut has_borrowed = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let taken = other.0.get(at).copied().unwrap_or(0);
            (*limb, has_borrowed) = limb.borrowing_sub(taken, has_borrowed);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The upper 128 bits, whether anything is below them, and how many bits are.
    fn upper_bits(&self) -> (u128, bool, i32) {
        let below = self.0.len().saturating_sub(4);
        let bits = self.0[below..].iter().rev().fold(0, |sum, limb| sum << 32 | u128::from(*limb));
        let is_inexact = self.0[..below].iter().any(|limb| *limb != 0);
        (bits, is_inexact, (below as u32 * 32).cast_signed())
    }

    fn to_decimal(&self) -> String {
        const CHUNK: u64 = 1_000_000_000;
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.is_zero() {
            let mut carry = 0u64;
            for limb in rest.0.iter_mut().rev() {
                let wide = (carry << 32) | u64::from(*limb);
                *limb = (wide / CHUNK) as u32;
                carry = wide % CHUNK;
            }
            while rest.0.last() == Some(&0) {
                rest.0.pop();
            }
            chunks.push(carry);
        }
        let Some(first) = chunks.pop() else { return "0".to_owned() };
        let mut text = first.to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(text: &str) -> Extended {
        match Extended::parse(text.as_bytes()) {
            Some(Parsed::Finite(value)) => value,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn sums_print_as_redis_prints_them() {
        // Right column: replies of redis-server 7.0.15 on x86-64.
        for (a, b, sum) in [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "-3", "0"),
            ("-0.0", "0", "0"),
            ("1e17", "1", "100000000000000001"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            (".5", "1.", "1.5"),
            ("5000.1", "0", "5000.10000000000000009"),
            ("1e30", "0", "1000000000000000000024696061952"),
        ] {
            let printed = finite(a).plus(finite(b)).expect("finite").print();
            assert_eq!(printed, sum, "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", "-", ".", "e5", "1e", "1.2.3", " 1", "1 ", "nan", "abc", "1e99999", "0x10", "--1"]
        {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in ["inf", "-inf", "+Infinity"] {
            assert_eq!(Extended::parse(text.as_bytes()), Some(Parsed::Infinite), "{text:?}");
        }
        assert_eq!(finite("1e4932").plus(finite("1e4932")), None);
    }
}
