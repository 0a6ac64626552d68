//! How far a poll has come, and what a page of its list means: plain functions, no I/O.
//!
//! A *walk* goes over a list from its first page until all is known; it may take several runs. What the lists of real
//! services do meanwhile is taken for granted: items come and go between two pages, several have one timestamp, dates
//! lie, the last item that was seen is deleted, an order is not kept. Hence an item is new because its id has not been
//! seen, never because of where or when it is listed, and what makes the next walk short (validators, the time to ask
//! from, the cursor) counts only from the end of a walk that cannot have missed anything.

use super::seen::{CEILING, Mark, Marks, Seen, mark};
use super::{Item, Page};
use crate::manifest::poll::Order;
use crate::time::{MINUTE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// How a source's lists behave, and what the poll wants of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The order.
    pub order: Order,
    /// Whether pages shift when items come or go between two of them.
    pub drifts: bool,
    /// Whether each page is a list of its own, with its own group and cursor.
    pub grouped: bool,
    /// Whether each look lists all there is, so that all of it must be remembered.
    pub whole: bool,
    /// Items of the first run that become events.
    pub backfill: usize,
    /// Milliseconds by which an item's time may be older than those that came before it.
    pub overlap: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            order: Order::Any,
            drifts: false,
            grouped: false,
            whole: true,
            backfill: 0,
            overlap: 10 * MINUTE,
        }
    }
}

/// What a service marks a reply with (RFC 9110, 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// A walk that is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// When it began.
    pub started: Timestamp,
    /// What asks for the next page.
    pub next: Value,
    /// Pages behind it.
    pub pages: u32,
    /// Items on them.
    pub listed: usize,
    /// Items of a first walk that became events.
    taken: usize,
    /// Whether something new was found after the first page.
    below: bool,
    /// The latest time of an item.
    high: Option<Timestamp>,
    /// The first page's marks.
    validators: Option<Validators>,
    /// Whether something known was met in this run.
    #[serde(skip)]
    anchored: bool,
    /// What the next page decides. Lost with the run: then its page is read again.
    #[serde(skip)]
    undecided: Vec<Item>,
    /// What asks for that next page.
    #[serde(skip)]
    ahead: Option<Value>,
}

/// How far a poll has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The source's own cursor.
    pub cursor: Value,
    /// Whether a first walk is over.
    pub begun: bool,
    /// The latest time of an item, as far as walks that are over have shown; never in the future.
    pub watermark: Option<Timestamp>,
    /// Items from before this time are history, whenever they turn up.
    pub floor: Option<Timestamp>,
    /// What the first page was marked with when the last walk was over.
    pub validators: Option<Validators>,
    /// Items that a walk over shifting pages found: none ends a walk until another walk has found nothing below them.
    pub unsettled: Marks,
    /// The walk that is not over.
    pub walk: Option<Walk>,
    /// Deliveries that a look for lost ones could not take in, by id: to be tried again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, Skipped>,
}

/// A delivery that could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// When that was first tried.
    pub since: Timestamp,
    /// When it was last tried.
    pub tried: Timestamp,
    /// When the service sent it.
    pub sent: Option<Timestamp>,
}

/// How much can be stored at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Events.
    pub count: usize,
    /// Bytes of their payloads. One event is taken in any case, so that a large one does not stop the poll.
    pub bytes: usize,
}

/// Where a walk stands after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walked {
    /// There is a next page.
    More,
    /// There was no room for all: this page once more, after what was taken is stored.
    Full,
    /// It is over, and what it found is settled; with the time it began.
    Over(Timestamp),
    /// It is over, but pages may have shifted past it: once more.
    Again,
}

impl Progress {
    /// The walk that goes on, or a new one.
    pub fn walk(&mut self, now: Timestamp) -> &mut Walk {
        self.walk.get_or_insert_with(|| Walk {
            started: now,
            next: Value::Null,
            pages: 0,
            listed: 0,
            taken: 0,
            below: false,
            high: None,
            validators: None,
            anchored: false,
            undecided: Vec::new(),
            ahead: None,
        })
    }

    /// Whether a list that is read whole each time, of which `more` are listed now, is longer than can be remembered.
    pub fn is_too_long(&self, rules: &Rules, more: usize) -> bool {
        let before = self
            .walk
            .as_ref()
            .filter(|_| !rules.grouped)
            .map_or(0, |walk| walk.listed);
        rules.whole && before + more > CEILING
    }

    /// What items are asked for: those from this time on.
    pub fn since(&self, rules: &Rules) -> Option<Timestamp> {
        self.watermark.map(|time| time + -rules.overlap)
    }

    /// The marks to send, where an unchanged first page means that nothing is new.
    pub fn usable_validators(&self) -> Option<&Validators> {
        let first_page = self.walk.as_ref().is_none_or(|walk| walk.pages == 0);
        self.validators
            .as_ref()
            .filter(|_| first_page && self.begun && self.unsettled.0.is_empty())
    }

    /// Ends a run. A walk that has met something known begins again with the first page: until the next run the list may
    /// shift by more than a page, and what is new would then lie where history is looked for.
    pub fn rest(&mut self) {
        if let Some(walk) = self.walk.as_mut().filter(|walk| walk.anchored) {
            walk.next = Value::Null;
            walk.pages = 0;
            walk.anchored = false;
            walk.ahead = None;
            walk.undecided.clear();
        }
    }

    /// Begins anew without the cursor that the service refused. What is older than the last complete walk is history.
    pub fn reset(&mut self, rules: &Rules, last_poll_ts: Option<Timestamp>) {
        let known = self.watermark.or(last_poll_ts).map(|time| time + -rules.overlap);
        *self = Self {
            begun: self.begun,
            watermark: self.watermark,
            floor: known.max(self.floor),
            ..Self::default()
        };
    }

    /// Takes in a page: the new items, oldest first, and where the walk stands.
    pub fn absorb(
        &mut self,
        seen: &mut Seen,
        rules: &Rules,
        page: Page,
        room: Room,
        now: Timestamp,
    ) -> (Vec<Item>, Walked) {
        let is_first = self.walk(now).place().is_null();
        let begun = if rules.grouped {
            seen.has_group(&page.group)
        } else {
            self.begun
        };
        let marks: Vec<Mark> = page.items.iter().map(|item| mark(&item.id)).collect();
        let lowest = lowest(&page.items);
        // A date that lies in the future must not carry the watermark there.
        let high = page
            .items
            .iter()
            .filter_map(|item| item.occurred_at)
            .max()
            .map(|time| time.min(now));
        let is_last = page.next.is_none() || page.unchanged;
        let sorted = self.sort(rules, begun, &seen.of(&page.group), &marks, page.items, is_last);
        let (events, left) = fit(sorted.events, room);
        let full = !left.is_empty();
        let found: Vec<Mark> = events.iter().map(|item| mark(&item.id)).collect();
        let held: HashSet<Mark> = sorted.undecided.iter().map(|item| mark(&item.id)).collect();
        let mut noted: Vec<Mark> = found.iter().chain(&sorted.history).chain(&marks).copied().collect();
        noted.retain(|m| !left.contains(m) && !held.contains(m));

        let walk = self.walk(now);
        // A page that does not fit is listed once more.
        walk.listed += if full { 0 } else { marks.len() };
        walk.taken += if begun { 0 } else { events.len() };
        walk.high = walk.high.max(high);
        walk.below |= !is_first && !found.is_empty();
        if is_first && !full {
            walk.validators = page.validators;
        }
        let (taken, listed) = (walk.taken, walk.listed);
        if !page.blank {
            seen.note(&page.group, &noted);
        }
        if full {
            walk.ahead = None;
        }
        if begun && rules.order == Order::NewestFirst {
            self.unsettled.0.extend(&found);
            let over = self.unsettled.0.len().saturating_sub(CEILING);
            self.unsettled.0.drain(..over);
        }
        if full {
            return (events, Walked::Full);
        }
        if rules.grouped {
            self.cursor = page.cursor.clone().unwrap_or(self.cursor.take());
            seen.trim(&page.group, marks.len());
        }
        let enough = !begun && rules.order == Order::NewestFirst && !rules.grouped && taken >= rules.backfill;
        match page.next {
            Some(next) if !is_last && !sorted.ends && !enough => {
                self.walk(now).go_on(next, sorted.undecided, rules.grouped);
                (events, Walked::More)
            }
            more => {
                if !self.begun && more.is_some() {
                    self.floor = lowest.map(|time| time + -rules.overlap);
                }
                let walked = self.end(rules, page.unchanged, page.cursor, now);
                if let (Walked::Over(_), false, false) = (walked, rules.grouped, page.unchanged) {
                    seen.trim(&page.group, listed);
                }
                (events, walked)
            }
        }
    }

    /// What of a page is an event, what history, and what cannot be told yet.
    fn sort(
        &mut self,
        rules: &Rules,
        begun: bool,
        known: &HashSet<Mark>,
        marks: &[Mark],
        items: Vec<Item>,
        is_last: bool,
    ) -> Sorted {
        let mut met = HashSet::new();
        let mut fresh: Vec<(usize, Item)> = Vec::new();
        for ((at, item), id) in items.into_iter().enumerate().zip(marks) {
            if !known.contains(id) && met.insert(*id) {
                fresh.push((at, item));
            }
        }
        let mut sorted = Sorted::default();
        if begun && rules.order == Order::NewestFirst && !rules.grouped {
            self.sort_newest_first(known, marks, fresh, is_last, &mut sorted);
        } else if begun {
            let floor = self.floor;
            sorted.events = fresh
                .into_iter()
                .map(|(_, item)| item)
                .filter(|item| !is_history(item, floor))
                .collect();
        } else {
            let taken = self.walk.as_ref().map_or(0, |walk| walk.taken);
            if rules.order == Order::Any && fresh.iter().all(|(_, item)| item.occurred_at.is_some()) {
                fresh.sort_by_key(|(_, item)| std::cmp::Reverse(item.occurred_at));
            }
            fresh.truncate(rules.backfill.saturating_sub(taken));
            sorted.events = fresh.into_iter().map(|(_, item)| item).collect();
        }
        // Lists without a stated order, feeds above all, mostly begin with the newest too.
        sorted.events.reverse();
        sorted
    }

    /// In a list with the newest first, what is listed before something known is new: it came later, or an order was
    /// not kept. What is listed after everything known lies deeper than any walk has been, and is history: it moves
    /// up when something above it is deleted. So what comes after the last known item of a page is decided by the next.
    fn sort_newest_first(
        &mut self,
        known: &HashSet<Mark>,
        marks: &[Mark],
        mut fresh: Vec<(usize, Item)>,
        is_last: bool,
        sorted: &mut Sorted,
    ) {
        let unsettled: HashSet<&Mark> = self.unsettled.0.iter().collect();
        let anchor = marks.iter().rposition(|m| known.contains(m) && !unsettled.contains(m));
        let floor = self.floor;
        fresh.retain(|(_, item)| !is_history(item, floor));
        let Some(walk) = &mut self.walk else { return };
        let mut undecided = std::mem::take(&mut walk.undecided);
        let is_known = fresh.is_empty();
        match anchor {
            Some(last) => {
                sorted.events = std::mem::take(&mut undecided);
                let (above, below): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|(at, _)| *at < last);
                sorted.events.extend(above.into_iter().map(|(_, item)| item));
                undecided = below.into_iter().map(|(_, item)| item).collect();
                walk.anchored = true;
                sorted.ends = is_known;
            }
            None if walk.anchored => {
                undecided.extend(fresh.into_iter().map(|(_, item)| item));
                sorted.ends = true;
            }
            None => sorted.events = fresh.into_iter().map(|(_, item)| item).collect(),
        }
        if sorted.ends || is_last {
            // Unless it is later than everything so far: so much may have come at once that it filled pages.
            let watermark = self.watermark;
            let is_later = |item: &Item| {
                item.occurred_at
                    .zip(watermark)
                    .is_some_and(|(time, latest)| time > latest)
            };
            let (later, history): (Vec<_>, Vec<_>) = undecided.into_iter().partition(is_later);
            sorted.events.extend(later);
            sorted.history = history.iter().map(|item| mark(&item.id)).collect();
        } else {
            sorted.undecided = undecided;
        }
    }

    fn end(&mut self, rules: &Rules, unchanged: bool, cursor: Option<Value>, now: Timestamp) -> Walked {
        self.walk(now);
        let Some(walk) = self.walk.take() else {
            return Walked::Again;
        };
        // The first walk only says what is history: what it missed can be nothing but that, or is found by the next.
        let settled = !self.begun || !rules.drifts || !walk.below;
        self.begun = true;
        if !settled {
            return Walked::Again;
        }
        self.unsettled = Marks::default();
        self.watermark = self.watermark.max(walk.high);
        if !unchanged {
            // What is new on a later page of a list without order leaves the first page as it was.
            let tells = rules.order == Order::NewestFirst || walk.pages == 0;
            self.validators = walk.validators.filter(|_| tells);
        }
        if let (Some(cursor), false) = (cursor, rules.grouped) {
            self.cursor = cursor;
        }
        Walked::Over(walk.started)
    }
}

/// What a page comes to.
#[derive(Default)]
struct Sorted {
    /// New, oldest first.
    events: Vec<Item>,
    /// Not new, though never seen.
    history: Vec<Mark>,
    /// To be decided by the next page.
    undecided: Vec<Item>,
    /// Whether the walk need not go further.
    ends: bool,
}

fn is_history(item: &Item, floor: Option<Timestamp>) -> bool {
    item.occurred_at.zip(floor).is_some_and(|(time, floor)| time < floor)
}

impl Walk {
    /// What asks for the page that is next.
    pub fn place(&self) -> &Value {
        self.ahead.as_ref().unwrap_or(&self.next)
    }

    /// Goes on to the next page. While something is undecided, a run that ends there begins again with the page that it
    /// was on.
    fn go_on(&mut self, next: Value, undecided: Vec<Item>, grouped: bool) {
        if undecided.is_empty() {
            self.next = next;
            self.ahead = None;
            self.pages += 1;
        } else {
            self.ahead = Some(next);
        }
        self.undecided = undecided;
        self.taken = if grouped { 0 } else { self.taken };
    }
}

/// The oldest time of a page, if every item has one.
fn lowest(items: &[Item]) -> Option<Timestamp> {
    let times: Option<Vec<Timestamp>> = items.iter().map(|item| item.occurred_at).collect();
    times.and_then(|times| times.into_iter().min())
}

/// As many items as there is room for, and the marks of the rest.
fn fit(mut items: Vec<Item>, room: Room) -> (Vec<Item>, HashSet<Mark>) {
    let mut bytes = 0usize;
    let fits = items.iter().enumerate().take_while(|(at, item)| {
        bytes = bytes.saturating_add(item.data.to_string().len());
        *at < room.count && (bytes <= room.bytes || *at == 0)
    });
    let count = fits.count();
    let left = items.split_off(count);
    (items, left.iter().map(|item| mark(&item.id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);
    const ROOM: Room = Room {
        count: 100,
        bytes: 1_000_000,
    };
    const NEWEST: Rules = Rules {
        order: Order::NewestFirst,
        drifts: true,
        grouped: false,
        whole: false,
        backfill: 0,
        overlap: MINUTE,
    };

    /// A page of `a@5 b@4`: ids, with their time in minutes before now where it is said.
    fn page(items: &str, next: Option<u32>) -> Page {
        let items = items.split_whitespace().map(|item| {
            let (id, age) = item
                .split_once('@')
                .map_or((item, None), |(id, age)| (id, age.parse::<i64>().ok()));
            Item {
                id: id.to_owned(),
                data: json!({ "id": id }),
                subject: None,
                occurred_at: age.map(|age| NOW + -age * MINUTE),
            }
        });
        Page {
            items: items.collect(),
            next: next.map(|n| json!(n)),
            ..Page::default()
        }
    }

    struct Poll {
        progress: Progress,
        seen: Seen,
        rules: Rules,
    }

    impl Poll {
        fn new(rules: Rules) -> Self {
            Self {
                progress: Progress::default(),
                seen: Seen::default(),
                rules,
            }
        }

        fn take(&mut self, page: Page) -> (String, Walked) {
            self.take_into(page, ROOM)
        }

        fn take_into(&mut self, page: Page, room: Room) -> (String, Walked) {
            let (events, walked) = self.progress.absorb(&mut self.seen, &self.rules, page, room, NOW);
            let ids: Vec<String> = events.into_iter().map(|item| item.id).collect();
            (ids.join(" "), walked)
        }
    }

    const OVER: Walked = Walked::Over(NOW);

    #[test]
    fn the_first_run_is_the_baseline_and_then_only_ids_decide() {
        let mut poll = Poll::new(NEWEST);

        assert_eq!(poll.take(page("c@1 b@1 a@1", None)), (String::new(), OVER));
        // Equal timestamps, a deleted last item, a date that lies.
        assert_eq!(poll.take(page("e@9999 d@1 b@1 a@1", None)), ("d e".into(), OVER));
        assert_eq!(poll.take(page("e@0 d@1 c@1 b@1 a@1", None)), (String::new(), OVER));
    }

    #[test]
    fn a_first_run_can_bring_the_latest() {
        let mut poll = Poll::new(Rules { backfill: 3, ..NEWEST });

        assert_eq!(poll.take(page("e d", Some(2))), ("d e".into(), Walked::More));
        assert_eq!(poll.take(page("c b", Some(3))), ("c".into(), OVER));

        let mut feed = Poll::new(Rules {
            backfill: 2,
            ..Rules::default()
        });
        assert_eq!(feed.take(page("a@9 c@1 b@5", None)), ("b c".into(), OVER));
    }

    #[test]
    fn a_walk_ends_where_all_is_known() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("c b a", Some(2)));

        assert_eq!(poll.take(page("c b a", Some(2))), (String::new(), OVER));
        assert_eq!(poll.take(page("e d c", Some(2))), ("d e".into(), Walked::More));
        assert_eq!(poll.take(page("b a", Some(3))), (String::new(), OVER));
    }

    #[test]
    fn what_lies_deeper_than_any_walk_is_history_and_what_is_out_of_order_is_not() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("f e d", Some(2)));

        // `e` is deleted: `c` moves up, and nothing known is behind it.
        assert_eq!(poll.take(page("f d c", Some(2))), (String::new(), Walked::More));
        assert_eq!(poll.take(page("b a", None)), (String::new(), OVER));
        // `g` comes late, and last on its page: there is more behind it that is known.
        assert_eq!(poll.take(page("h f g", Some(2))), ("h".into(), Walked::More));
        assert_eq!(poll.take(page("d c b", Some(3))), ("g".into(), Walked::Again));
        assert_eq!(poll.take(page("h f g", Some(2))), (String::new(), OVER));
    }

    #[test]
    fn many_that_come_between_two_runs_are_not_taken_for_history() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("c b a", Some(2)));
        assert_eq!(poll.take(page("d c b", Some(2))), ("d".into(), Walked::More));

        // Page two fails; meanwhile so many come that they fill it.
        poll.progress.rest();
        assert!(poll.progress.walk(NOW).place().is_null());
        assert_eq!(poll.take(page("l k j", Some(2))), ("j k l".into(), Walked::More));
        assert_eq!(poll.take(page("i h g", Some(3))), ("g h i".into(), Walked::More));
        assert_eq!(poll.take(page("f e d", Some(4))), ("e f".into(), Walked::More));
        assert_eq!(poll.take(page("c b a", Some(5))), (String::new(), Walked::Again));

        // Or within a run: then their times say so.
        let mut timed = Poll::new(NEWEST);
        timed.take(page("c@7 b@8 a@9", Some(2)));
        assert_eq!(timed.take(page("d@6 c@7 b@8", Some(2))), ("d".into(), Walked::More));
        assert_eq!(timed.take(page("f@4 e@5 z@17", Some(3))), ("e f".into(), Walked::Again));
    }

    #[test]
    fn a_run_that_ends_before_the_next_page_decides_reads_its_page_again() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("c b a", None));

        assert_eq!(poll.take(page("c d", Some(2))), (String::new(), Walked::More));
        poll.progress.rest();
        let stored = serde_json::to_string(&poll.progress).unwrap();
        poll.progress = serde_json::from_str(&stored).unwrap();
        assert!(poll.progress.walk(NOW).place().is_null());
        assert_eq!(poll.take(page("c d", Some(2))), (String::new(), Walked::More));
        assert_eq!(poll.take(page("b a", None)), ("d".into(), Walked::Again));
    }

    #[test]
    fn a_walk_over_shifting_pages_is_walked_again_until_it_finds_nothing_below() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("b a", None));

        // While page two is asked for, `g` is deleted: `e` moves up to page one and is missed.
        assert_eq!(poll.take(page("h g f", Some(2))), ("f g h".into(), Walked::More));
        assert_eq!(poll.take(page("d c b", Some(3))), ("c d".into(), Walked::More));
        assert_eq!(poll.take(page("b a", None)), (String::new(), Walked::Again));
        // The new ones do not end the next walk, and it finds what was missed.
        assert_eq!(poll.take(page("h f e", Some(2))), ("e".into(), Walked::More));
        assert_eq!(poll.take(page("d c b", Some(3))), (String::new(), OVER));
        assert_eq!(poll.take(page("h f e", Some(2))), (String::new(), OVER));
    }

    #[test]
    fn the_watermark_moves_only_when_a_walk_is_settled_and_never_into_the_future() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("a@60", None));
        assert_eq!(poll.progress.since(&poll.rules), Some(NOW + -61 * MINUTE));

        poll.take(page("c@5 b@6", Some(2)));
        assert_eq!(poll.progress.since(&poll.rules), Some(NOW + -61 * MINUTE));
        poll.take(page("a@60", None));
        assert_eq!(poll.progress.since(&poll.rules), Some(NOW + -6 * MINUTE));

        poll.take(page("d@-500", None));
        assert_eq!(poll.progress.since(&poll.rules), Some(NOW + -MINUTE));
    }

    #[test]
    fn what_was_never_listed_at_the_baseline_is_history() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("z@1 y@2", Some(2)));

        // Both are deleted: the walk finds nothing known, and goes on into the past.
        assert_eq!(poll.take(page("new@0 x@9", Some(2))), ("new".into(), Walked::More));
        assert_eq!(poll.take(page("w@10 v@11", None)), (String::new(), OVER));
    }

    #[test]
    fn what_does_not_fit_is_taken_the_next_time() {
        let mut poll = Poll::new(NEWEST);
        poll.take(page("a", None));
        let room = Room { count: 2, bytes: 1_000 };

        assert_eq!(
            poll.take_into(page("e d c b a", None), room),
            ("b c".into(), Walked::Full)
        );
        assert_eq!(poll.progress.usable_validators(), None);
        assert_eq!(
            poll.take_into(page("f e d c b a", None), room),
            ("d e".into(), Walked::Full)
        );
        assert_eq!(poll.take_into(page("f e d c b a", None), room), ("f".into(), OVER));

        let narrow = Room { count: 9, bytes: 15 };
        assert_eq!(poll.take_into(page("h g f", None), narrow), ("g".into(), Walked::Full));
        let none = Room { count: 9, bytes: 0 };
        assert_eq!(poll.take_into(page("h g f", None), none), ("h".into(), OVER));
    }

    #[test]
    fn marks_count_from_the_end_of_a_walk() {
        let etag = |tag: &str| Validators {
            etag: Some(tag.to_owned()),
            last_modified: None,
        };
        let mut poll = Poll::new(NEWEST);
        let marked = |items: &str, next, tag: &str| Page {
            validators: Some(etag(tag)),
            ..page(items, next)
        };
        poll.take(marked("a", None, "1"));
        assert_eq!(poll.progress.usable_validators(), Some(&etag("1")));

        poll.take(marked("c b", Some(2), "2"));
        assert_eq!(poll.progress.usable_validators(), None);
        poll.take(marked("a", None, "other"));
        assert_eq!(poll.progress.usable_validators(), Some(&etag("2")));

        let unchanged = Page {
            unchanged: true,
            ..Page::default()
        };
        assert_eq!(poll.take(unchanged), (String::new(), OVER));
        assert_eq!(poll.progress.usable_validators(), Some(&etag("2")));

        // The first page of a list without order says nothing about the others.
        let mut any = Poll::new(Rules::default());
        any.take(marked("a", Some(2), "1"));
        any.take(page("b", None));
        assert_eq!(any.progress.usable_validators(), None);
    }

    /// Ids from..to as pages of a hundred.
    fn pages(ids: std::ops::Range<usize>) -> Vec<Page> {
        let last = ids.end;
        let of = |start: usize| {
            let end = (start + 100).min(last);
            let names: Vec<String> = (start..end).map(|n| n.to_string()).collect();
            page(&names.join(" "), (end < last).then_some(1))
        };
        ids.step_by(100).map(of).collect()
    }

    #[test]
    fn a_long_list_in_pages_stays_known_walk_after_walk() {
        let mut poll = Poll::new(Rules::default());
        for walk in 0..3 {
            let mut last = None;
            for page in pages(0..3_000) {
                let (events, walked) = poll.take(page);
                assert_eq!(events, "", "walk {walk}");
                last = Some(walked);
            }
            assert_eq!((last, poll.seen.len()), (Some(OVER), 3_000));
        }
    }

    #[test]
    fn neither_an_unchanged_nor_an_empty_reply_forgets_anything() {
        for grouped in [false, true] {
            let mut poll = Poll::new(Rules {
                grouped,
                ..Rules::default()
            });
            let names: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
            let all = names.join(" ");
            poll.take(page(&all, None));

            for unchanged in [true, false] {
                let nothing = Page {
                    unchanged,
                    ..Page::default()
                };
                assert_eq!(poll.take(nothing), (String::new(), OVER));
                assert_eq!(
                    poll.take(page(&format!("{all} new{unchanged}"), None)).0,
                    format!("new{unchanged}")
                );
            }
        }
    }

    #[test]
    fn a_list_is_too_long_where_all_of_it_must_be_remembered_and_it_is_over_what_is_kept() {
        let mut poll = Poll::new(Rules::default());
        poll.take(page("a b c", Some(1)));
        let too_long = |poll: &Poll, rules: Rules, more| poll.progress.is_too_long(&rules, more);

        assert!(!too_long(&poll, Rules::default(), CEILING - 3));
        assert!(too_long(&poll, Rules::default(), CEILING - 2));
        assert!(!too_long(&poll, NEWEST, CEILING));
        let grouped = Rules {
            grouped: true,
            ..Rules::default()
        };
        assert!(!too_long(&poll, grouped, CEILING));
        assert!(too_long(&poll, grouped, CEILING + 1));
        // A page that did not fit counts when it is listed again.
        let mut slow = Poll::new(Rules::default());
        slow.take(page("z", None));
        slow.take_into(page("a b c", Some(1)), Room { count: 1, bytes: 99 });
        assert!(!too_long(&slow, Rules::default(), CEILING));
    }

    #[test]
    fn a_refused_cursor_makes_no_history_new() {
        let mut poll = Poll::new(Rules::default());
        let with_cursor = |items: &str, cursor: &str| Page {
            cursor: Some(json!(cursor)),
            ..page(items, None)
        };
        poll.take(with_cursor("a@500 b@400", "t1"));
        poll.take(with_cursor("c@30", "t2"));
        assert_eq!(poll.progress.cursor, json!("t2"));

        poll.progress.reset(&poll.rules, Some(NOW));

        assert_eq!(poll.progress.cursor, Value::Null);
        let all = with_cursor("a@500 forgotten@450 b@400 c@30 d@31 e@2", "t3");
        assert_eq!(poll.take(all), ("e d".into(), OVER));
    }

    #[test]
    fn each_group_has_a_baseline_and_a_cursor_of_its_own() {
        let mut poll = Poll::new(Rules {
            grouped: true,
            ..Rules::default()
        });
        let feed = |group: &str, items: &str, next, cursor: u32| Page {
            group: group.to_owned(),
            cursor: Some(json!(cursor)),
            ..page(items, next)
        };

        // The second feed is out of reach at first, and so has no baseline.
        assert_eq!(poll.take(feed("one", "a", Some(1), 1)).1, Walked::More);
        assert_eq!(poll.progress.cursor, json!(1));
        let out_of_reach = Page {
            blank: true,
            ..feed("two", "", None, 1)
        };
        assert_eq!(poll.take(out_of_reach), (String::new(), OVER));
        assert_eq!(poll.take(feed("one", "b a", Some(1), 2)), ("b".into(), Walked::More));
        assert_eq!(poll.take(feed("two", "y x a", None, 3)), (String::new(), OVER));
        assert_eq!(poll.take(feed("two", "z y x a", None, 4)), ("z".into(), OVER));
    }
}
