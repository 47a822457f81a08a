//! Which arguments are shown to nobody, wherever commands are shown: the slow log, MONITOR.
//! Owns: the list. Never: shows anything itself.

use keystead_resp::Args;

/// Stands in place of an argument that is shown to nobody, as in Redis.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// True if the argument at `position` is a password, or may hold one.
pub(crate) fn is_secret(args: Args<'_>, position: usize) -> bool {
    let is = |at: usize, word: &[u8]| args.get(at).is_some_and(|it| it.eq_ignore_ascii_case(word));
    if is(0, b"auth") {
        position >= 1
    } else if is(0, b"hello") {
        // AUTH username password, behind the version of the protocol.
        (position > 2 && is(position - 1, b"auth")) || (position > 3 && is(position - 2, b"auth"))
    } else if is(0, b"acl") {
        position >= 2 && is(1, b"setuser")
    } else {
        position > 2 && is(0, b"config") && is(1, b"set") && is(position - 1, b"requirepass")
    }
}

#[cfg(test)]
mod tests {
    use super::is_secret;
    use keystead_resp::Decoder;

    #[test]
    fn passwords_are_known_wherever_they_may_stand() {
        for (line, secrets) in [
            ("AUTH sesame", "1"),
            ("auth alice sesame", "12"),
            ("HELLO 3 AUTH alice sesame SETNAME me", "34"),
            ("HELLO 3 SETNAME auth", ""),
            ("CONFIG SET timeout 5 REQUIREPASS sesame", "5"),
            ("CONFIG GET requirepass timeout", ""),
            ("ACL SETUSER alice >sesame on", "234"),
            ("ACL CAT setuser", ""),
            ("SET auth sesame", ""),
        ] {
            let (mut decoder, line) = (Decoder::new(Default::default()), format!("{line}\r\n"));
            decoder.decode(line.as_bytes()).unwrap().unwrap();
            let args = decoder.args(line.as_bytes());
            let found: String = (0..args.len())
                .filter(|at| is_secret(args, *at))
                .map(|at| at.to_string())
                .collect();
            assert_eq!(found, secrets, "{line}");
        }
    }
}
