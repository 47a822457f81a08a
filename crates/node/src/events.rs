//! Keyspace notifications: which events are told, and on which channels.
//!
//! Owns: [`EventFlags`] and their letters, `EventSetting`, which holds for the whole cluster. Never: what an event is
//! called (commands say that, see `store/effect.rs`). The replica that leads tells what it applies, on every node;
//! followers drop it. Told by `shard.rs`, at the end of an entry.
//!
//! Around a change of leader an event may be missed or come twice, as messages may (see `pubsub.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

use keystead_store::{Effect, EventClass};

use crate::pubsub::Bus;

/// The value of `notify-keyspace-events`: classes of events, and which channels are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFlags(u32);

/// `K`: `__keyspace@0__:<key>` is told the event.
const KEYSPACE: u32 = 1 << 16;
/// `E`: `__keyevent@0__:<event>` is told the key.
const KEYEVENT: u32 = 1 << 17;
const FLAG_BITS: u32 = 18;

impl EventFlags {
    /// `A`: all classes but `m` and `n`, which Redis leaves out too.
    const ALL_CLASSES: u32 = 0xfff & !((EventClass::KeyMiss as u32) | (EventClass::New as u32));

    /// The letters as CONFIG SET takes them; `None` if one is unknown.
    #[must_use]
    pub fn parse(letters: &str) -> Option<Self> {
        let mut flags = 0;
        for letter in letters.chars() {
            flags |= match letter {
                'A' => Self::ALL_CLASSES,
                'K' => KEYSPACE,
                'E' => KEYEVENT,
                _ => {
                    let (class, _) = EventClass::ALL.iter().find(|(_, known)| *known == letter)?;
                    u32::from(class.bit())
                }
            };
        }
        Some(Self(flags))
    }

    /// The letters as CONFIG GET shows them, `n` not beside `A`, as in Redis.
    #[must_use]
    pub fn letters(self) -> String {
        let mut letters = String::new();
        let has = |bits: u32| self.0 & bits == bits;
        if has(Self::ALL_CLASSES) {
            letters.push('A');
        } else {
            let shown = EventClass::ALL.iter().filter(|(class, _)| *class != EventClass::KeyMiss);
            letters.extend(shown.filter(|(class, _)| has(class.bit().into())).map(|(_, it)| it));
        }
        for (bits, letter) in [(KEYSPACE, 'K'), (KEYEVENT, 'E'), (EventClass::KeyMiss as u32, 'm')]
        {
            if has(bits) {
                letters.push(letter);
            }
        }
        letters
    }

    /// The classes that a store is to tell: none if no channel is told.
    #[must_use]
    pub(crate) const fn classes(self) -> u16 {
        if self.0 & (KEYSPACE | KEYEVENT) == 0 {
            return 0;
        }
        (self.0 & 0xfff) as u16
    }
}

/// The cluster's setting as this node knows it. The latest change wins on every node: it is stamped with the time of the
/// node that was asked, and kept in memory only, as Redis does without CONFIG REWRITE.
#[derive(Debug, Default)]
pub(crate) struct EventSetting(AtomicU64);

impl EventSetting {
    /// The flags, and with them the stamp, as one number that peers exchange.
    pub(crate) fn stamped(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn flags(&self) -> EventFlags {
        EventFlags((self.stamped() & ((1 << FLAG_BITS) - 1)) as u32)
    }

    /// Changes it, behind every change that this node knows of.
    pub(crate) fn change(&self, flags: EventFlags, now_ms: u64) {
        let known_ms = self.stamped() >> FLAG_BITS;
        self.hear(now_ms.max(known_ms + 1) << FLAG_BITS | u64::from(flags.0));
    }

    /// What a peer knows.
    pub(crate) fn hear(&self, stamped: u64) {
        self.0.fetch_max(stamped, Ordering::Relaxed);
    }
}

/// Tells events to their channels, and what transactions publish.
pub(crate) fn tell(bus: &Bus, effects: &[Effect]) {
    let EventFlags(flags) = bus.event_flags();
    for effect in effects {
        let (name, database, key) = match effect {
            Effect::Event { name, database, key, .. } => (name, database.0, key),
            Effect::Publish { channel, message, is_sharded } => {
                bus.publish(*is_sharded, channel, message);
                continue;
            }
            _ => continue,
        };
        if flags & KEYSPACE != 0 {
            let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
            bus.publish(false, &channel, name.as_bytes());
        }
        if flags & KEYEVENT != 0 {
            bus.publish(false, format!("__keyevent@{database}__:{name}").as_bytes(), key);
        }
    }
    bus.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_redis() {
        let shown = |letters: &str| EventFlags::parse(letters).map(EventFlags::letters);
        for (given, expected) in
            [("AKEmn", "AKEm"), ("KEA", "AKE"), ("Kgn", "gnK"), ("g$lshzxetdKE", "AKE"), ("", "")]
        {
            assert_eq!(shown(given).as_deref(), Some(expected), "{given}");
        }
        assert_eq!(shown("Q"), None);
        assert_eq!(EventFlags::parse("A").map(EventFlags::classes), Some(0));
    }

    #[test]
    fn the_latest_change_wins() {
        let (one, two) = (EventSetting::default(), EventSetting::default());
        let flags = |letters| EventFlags::parse(letters).unwrap();
        one.change(flags("KA"), 5);
        two.hear(one.stamped());
        two.change(flags(""), 3);
        one.hear(two.stamped());
        assert_eq!((one.flags(), two.flags()), (flags(""), flags("")));
    }
}
