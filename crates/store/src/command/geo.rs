//! The geo family: sorted sets whose scores are places on the earth.

pub(super) mod add;
mod cell;
pub(super) mod get;
pub(super) mod search;
mod shape;

use keystead_resp::{Protocol, ReplyWriter};

use crate::error::CommandError;
use crate::number::float::parse_float;
use cell::Place;

/// Metres in one unit, by its name.
fn unit(name: &[u8]) -> Result<f64, CommandError> {
    let units: [(&[u8], f64); 4] =
        [(b"m", 1.0), (b"km", 1000.0), (b"ft", 0.3048), (b"mi", 1609.34)];
    let found = units.into_iter().find(|(unit, _)| name.eq_ignore_ascii_case(unit));
    found.map(|(_, metres)| metres).ok_or(CommandError::GeoUnit)
}

/// A longitude and a latitude within what a score can hold.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let number = |text| parse_float(text).ok_or(CommandError::NotAFloat);
    let place = Place { longitude: number(longitude)?, latitude: number(latitude)? };
    if place.is_within_bounds() { Ok(place) } else { Err(place.refusal()) }
}

/// Answers a distance, with four digits behind the point.
fn put_distance(reply: &mut ReplyWriter<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

/// Answers a place, with at most 17 digits behind the point.
fn put_place(reply: &mut ReplyWriter<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        match (text, reply.protocol()) {
            ("-0", _) => reply.double_text("0"),
            (text, Protocol::Resp2) => reply.bulk(text.as_bytes()),
            (text, Protocol::Resp3) => reply.double_text(text),
        }
    }
}
