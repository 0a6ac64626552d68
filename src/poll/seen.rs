//! Which items a poll has seen: what makes it safe to ask for the same thing again.
//!
//! Ids are kept as the first 64 bits of their SHA-256, the latest seen last, in groups (one for each feed, say) that do
//! not push each other out. Nothing is forgotten on the way through a list, nor by a reply without items: only at the
//! end of a walk that saw the whole list is a group cut to twice what was listed, at least [`FLOOR`] ids and at most
//! [`CEILING`]. A list that is read whole each time and is longer than that is refused. So what is still listed is never
//! forgotten, and what left the list is remembered for a good while. Beyond that the event table is asked, whose unique
//! index refuses an id for as long as its event is kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};

/// Ids that a group keeps in any case.
pub const FLOOR: usize = 1_000;
/// Most ids that a group keeps between two walks, and most items of a list that is read whole each time: about
/// 200 KB of text.
pub const CEILING: usize = 20_000;
/// Most ids of a group within a walk: all that were known, and all that it lists.
const WITHIN_WALK: usize = 2 * CEILING;

/// The short form of an item's id.
pub type Mark = [u8; 8];

/// The mark of an id.
pub fn mark(id: &str) -> Mark {
    let digest = Sha256::digest(id.as_bytes());
    let mut mark = Mark::default();
    mark.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    mark
}

/// Marks as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(pub Vec<Mark>);

impl Marks {
    fn keep(&mut self, most: usize) {
        let over = self.0.len().saturating_sub(most);
        self.0.drain(..over);
    }
}

impl Serialize for Marks {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0.concat()))
    }
}

impl<'de> Deserialize<'de> for Marks {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.as_chunks::<8>().0.to_vec()))
    }
}

/// Every group's marks, the latest seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(BTreeMap<String, Marks>);

impl Seen {
    /// Whether the group is there at all, if only empty.
    pub fn has_group(&self, group: &str) -> bool {
        self.0.contains_key(group)
    }

    /// The group's marks, for asking many times.
    pub fn of(&self, group: &str) -> HashSet<Mark> {
        self.0
            .get(group)
            .map(|marks| marks.0.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Notes what was listed.
    pub fn note(&mut self, group: &str, marks: &[Mark]) {
        let group = self.0.entry(group.to_owned()).or_default();
        let latest: HashSet<&Mark> = marks.iter().collect();
        group.0.retain(|mark| !latest.contains(mark));
        let mut noted = HashSet::new();
        group.0.extend(marks.iter().filter(|mark| noted.insert(**mark)));
        group.keep(WITHIN_WALK);
    }

    /// Forgets what has been gone for longest where there is too much, after a walk that listed so many to the end. A
    /// list without items says nothing about how long it is.
    pub fn trim(&mut self, group: &str, listed: usize) {
        if listed == 0 {
            return;
        }
        if let Some(group) = self.0.get_mut(group) {
            group.keep(listed.saturating_mul(2).clamp(FLOOR, CEILING));
        }
    }

    /// How many ids are kept.
    pub fn len(&self) -> usize {
        self.0.values().map(|marks| marks.0.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(ids: std::ops::Range<usize>) -> Vec<Mark> {
        ids.map(|n| mark(&n.to_string())).collect()
    }

    #[test]
    fn it_goes_there_and_back() {
        let mut seen = Seen::default();
        seen.note("", &marks(0..3));
        seen.note("https://feed.example.com/", &[]);

        let text = serde_json::to_string(&seen).unwrap();

        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
        assert!(seen.has_group("https://feed.example.com/") && !seen.has_group("other"));
        assert!(seen.of("").contains(&mark("2")) && !seen.of("").contains(&mark("3")));
    }

    #[test]
    fn what_is_listed_stays_and_what_left_goes_first() {
        let mut seen = Seen::default();
        seen.note("", &marks(0..10));
        for at in 10..3_000 {
            // The first ten stay listed, each time with one new item.
            let mut listed = marks(0..10);
            listed.push(mark(&at.to_string()));
            seen.note("", &listed);
            seen.trim("", 11);
        }

        let kept = seen.of("");
        assert_eq!(kept.len(), FLOOR);
        assert!(marks(0..10).iter().all(|m| kept.contains(m)));
        assert!(!kept.contains(&mark("10")) && kept.contains(&mark("2999")));
    }

    #[test]
    fn a_long_list_is_kept_whole_up_to_the_bound() {
        let mut seen = Seen::default();
        seen.note("", &marks(0..8_000));
        seen.note("", &marks(8_000..12_000));
        seen.trim("", 12_000);
        assert_eq!(seen.len(), 12_000);

        seen.trim("", 0);
        seen.trim("another", 1);
        assert_eq!(seen.len(), 12_000);

        // Within a walk there is room for what was known and for what is listed now.
        seen.note("", &marks(12_000..32_000));
        assert_eq!(seen.len(), 32_000);
        seen.note("", &marks(32_000..52_000));
        assert_eq!(seen.len(), 2 * CEILING);
        seen.trim("", 20_000);
        assert_eq!(seen.len(), CEILING);
        let kept = seen.of("");
        assert!(marks(32_000..52_000).iter().all(|m| kept.contains(m)));
        assert!(serde_json::to_string(&seen).unwrap().len() < 250_000);
    }

    #[test]
    fn an_id_that_is_listed_twice_counts_once() {
        let mut seen = Seen::default();
        seen.note("", &[mark("a"), mark("b"), mark("a")]);

        assert_eq!(seen.len(), 2);
    }
}
