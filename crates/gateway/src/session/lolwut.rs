//! LOLWUT: the version, with a picture above it.
//! Owns: the picture. Never: anything of use.

use std::fmt::Write as _;

use super::{Answer, SessionCall, integer};
use crate::dispatch::Verdict;
use crate::reply::Failure;

/// Stones in a course of the wall, if it is not said how many, and at most: a terminal's width.
const STONES: i64 = 12;
const STONES_MAX: i64 = 40;
/// Courses, if it is not said how many, and at most: a terminal's height.
const COURSES: i64 = 6;
const COURSES_MAX: i64 = 40;

impl<'a> SessionCall<'_, '_, 'a> {
    /// `LOLWUT [VERSION version] [stones [courses]]`: a wall with its keystone.
    pub(super) fn lolwut(&mut self) -> Answer<'a> {
        let is_versioned = self.args.get(1).is_some_and(|it| it.eq_ignore_ascii_case(b"version"));
        if is_versioned && self.args.len() > 2 {
            integer(self.arg(2)).ok_or(Failure::NotAnInteger)?;
        }
        let sizes = self.args.from(if is_versioned { 3 } else { 1 });
        let size = |at: usize, default: i64, most: i64| -> Result<i64, Failure<'a>> {
            match sizes.get(at) {
                None => Ok(default),
                Some(text) => {
                    let number = integer(text).ok_or(Failure::NotAnInteger)?;
                    Ok(number.clamp(1, most))
                }
            }
        };
        let wall = wall(size(0, STONES, STONES_MAX)?, size(1, COURSES, COURSES_MAX)?);
        let version = self.turn.local.shared.config.version;
        self.reply().verbatim(&format!("{wall}\nKeystead ver. {version}\n"));
        Ok(Verdict::Next)
    }
}

/// Courses of stones, each set over the joints of the one below; the keystone is in the middle of the topmost.
fn wall(stones: i64, courses: i64) -> String {
    let mut text = String::new();
    for course in 0..courses {
        let is_shifted = (courses - course) % 2 == 0;
        text.push_str(if is_shifted { "[_" } else { "" });
        for stone in 0..stones - i64::from(is_shifted) {
            let is_keystone = course == 0 && stone == stones / 2;
            text.push_str(if is_keystone { "\\K_/" } else { "[__]" });
        }
        text.push_str(if is_shifted { "_]" } else { "" });
        writeln!(text).expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_course_has_the_same_width_and_one_stone_is_the_keystone() {
        for (stones, courses) in [(1, 1), (2, 2), (12, 6), (40, 40)] {
            let wall = super::wall(stones, courses);
            let widths: Vec<usize> = wall.lines().map(str::len).collect();
            assert!(widths.iter().all(|width| *width == widths[0]), "{wall}");
            assert_eq!(widths.len(), usize::try_from(courses).unwrap());
        }
        assert_eq!(super::wall(12, 5).matches('K').count(), 1);
    }
}
