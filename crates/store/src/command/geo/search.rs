//! GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their _RO forms: members within a shape.

use keystead_resp::{Args, ReplyWriter};

use super::cell::Place;
use super::shape::{Extent, Shape};
use super::{place, put_distance, put_place, unit};
use crate::command::sorted_set::store;
use crate::command::{Reader, Writer};
use crate::error::CommandError;
use crate::number::float::parse_float;
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::sorted_set::{Direction, SortedSet};

/// Which command it is: where its arguments stand, and which it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Radius,
    RadiusByMember,
    Search,
    SearchStore,
}

/// Options as they are read.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Query<'a> {
    center: Option<Place>,
    /// What was said of the middle; of a set that is not there no member has a place.
    origin: Option<Origin>,
    extent: Option<Extent>,
    /// Metres of the unit in which distances are given.
    metres: f64,
    has_distance: bool,
    has_score: bool,
    has_place: bool,
    is_any: bool,
    order: Option<Direction>,
    count: Option<usize>,
    store: Option<&'a [u8]>,
    stores_distance: bool,
}

/// From where GEOSEARCH looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Member,
    Place,
}

/// A member within the shape.
struct Found<'a> {
    name: &'a [u8],
    score: f64,
    place: Place,
    /// Metres from the middle.
    distance: f64,
}

impl<'a> Query<'a> {
    /// Reads a command whose set, if its key holds one, is `set`. `takes_store`: it is not an _RO form.
    fn parse(
        args: Args<'a>,
        (form, takes_store): (Form, bool),
        (set, hasher): (Option<&SortedSet>, &Hasher),
    ) -> Result<Self, CommandError> {
        let mut query = Self { metres: 1.0, ..Self::default() };
        let member = |name: &[u8]| -> Result<Option<Place>, CommandError> {
            let Some(set) = set else { return Ok(None) };
            let score = set.score(hasher, name).ok_or(CommandError::GeoMember)?;
            Ok(Some(Place::of_score(score)))
        };
        let mut rest = match form {
            Form::Radius => {
                query.center = Some(place(&args[2], &args[3])?);
                query.read_radius(&args[4], &args[5])?;
                args.from(6)
            }
            Form::RadiusByMember => {
                query.center = member(&args[2])?;
                if set.is_some() {
                    query.read_radius(&args[3], &args[4])?;
                }
                args.from(5)
            }
            Form::Search => args.from(2),
            Form::SearchStore => {
                query.store = args.get(1);
                args.from(3)
            }
        };
        while let Some(word) = rest.get(0) {
            rest = rest.from(1);
            let used = match query.common(word, rest)? {
                Some(used) => Some(used),
                None if matches!(form, Form::Search | Form::SearchStore) => {
                    query.of_search(word, rest, form, &member)?
                }
                None if takes_store => query.of_radius(word, rest),
                None => None,
            };
            rest = rest.from(used.ok_or(CommandError::Syntax)?);
        }
        query.check(args, form)?;
        Ok(query)
    }

    /// Options of every form; how many arguments they take, `None` if it is none of them.
    fn common(&mut self, word: &[u8], rest: Args<'_>) -> Result<Option<usize>, CommandError> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"WITHDIST") {
            self.has_distance = true;
        } else if is(b"WITHHASH") {
            self.has_score = true;
        } else if is(b"WITHCOORD") {
            self.has_place = true;
        } else if is(b"ANY") {
            self.is_any = true;
        } else if is(b"ASC") {
            self.order = Some(Direction::Up);
        } else if is(b"DESC") {
            self.order = Some(Direction::Down);
        } else if is(b"COUNT") && !rest.is_empty() {
            let count = parse_integer(&rest[0]).ok_or(CommandError::NotAnInteger)?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0);
            self.count = Some(count.ok_or(CommandError::GeoCount)?);
            return Ok(Some(1));
        } else {
            return Ok(None);
        }
        Ok(Some(0))
    }

    /// Options of GEOSEARCH and GEOSEARCHSTORE.
    fn of_search(
        &mut self,
        word: &[u8],
        rest: Args<'_>,
        form: Form,
        member: &impl Fn(&[u8]) -> Result<Option<Place>, CommandError>,
    ) -> Result<Option<usize>, CommandError> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"FROMMEMBER") && !rest.is_empty() && self.origin != Some(Origin::Place) {
            self.center = member(&rest[0])?;
            self.origin = Some(Origin::Member);
            return Ok(Some(1));
        }
        if is(b"FROMLONLAT") && rest.len() >= 2 && self.origin != Some(Origin::Member) {
            self.center = Some(place(&rest[0], &rest[1])?);
            self.origin = Some(Origin::Place);
            return Ok(Some(2));
        }
        if is(b"BYRADIUS") && rest.len() >= 2 && !matches!(self.extent, Some(Extent::Box { .. })) {
            self.read_radius(&rest[0], &rest[1])?;
            return Ok(Some(2));
        }
        if is(b"BYBOX") && rest.len() >= 3 && !matches!(self.extent, Some(Extent::Radius(_))) {
            let width = parse_float(&rest[0]).ok_or(CommandError::GeoWidth)?;
            let height = parse_float(&rest[1]).ok_or(CommandError::GeoHeight)?;
            if width < 0.0 || height < 0.0 {
                return Err(CommandError::GeoBoxNegative);
            }
            self.metres = unit(&rest[2])?;
            let (width, height) = (width * self.metres, height * self.metres);
            self.extent = Some(Extent::Box { width, height });
            return Ok(Some(3));
        }
        if is(b"STOREDIST") && form == Form::SearchStore {
            self.stores_distance = true;
            return Ok(Some(0));
        }
        Ok(None)
    }

    /// Options of GEORADIUS and GEORADIUSBYMEMBER.
    fn of_radius(&mut self, word: &[u8], rest: Args<'a>) -> Option<usize> {
        let is_distance = word.eq_ignore_ascii_case(b"STOREDIST");
        if !is_distance && !word.eq_ignore_ascii_case(b"STORE") {
            return None;
        }
        self.store = Some(rest.get(0)?);
        self.stores_distance = is_distance;
        Some(1)
    }

    fn read_radius(&mut self, radius: &[u8], name: &[u8]) -> Result<(), CommandError> {
        let radius = parse_float(radius).ok_or(CommandError::GeoRadius)?;
        if radius < 0.0 {
            return Err(CommandError::GeoRadiusNegative);
        }
        self.metres = unit(name)?;
        self.extent = Some(Extent::Radius(radius * self.metres));
        Ok(())
    }

    fn check(&self, args: Args<'_>, form: Form) -> Result<(), CommandError> {
        let is_search = matches!(form, Form::Search | Form::SearchStore);
        let command = || args[0].into();
        if self.store.is_some() && (self.has_distance || self.has_score || self.has_place) {
            return Err(CommandError::GeoStoreWith {
                what: if is_search { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" },
            });
        }
        if is_search && self.origin.is_none() {
            return Err(CommandError::GeoNoCenter { command: command() });
        }
        if is_search && self.extent.is_none() {
            return Err(CommandError::GeoNoExtent { command: command() });
        }
        if self.is_any && self.count.is_none() {
            return Err(CommandError::GeoAny);
        }
        Ok(())
    }

    /// The members within, in the order in which they are answered, no more than are.
    fn run<'s>(&self, set: &'s SortedSet) -> Vec<Found<'s>> {
        let (Some(center), Some(extent)) = (self.center, self.extent) else { return Vec::new() };
        let shape = Shape { center, extent };
        let limit = self.count.filter(|_| self.is_any).unwrap_or(usize::MAX);
        let mut found: Vec<Found<'_>> = Vec::new();
        for cell in shape.cells() {
            let (least, end) = cell.scores();
            let start = set.rank_by_score(|score| score < least);
            let end = set.rank_by_score(|score| score < end);
            for (name, score) in set.walk(start..end, Direction::Up) {
                if found.len() >= limit {
                    break;
                }
                let place = Place::of_score(score);
                if let Some(distance) = shape.distance_within(place) {
                    found.push(Found { name, score, place, distance });
                }
            }
        }
        let is_sorted = self.order.is_some() || (self.count.is_some() && !self.is_any);
        if is_sorted {
            found.sort_by(|a, b| match self.order {
                Some(Direction::Down) => b.distance.total_cmp(&a.distance),
                _ => a.distance.total_cmp(&b.distance),
            });
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        found
    }

    fn answer(&self, set: Option<&SortedSet>, reply: &mut ReplyWriter<'_>) {
        let found = set.map_or_else(Vec::new, |set| self.run(set));
        let extras = usize::from(self.has_distance)
            + usize::from(self.has_score)
            + usize::from(self.has_place);
        reply.array(found.len());
        for member in found {
            if extras > 0 {
                reply.array(extras + 1);
            }
            reply.bulk(member.name);
            if self.has_distance {
                put_distance(reply, member.distance / self.metres);
            }
            if self.has_score {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a score of a place has 52 bits"
                )]
                reply.integer(member.score as i64);
            }
            if self.has_place {
                put_place(reply, member.place);
            }
        }
    }
}

fn read(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    form: Form,
) -> Result<(), CommandError> {
    let set = reader.kind::<SortedSet>(&args[1])?;
    let query = Query::parse(args, (form, false), (set, &reader.keyspace.hasher))?;
    query.answer(set, reply);
    Ok(())
}

fn write(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    form: Form,
) -> Result<(), CommandError> {
    let (source, event) = match form {
        Form::SearchStore => (&args[2], "geosearchstore"),
        _ => (&args[1], "georadiusstore"),
    };
    let hasher = &writer.keyspace.hasher;
    let set = writer.kind::<SortedSet>(source)?;
    let query = Query::parse(args, (form, true), (set, hasher))?;
    let Some(key) = query.store else {
        query.answer(set, reply);
        return Ok(());
    };
    let found = set.map_or_else(Vec::new, |set| query.run(set));
    let members = found.iter().map(|member| {
        let distance = member.distance / query.metres;
        (member.name, if query.stores_distance { distance } else { member.score })
    });
    let stored = SortedSet::collect(hasher, members);
    store(writer, (key, event), stored, reply);
    Ok(())
}

macro_rules! searches {
    ($run:ident($door:ty): $($name:ident => $form:expr;)+) => {$(
        pub(crate) fn $name(
            door: $door,
            args: Args<'_>,
            reply: &mut ReplyWriter<'_>,
        ) -> Result<(), CommandError> {
            $run(door, args, reply, $form)
        }
    )+};
}

searches! {
    read(&Reader<'_>):
    geosearch => Form::Search;
    georadius_ro => Form::Radius;
    georadiusbymember_ro => Form::RadiusByMember;
}

searches! {
    write(&mut Writer<'_>):
    geosearchstore => Form::SearchStore;
    georadius => Form::Radius;
    georadiusbymember => Form::RadiusByMember;
}
