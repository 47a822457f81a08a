//! Numbers as C reads and writes them.
//! Owns: what Lua takes for a number, `%.Ng`. Never: locales.

/// Longest text that is taken for a number, bytes (`KEYSTEAD_NUMBER_MAX` in `lua/keystead.h`): reading one takes longer
/// the longer it is.
const TEXT_BYTES_MAX: usize = 512;

/// NaN as x86-64 makes it. Other processors make another, and what packs bytes would show it.
const NAN: f64 = f64::from_bits(0xfff8_0000_0000_0000);

/// The number, with the one NaN that there is.
pub(crate) const fn plain(number: f64) -> f64 {
    if number.is_nan() { NAN } else { number }
}

/// The number that a text spells, blanks around it allowed.
pub(crate) fn parse(text: &[u8]) -> Option<f64> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text =
        std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        #[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
        let number = u64::from_str_radix(hex, 16).ok()? as f64;
        return Some(if text.starts_with('-') { -number } else { number });
    }
    text.parse().ok()
}

/// `number` with `digits` significant digits, as `%.Ng` writes it.
pub(crate) fn general(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "-nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{:.*e}", digits - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent");
    let exponent: i32 = exponent.parse().expect("Rust writes a number behind the e");
    let last = i32::try_from(digits).expect("a few digits") - 1;
    if exponent < -4 || exponent > last {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let places = usize::try_from(last - exponent).expect("the exponent is at most the last digit");
    without_zeros(&format!("{number:.places$}")).to_owned()
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::general;

    #[test]
    fn numbers_look_as_in_c() {
        let cases = [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e17, "1e+17"),
            (1e300, "1e+300"),
            (-2.5e-7, "-2.5e-07"),
            (123_456_789.125, "123456789.125"),
            (1e13, "10000000000000"),
            (0.0001, "0.0001"),
        ];
        for (number, text) in cases {
            assert_eq!(general(number, 14), text);
        }
    }
}
