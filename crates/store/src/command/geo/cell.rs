//! Places on the earth as numbers of 52 bits, and the cells of a grid that such numbers stand for.
//! Owns: the two conversions, neighbours, distances. Never: sorted sets.
//!
//! Longitude and latitude become 26 bits each, interleaved, so that places with the same first bits lie in the same
//! cell (G. M. Morton, 1966). Latitudes end where the Mercator projection becomes a square. The earth is a ball, and
//! distances go by the haversine (R. W. Sinnott, Sky and Telescope 68:2, 1984).
//!
//! Sines come from a library in Rust and not from the system's: whether a place lies within a radius is decided on
//! every replica, and must be decided alike (ADR 0013).

use std::fmt::Write as _;

use crate::error::{Bytes, CommandError};

/// Bits of each coordinate in a score.
pub(super) const STEPS_MAX: u32 = 26;
/// Metres, as Redis has it.
pub(super) const EARTH_RADIUS: f64 = 6_372_797.560_856;

const LONGITUDE_MAX: f64 = 180.0;
const LATITUDE_MAX: f64 = 85.051_128_78;
const LATITUDE_OF_POLE: f64 = 90.0;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// Degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// A rectangle of the grid with `2^steps` columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    column: u64,
    row: u64,
    steps: u32,
}

/// What a cell covers, degrees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) west: f64,
    pub(super) south: f64,
    pub(super) east: f64,
    pub(super) north: f64,
}

impl Place {
    pub(super) fn is_within_bounds(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    pub(super) fn refusal(self) -> CommandError {
        let mut pair = String::new();
        let written = write!(pair, "{:.6},{:.6}", self.longitude, self.latitude);
        written.expect("writing to a String cannot fail");
        CommandError::GeoPlace { pair: Bytes(pair.into_bytes().into()) }
    }

    /// The score of this place.
    pub(super) fn score(self) -> f64 {
        Cell::of(self, STEPS_MAX).bits() as f64
    }

    /// The middle of the cell that a score stands for. Any score stands for one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as Redis casts on x86-64: a negative score wraps, and too great a one is 0"
    )]
    pub(super) fn of_score(score: f64) -> Self {
        const END: f64 = 2.0 * (1u64 << 63) as f64;
        let bits = match score {
            ..0.0 => score as i64 as u64,
            END.. => 0,
            _ => score as u64,
        };
        let area =
            Cell { column: odd_bits(bits), row: odd_bits(bits << 1), steps: STEPS_MAX }.area();
        let longitude = f64::midpoint(area.west, area.east);
        let latitude = f64::midpoint(area.south, area.north);
        Self {
            longitude: longitude.clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: latitude.clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// Metres along the surface.
    pub(super) fn distance(self, other: Self) -> f64 {
        let half =
            |a: f64, b: f64| libm::sin((b.to_radians_as_redis() - a.to_radians_as_redis()) / 2.0);
        let v = half(self.longitude, other.longitude);
        if v == 0.0 {
            return self.distance_by_latitude(other);
        }
        let u = half(self.latitude, other.latitude);
        let cosines = libm::cos(self.latitude.to_radians_as_redis())
            * libm::cos(other.latitude.to_radians_as_redis());
        2.0 * EARTH_RADIUS * libm::asin((u * u + cosines * v * v).sqrt())
    }

    /// Metres between the two latitudes.
    pub(super) fn distance_by_latitude(self, other: Self) -> f64 {
        EARTH_RADIUS
            * (other.latitude.to_radians_as_redis() - self.latitude.to_radians_as_redis()).abs()
    }

    /// Eleven letters of the public geohash. A score has bits for ten.
    pub(super) fn letters(self) -> [u8; 11] {
        let row = grid(self.latitude, LATITUDE_OF_POLE, STEPS_MAX);
        let column = grid(self.longitude, LONGITUDE_MAX, STEPS_MAX);
        let bits = Cell { column, row, steps: STEPS_MAX }.bits();
        let mut letters = [ALPHABET[0]; 11];
        for (at, letter) in letters.iter_mut().take(10).enumerate() {
            *letter = ALPHABET[usize::try_from(bits >> (47 - 5 * at) & 0x1f).unwrap_or(0)];
        }
        letters
    }
}

/// Degrees to radians with the constant that Redis multiplies with.
pub(super) trait Degrees {
    /// Radians.
    fn to_radians_as_redis(self) -> f64;
    /// Degrees of so many radians.
    fn to_degrees_as_redis(self) -> f64;
}

impl Degrees for f64 {
    fn to_radians_as_redis(self) -> f64 {
        self * (std::f64::consts::PI / 180.0)
    }

    fn to_degrees_as_redis(self) -> f64 {
        self / (std::f64::consts::PI / 180.0)
    }
}

impl Cell {
    /// The cell of a grid that a place lies in.
    pub(super) fn of(place: Place, steps: u32) -> Self {
        Self {
            column: grid(place.longitude, LONGITUDE_MAX, steps),
            row: grid(place.latitude, LATITUDE_MAX, steps),
            steps,
        }
    }

    /// The cell so many columns to the east and rows to the north; past an edge it begins again at the other. The last
    /// edge itself is a column or row of its own, which only a move leaves, as in Redis.
    pub(super) const fn neighbour(self, east: i64, north: i64) -> Self {
        Self {
            column: self.moved(self.column, east),
            row: self.moved(self.row, north),
            steps: self.steps,
        }
    }

    const fn moved(self, number: u64, by: i64) -> u64 {
        let mask = (1 << self.steps) - 1;
        if by == 0 { number } else { number.wrapping_add_signed(by) & mask }
    }

    pub(super) fn area(self) -> Area {
        let edge = |number: u64, max: f64| {
            -max + number as f64 / (1u64 << self.steps) as f64 * (max - -max)
        };
        Area {
            west: edge(self.column, LONGITUDE_MAX),
            east: edge(self.column + 1, LONGITUDE_MAX),
            south: edge(self.row, LATITUDE_MAX),
            north: edge(self.row + 1, LATITUDE_MAX),
        }
    }

    /// The least score within, and the least above all within.
    pub(super) fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.steps);
        ((self.bits() << shift) as f64, ((self.bits() + 1) << shift) as f64)
    }

    fn bits(self) -> u64 {
        spread(self.column) << 1 | spread(self.row)
    }
}

/// The column or row of a coordinate.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a coordinate lies within its bounds, so the number is neither negative nor great"
)]
fn grid(degrees: f64, max: f64, steps: u32) -> u64 {
    ((degrees - -max) / (max - -max) * (1u64 << steps) as f64) as u32 as u64
}

/// Puts a zero above each of the lower 32 bits.
const fn spread(number: u64) -> u64 {
    let mut bits = number & 0xffff_ffff;
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// Every second bit, the uppermost first.
const fn odd_bits(number: u64) -> u64 {
    let mut bits = number >> 1 & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_score_stands_for_a_place_nearby(longitude in -180.0f64..180.0, latitude in -85.05f64..85.05) {
            let place = Place { longitude, latitude };
            let near = Place::of_score(place.score());
            prop_assert!(place.distance(near) < 0.6, "{} metres", place.distance(near));
            prop_assert_eq!(near.score(), place.score());
        }

        #[test]
        fn any_score_stands_for_a_place(score: f64) {
            prop_assert!(score.is_nan() || Place::of_score(score).is_within_bounds());
        }

        #[test]
        fn what_is_spread_is_gathered(number: u32) {
            prop_assert_eq!(odd_bits(spread(u64::from(number)) << 1), u64::from(number));
        }
    }
}
