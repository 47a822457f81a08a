//! What GEOSEARCH looks within, and the cells of the grid that it must look into.
//! Owns: which nine cells or fewer cover a shape, in which order: it is the order of replies, so all of it is as in
//! Redis. Never: members.

use super::cell::{Area, Cell, Degrees, EARTH_RADIUS, Place, STEPS_MAX};

/// Half the circumference of the earth in the Mercator projection, metres.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// A circle or a rectangle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) center: Place,
    pub(super) extent: Extent,
}

/// How far a shape reaches, metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    Radius(f64),
    Box { width: f64, height: f64 },
}

impl Shape {
    /// How far `place` is from the middle, if it lies within.
    pub(super) fn distance_within(&self, place: Place) -> Option<f64> {
        let is_within = match self.extent {
            Extent::Radius(radius) => {
                return Some(self.center.distance(place)).filter(|distance| *distance <= radius);
            }
            Extent::Box { width, height } => {
                let level = Place { longitude: self.center.longitude, latitude: place.latitude };
                place.distance_by_latitude(self.center) <= height / 2.0
                    && place.distance(level) <= width / 2.0
            }
        };
        is_within.then(|| self.center.distance(place))
    }

    /// The cells to look into.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let bounds = self.bounds();
        let mut steps = self.steps();
        let mut middle = Cell::of(self.center, steps);
        let is_too_small = middle.neighbour(0, 1).area().north < bounds.north
            || middle.neighbour(0, -1).area().south > bounds.south
            || middle.neighbour(1, 0).area().east < bounds.east
            || middle.neighbour(-1, 0).area().west > bounds.west;
        if steps > 1 && is_too_small {
            steps -= 1;
            middle = Cell::of(self.center, steps);
        }
        let area = middle.area();
        let is_useless = |(east, north): (i64, i64)| {
            steps >= 2
                && ((north < 0 && area.south < bounds.south)
                    || (north > 0 && area.north > bounds.north)
                    || (east < 0 && area.west < bounds.west)
                    || (east > 0 && area.east > bounds.east))
        };
        const AROUND: [(i64, i64); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let wanted = AROUND.into_iter().filter(|step| !is_useless(*step));
        let mut cells: Vec<Cell> =
            wanted.map(|(east, north)| middle.neighbour(east, north)).collect();
        // Neighbours that meet on the other side of the earth.
        cells.dedup();
        cells
    }

    /// The steps of a grid whose cells are about as large as the shape.
    fn steps(&self) -> u32 {
        let mut reach = match self.extent {
            Extent::Radius(radius) => radius,
            Extent::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        if reach == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1i32;
        // Bounded: the least double needs 1100 doublings.
        while reach < MERCATOR_MAX {
            reach *= 2.0;
            steps += 1;
        }
        steps -= 2;
        // Cells are narrower near the poles.
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX.cast_signed()).unsigned_abs()
    }

    /// The rectangle around the shape.
    fn bounds(&self) -> Area {
        let (width, height) = match self.extent {
            Extent::Radius(radius) => (radius, radius),
            Extent::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Place { longitude, latitude } = self.center;
        let lat_delta = (height / EARTH_RADIUS).to_degrees_as_redis();
        // Where a circle of latitude is shorter, more degrees are needed: on the side of the pole.
        let widest = if latitude < 0.0 { latitude - lat_delta } else { latitude + lat_delta };
        let long_delta =
            (width / EARTH_RADIUS / libm::cos(widest.to_radians_as_redis())).to_degrees_as_redis();
        Area {
            west: longitude - long_delta,
            east: longitude + long_delta,
            south: latitude - lat_delta,
            north: latitude + lat_delta,
        }
    }
}
