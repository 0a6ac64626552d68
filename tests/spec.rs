//! What every integration's folder must meet, whatever its service. Its fixtures are run as the hub would, and so are
//! many spoilt copies of each: nothing may be accepted that was changed, and nothing may panic.

#![expect(clippy::expect_used, clippy::panic, reason = "tests may fail loudly")]

#[path = "support/fixture.rs"]
mod fixture;

use fixture::{Attempt, Expect, ExpectedEvent, ExpectedReply, Fixture, Folder, Verdict};
use patchbay::event::EventDraft;
use patchbay::http::{Response, form_pairs};
use patchbay::manifest::webhook::handshake::Condition;
use patchbay::manifest::webhook::{JwtKeys, Locator, Part, Pointer, Scheme, Text, Verification, Webhook, Window};
use patchbay::time::{DAY, SECOND, Timestamp};
use patchbay::webhook::Rejection;
use patchbay::webhook::named;
use serde_json::Value;
use std::collections::BTreeSet;

/// The headings of a folder's README, after its title.
const HEADINGS: [&str; 3] = ["## Set up", "## What to expect", "## Limits"];
/// Settings that the engine knows without a manifest's word.
const KNOWN_SETTINGS: [&str; 2] = ["variant", "webhook_tolerance_s"];

#[test]
fn every_fixture_is_as_its_folder_says_and_no_spoilt_copy_is_accepted() {
    let mut problems = Vec::new();
    for folder in fixture::folders(&mut problems) {
        for (file, fixture) in &folder.fixtures {
            let mut found = Vec::new();
            examine(&folder, fixture, &mut found);
            problems.extend(found.iter().map(|p| format!("{}/{file}: {p}", folder.name)));
        }
    }
    report(&problems);
}

#[test]
fn every_folder_is_complete() {
    let mut problems = Vec::new();
    for folder in fixture::folders(&mut problems) {
        let mut found = Vec::new();
        readme(&folder, &mut found);
        complete(&folder, &mut found);
        problems.extend(found.iter().map(|p| format!("{}: {p}", folder.name)));
    }
    report(&problems);
}

fn report(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

// The folder as a whole.

fn readme(folder: &Folder, problems: &mut Vec<String>) {
    let Ok(text) = std::fs::read_to_string(folder.path.join("README.md")) else {
        problems.push("it has no README.md".to_owned());
        return;
    };
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    let titled = headings.first().is_some_and(|title| title.starts_with("# "));
    let top: Vec<&str> = headings.into_iter().skip(1).filter(|h| h.starts_with("## ")).collect();
    // A service that is also acted on has more to say, under headings of its own.
    let needed = if folder.acts { &HEADINGS[2..] } else { &HEADINGS[..] };
    let all = needed.iter().all(|wanted| top.contains(wanted));
    if !titled || !all {
        problems.push(format!("its README needs a title and {needed:?}, it has {top:?}"));
    }
    for name in settings(&folder.raw) {
        if !text.contains(&name) {
            problems.push(format!("its README does not name the setting `{name}`"));
        }
    }
}

fn complete(folder: &Folder, problems: &mut Vec<String>) {
    let expects = || folder.fixtures.iter().map(|(_, fixture)| &fixture.expect);
    let events = |expect: &Expect| expect.events.as_ref().map_or(0, Vec::len);
    if !expects().any(|expect| events(expect) > 0) {
        problems.push("it has no fixture of an event".to_owned());
    }
    let handshakes = expects().filter(|e| e.reply.is_some() && e.events.is_none()).count();
    if handshakes < folder.spec.handshakes.len() {
        problems.push("it has fewer fixtures than handshakes".to_owned());
    }
    if folder.spec.event.items.is_some() && !expects().any(|expect| events(expect) > 1) {
        problems.push("it has no fixture of a batch".to_owned());
    }
    let declared: BTreeSet<String> = settings(&folder.raw).into_iter().collect();
    for name in options_in(&folder.raw) {
        if !declared.contains(&name) {
            problems.push(format!(
                "its manifest uses the setting `{name}` and does not declare it"
            ));
        }
    }
    for name in declared.iter().filter(|name| is_required(&folder.raw, name)) {
        if !folder.fixtures.iter().any(|(_, f)| fails_without(folder, f, name)) {
            problems.push(format!("no fixture fails without the required setting `{name}`"));
        }
    }
}

/// The settings that a manifest declares.
fn settings(raw: &Value) -> Vec<String> {
    let declared = raw.get("settings").and_then(Value::as_object);
    declared.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn is_required(raw: &Value, name: &str) -> bool {
    let setting = raw.get("settings").and_then(|all| all.get(name));
    setting.and_then(|s| s.get("required")).and_then(Value::as_bool) == Some(true)
}

/// Every `option:name` in a manifest.
fn options_in(raw: &Value) -> BTreeSet<String> {
    let text = raw.to_string();
    let named = |rest: &str| {
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
            .map(str::to_owned)
    };
    text.split("option:").skip(1).filter_map(named).collect()
}

/// A setting that must be made is missed as our own fault, so that the sender tries again.
fn fails_without(folder: &Folder, fixture: &Fixture, setting: &str) -> bool {
    let Ok(mut attempt) = fixture.attempt() else {
        return false;
    };
    let was_there = attempt.options.remove(setting).is_some();
    let verdict = attempt.run(&folder.spec);
    was_there && matches!(verdict, Ok(Verdict::Refused(rejection)) if rejection.is_our_fault())
}

// One fixture.

fn examine(folder: &Folder, fixture: &Fixture, problems: &mut Vec<String>) {
    let attempt = match fixture.attempt() {
        Ok(attempt) => attempt,
        Err(problem) => return problems.push(problem),
    };
    if fixture.description.trim().is_empty() {
        problems.push("it has no description".to_owned());
    }
    let declared = settings(&folder.raw);
    for name in fixture.options.keys() {
        if !KNOWN_SETTINGS.contains(&name.as_str()) && !declared.contains(name) {
            problems.push(format!("its option `{name}` is not one of the manifest's settings"));
        }
    }
    let verdict = match attempt.run(&folder.spec) {
        Ok(verdict) => verdict,
        Err(problem) => return problems.push(problem),
    };
    expected(&folder.name, &fixture.expect, &verdict, problems);
    let mut spoilt = Spoilt {
        folder,
        fixture,
        attempt: &attempt,
        problems,
    };
    match verdict {
        Verdict::Events(drafts, _) => {
            spoilt.repeated(&drafts);
            spoilt.verified();
        }
        Verdict::Handshake(..) => spoilt.verified(),
        Verdict::Answered(_) => spoilt.unsigned(),
        Verdict::Refused(_) | Verdict::Unfit(_) => {}
    }
}

fn expected(service: &str, expect: &Expect, verdict: &Verdict, problems: &mut Vec<String>) {
    match (verdict, &expect.events, &expect.refused) {
        (Verdict::Refused(rejection), None, Some(cause)) if rejection.cause() == cause => {}
        (Verdict::Events(drafts, reply), Some(wanted), None) => {
            events(service, wanted, drafts, problems);
            match (&expect.reply, reply) {
                (Some(wanted), Some(sent)) => same_reply(wanted, sent, problems),
                (Some(_), None) => problems.push("it has no reply of its own".to_owned()),
                (None, _) => {}
            }
        }
        (Verdict::Answered(sent) | Verdict::Handshake(sent, _), None, None) => {
            let confirm = if let Verdict::Handshake(_, url) = verdict {
                url.as_deref()
            } else {
                None
            };
            if confirm != expect.confirm.as_deref() {
                problems.push(format!("it would fetch {confirm:?}, should fetch {:?}", expect.confirm));
            }
            match &expect.reply {
                Some(wanted) => same_reply(wanted, sent, problems),
                None => problems.push(format!("it is answered with {}", sent.status)),
            }
        }
        (Verdict::Refused(rejection), ..) => {
            problems.push(format!("it is refused ({}): {rejection}", rejection.cause()));
        }
        (other, ..) => problems.push(format!("it becomes {}", short(other))),
    }
}

fn events(service: &str, wanted: &[ExpectedEvent], drafts: &[EventDraft], problems: &mut Vec<String>) {
    if wanted.len() != drafts.len() {
        problems.push(format!("{} events, should be {}", drafts.len(), wanted.len()));
    }
    for (index, (wanted, draft)) in wanted.iter().zip(drafts).enumerate() {
        let mut compare = |what: &str, wanted: Option<&str>, is: Option<&str>| {
            if wanted != is {
                problems.push(format!("event {index}: {what} is {is:?}, should be {wanted:?}"));
            }
        };
        compare("type", Some(&wanted.r#type), Some(&format!("{service}.{}", draft.kind)));
        match &wanted.delivery_id {
            Some(id) => compare("delivery id", Some(id), Some(&draft.delivery_id)),
            None if draft.delivery_id.starts_with("sha256:") => {}
            None => compare("delivery id", None, Some(&draft.delivery_id)),
        }
        if let Some(subject) = &wanted.subject {
            compare("subject", subject.as_deref(), draft.subject.as_deref());
        }
        if let Some(account) = &wanted.account {
            compare("account", account.as_deref(), draft.account.as_deref());
        }
        if let Some(time) = &wanted.occurred_at {
            let canonical = |t: &str| Timestamp::parse_rfc3339(t).map_or_else(|| t.to_owned(), Timestamp::rfc3339);
            let (time, is) = (
                time.as_deref().map(canonical),
                draft.occurred_at.map(Timestamp::rfc3339),
            );
            compare("time", time.as_deref(), is.as_deref());
        }
    }
    let ids: BTreeSet<&str> = drafts.iter().map(|d| d.delivery_id.as_str()).collect();
    if ids.len() < drafts.len() {
        problems.push("two events of one delivery have the same id: one would be lost".to_owned());
    }
}

fn same_reply(wanted: &ExpectedReply, sent: &Response, problems: &mut Vec<String>) {
    if wanted.status != sent.status {
        problems.push(format!("replied {}, should be {}", sent.status, wanted.status));
    }
    let kind = sent.headers.get("content-type").unwrap_or_default();
    if let Some(wanted) = &wanted.content_type
        && !kind.starts_with(wanted.as_str())
    {
        problems.push(format!("replied with content-type `{kind}`, should be `{wanted}`"));
    }
    let text = String::from_utf8_lossy(&sent.body);
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let Some(wanted) = &wanted.body
        && *wanted != text
        && (json(wanted).is_none() || json(wanted) != json(&text))
    {
        problems.push(format!("replied `{text}`, should be `{wanted}`"));
    }
    for (name, value) in &wanted.headers {
        if sent.headers.get(name) != Some(value) {
            problems.push(format!(
                "replied with {name} {:?}, should be `{value}`",
                sent.headers.get(name)
            ));
        }
    }
}

fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Answered(reply) => format!("an unsigned handshake ({})", reply.status),
        Verdict::Handshake(reply, _) => format!("a handshake ({})", reply.status),
        Verdict::Events(drafts, _) => format!("{} events", drafts.len()),
        Verdict::Refused(rejection) => format!("a refusal ({})", rejection.cause()),
        Verdict::Unfit(what) => format!("a refusal for its {what}"),
    }
}

// Spoilt copies of it.

/// What a spoilt copy must come to.
#[derive(Clone, Copy)]
enum Must {
    /// Refused, and not as a fault of ours: the sender is told that it is wrong.
    BeRefused,
    /// Refused, whoever is at fault.
    Fail,
    /// Anything but a panic.
    End,
    /// What the fixture itself comes to.
    Pass,
}

/// Makes spoilt copies of one fixture, and runs them.
struct Spoilt<'a> {
    folder: &'a Folder,
    fixture: &'a Fixture,
    attempt: &'a Attempt,
    problems: &'a mut Vec<String>,
}

impl Spoilt<'_> {
    /// Runs a copy that `spoil` has changed. Says whether it was refused.
    fn try_out(&mut self, what: &str, must: Must, spoil: impl FnOnce(&mut Attempt)) -> bool {
        let mut copy = self.attempt.clone();
        spoil(&mut copy);
        let verdict = match copy.run(&self.folder.spec) {
            Ok(verdict) => verdict,
            Err(problem) => {
                self.problems.push(format!("{what}: {problem}"));
                return false;
            }
        };
        let good = match (must, &verdict) {
            (Must::BeRefused, Verdict::Refused(rejection)) => !rejection.is_our_fault(),
            (Must::BeRefused | Must::Fail, Verdict::Unfit(_)) => true,
            (Must::Fail, Verdict::Refused(_)) | (Must::End, _) => true,
            (Must::Pass, Verdict::Events(..) | Verdict::Handshake(..)) => true,
            _ => false,
        };
        if !good {
            self.problems.push(format!("{what}: it becomes {}", short(&verdict)));
        }
        matches!(verdict, Verdict::Refused(_) | Verdict::Unfit(_))
    }

    /// The same delivery a second later has the same ids.
    fn repeated(&mut self, first: &[EventDraft]) {
        let mut again = self.attempt.clone();
        again.now.0 += SECOND;
        let same = match again.run(&self.folder.spec) {
            Ok(Verdict::Events(drafts, _)) => {
                let ids = |drafts: &[EventDraft]| drafts.iter().map(|d| d.delivery_id.clone()).collect::<Vec<_>>();
                ids(&drafts) == ids(first)
            }
            _ => false,
        };
        if !same {
            self.problems
                .push("the same delivery a second later is another one".to_owned());
        }
    }

    /// All copies of a delivery that was verified.
    fn verified(&mut self) {
        let Some(scheme) = scheme(&self.folder.spec, self.attempt) else {
            return self.problems.push("no variant fits it".to_owned());
        };
        self.bodies();
        self.places(scheme);
        self.keys(scheme);
        self.times(scheme);
    }

    /// An unsigned handshake with another body touches nothing, but must not panic either.
    fn unsigned(&mut self) {
        for body in bad_bodies() {
            self.try_out("another body", Must::End, |copy| copy.body = body);
        }
        self.try_out("a long query", Must::End, |copy| copy.query = "a".repeat(1 << 20));
    }

    fn bodies(&mut self) {
        let covered = self.fixture.covers_body;
        let must = if covered { Must::BeRefused } else { Must::End };
        let mut refused = true;
        let length = self.attempt.body.len();
        for step in 0..24.min(length) {
            let at = step * length / 24.min(length);
            let what = format!("byte {at} of the body changed");
            refused &= self.try_out(&what, must, |copy| {
                if let Some(byte) = copy.body.get_mut(at) {
                    *byte ^= 1;
                }
            });
        }
        refused &= self.try_out("a byte added to the body", must, |copy| copy.body.push(b' '));
        for body in bad_bodies().into_iter().filter(|body| *body != self.attempt.body) {
            refused &= self.try_out("another body", must, |copy| copy.body = body);
        }
        if !covered && refused {
            self.problems
                .push("it says that its body is not covered, and every change is refused".to_owned());
        }
        for change in &self.fixture.refused_if {
            let text = String::from_utf8_lossy(&self.attempt.body).into_owned();
            if !text.contains(&change.replace) {
                self.problems
                    .push(format!("its body does not hold `{}`", change.replace));
            }
            let what = format!("`{}` in place of `{}`", change.with, change.replace);
            let body = text.replace(&change.replace, &change.with).into_bytes();
            self.try_out(&what, Must::BeRefused, |copy| copy.body = body);
        }
    }

    /// What the signature stands in and what it is made of: missing, of no use, too long, twice.
    fn places(&mut self, scheme: &Scheme) {
        for group in credentials(scheme) {
            let there: Vec<Locator> = group
                .into_iter()
                .filter(|place| find(self.attempt, place).is_some())
                .collect();
            if there.is_empty() {
                continue;
            }
            let names: Vec<String> = there.iter().map(ToString::to_string).collect();
            let names = names.join(" and ");
            let spoil = |make: Make| {
                let there = &there;
                move |copy: &mut Attempt| there.iter().for_each(|place| replace(copy, place, make))
            };
            self.try_out(&format!("no {names}"), Must::BeRefused, spoil(|_| None));
            for (text, make) in BAD_TEXTS {
                self.try_out(&format!("{text} as {names}"), Must::BeRefused, spoil(make));
            }
        }
        // Of a signature's places all count, of others the first that is there.
        let lists = !matches!(scheme, Scheme::Jwt(_));
        let used = credentials(scheme).into_iter().enumerate().flat_map(|(index, group)| {
            let there = group.into_iter().filter(|place| find(self.attempt, place).is_some());
            let many = if lists && index == 0 { usize::MAX } else { 1 };
            there.take(many).collect::<Vec<_>>()
        });
        let event = &self.folder.spec.event;
        let ids = event.delivery_id.as_slice().iter().flat_map(Text::locators).cloned();
        let places: Vec<Locator> = used.chain(ids).collect();
        for place in places.into_iter().filter(|place| find(self.attempt, place).is_some()) {
            self.doubled(scheme, &place);
        }
    }

    fn doubled(&mut self, scheme: &Scheme, place: &Locator) {
        match place {
            Locator::Header(name) => {
                let Some(value) = header(self.attempt, name).map(str::to_owned) else {
                    return;
                };
                self.try_out(&format!("{place} twice"), Must::BeRefused, |copy| {
                    copy.headers.push((name.clone(), value.clone()));
                });
                // Where the field is a list anyway, two of them are a list.
                if !lists_by_comma(scheme, place) {
                    self.try_out(&format!("{place} twice, joined"), Must::BeRefused, |copy| {
                        replace(copy, place, |value| Some(format!("{value}, {value}")));
                    });
                }
            }
            Locator::Query(_) => {
                self.try_out(&format!("{place} twice"), Must::BeRefused, |copy| {
                    copy.query = format!("{0}&{0}", copy.query);
                });
            }
            _ => {}
        }
    }

    fn keys(&mut self, scheme: &Scheme) {
        for url in self.attempt.keys.keys().cloned().collect::<Vec<_>>() {
            self.try_out("no key document", Must::BeRefused, |copy| copy.keys.clear());
            self.try_out("an empty key document", Must::BeRefused, |copy| {
                copy.keys.insert(url.clone(), String::new());
            });
        }
        if !needs_secret(scheme) {
            self.try_out("no secret", Must::Pass, |copy| copy.secrets.clear());
            return;
        }
        for none in [vec![], vec![String::new()]] {
            let mut copy = self.attempt.clone();
            copy.secrets = none;
            match copy.run(&self.folder.spec) {
                Ok(Verdict::Refused(Rejection::NoSecret)) => {}
                other => self.problems.push(format!("without a secret it becomes {other:?}")),
            }
        }
        let wrong: Vec<String> = self.attempt.secrets.iter().map(|secret| another(secret)).collect();
        self.try_out("a wrong secret", Must::Fail, |copy| copy.secrets.clone_from(&wrong));
        self.try_out("a rotated secret", Must::Pass, |copy| {
            if is_pairwise(scheme) {
                copy.secrets.splice(..1, wrong.first().cloned());
            } else {
                copy.secrets.splice(..0, wrong.first().cloned());
            }
        });
        self.try_out("an empty previous secret", Must::Pass, |copy| {
            copy.secrets.push(String::new())
        });
    }

    fn times(&mut self, scheme: &Scheme) {
        let (past, future) = match scheme {
            Scheme::Hmac(mac) | Scheme::Digest(mac) => window(mac.timestamp.as_ref()),
            Scheme::Ed25519(spec) | Scheme::EcdsaP256(spec) | Scheme::Rsa(spec) => window(spec.timestamp.as_ref()),
            Scheme::Jwt(spec) => {
                let ends = spec.max_age_s.is_some() || spec.required.iter().any(|name| name == "exp");
                (
                    ends,
                    spec.max_age_s.is_some() || spec.required.iter().any(|name| name == "nbf"),
                )
            }
            Scheme::Named(spec) => (spec.name == "contentful", spec.name == "contentful"),
            Scheme::Equals(_) | Scheme::Basic => (false, false),
        };
        if past {
            self.try_out("received a year later", Must::BeRefused, |copy| copy.now.0 += 365 * DAY);
        }
        if future {
            self.try_out("received a year earlier", Must::BeRefused, |copy| {
                copy.now.0 -= 365 * DAY
            });
        }
    }
}

/// Bodies that no service sends.
fn bad_bodies() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0xff, 0xfe, 0x00, 0x80],
        b"{".to_vec(),
        b"null".to_vec(),
        "[".repeat(10_000).into_bytes(),
    ]
}

/// Makes another text of one, or nothing.
type Make = fn(&str) -> Option<String>;

/// Texts that no service sends where a credential should stand.
const BAD_TEXTS: [(&str, Make); 9] = [
    ("nothing", |_| Some(String::new())),
    ("a blank", |_| Some(" ".to_owned())),
    ("no hex and no base64", |_| Some("sha256=zz!".to_owned())),
    ("no ASCII", |_| Some("\u{e9}\u{1f980}".to_owned())),
    ("empty parts", |_| Some("t=,v1=,v0=..".to_owned())),
    ("a negative number", |_| Some("-1".to_owned())),
    ("a number out of range", |_| Some("99999999999999999999".to_owned())),
    ("a megabyte", |_| Some("a".repeat(1 << 20))),
    ("half of it", |value| {
        let half: String = value.chars().take(value.chars().count() / 2).collect();
        Some(half)
    }),
];

// What a scheme looks at.

/// The scheme that the engine chooses, by its rules.
fn scheme<'s>(spec: &'s Webhook, attempt: &Attempt) -> Option<&'s Scheme> {
    let variants = match &spec.verification {
        Verification::One(scheme) => return Some(scheme),
        Verification::Variants(variants) => variants,
    };
    if let Some(name) = attempt.options.get("variant").and_then(Value::as_str) {
        return variants.iter().find(|v| v.name == name).map(|v| &v.scheme);
    }
    let mut open = variants.iter().filter(|v| !v.only_by_setting);
    let last = open.clone().next_back();
    open.find(|v| holds(&v.when, attempt)).or(last).map(|v| &v.scheme)
}

fn holds(when: &Condition, attempt: &Attempt) -> bool {
    let current = attempt.secrets.iter().find(|secret| !secret.is_empty());
    let begins = |prefix: &String| current.is_some_and(|secret| secret.starts_with(prefix));
    when.present.iter().all(|place| find(attempt, place).is_some())
        && when.absent.iter().all(|place| find(attempt, place).is_none())
        && when
            .equals
            .iter()
            .all(|(place, wanted)| find(attempt, place).as_ref() == Some(wanted))
        && when.key_prefix.as_ref().is_none_or(begins)
}

/// The places that a scheme needs; of each group one is enough.
fn credentials(scheme: &Scheme) -> Vec<Vec<Locator>> {
    let time = |window: &Option<Window>| window.iter().map(|w| w.from.as_slice().to_vec()).collect::<Vec<_>>();
    let slots = |text: &Text| {
        let slot = |part: &Part| match part {
            Part::Slot(places) => Some(places.clone()),
            Part::Literal(_) => None,
        };
        text.parts.iter().filter_map(slot).collect::<Vec<_>>()
    };
    match scheme {
        Scheme::Hmac(mac) | Scheme::Digest(mac) => {
            let mut all = vec![mac.signature.from.as_slice().to_vec()];
            all.extend(time(&mac.timestamp));
            all.extend(slots(&mac.signed));
            all.extend(mac.require.keys().map(|place| vec![place.clone()]));
            all
        }
        Scheme::Ed25519(spec) | Scheme::EcdsaP256(spec) | Scheme::Rsa(spec) => {
            let mut all = vec![spec.signature.from.as_slice().to_vec()];
            all.extend(time(&spec.timestamp));
            all.extend(slots(&spec.signed));
            all
        }
        Scheme::Jwt(spec) => vec![spec.from.as_slice().to_vec()],
        Scheme::Equals(spec) => vec![vec![spec.from.clone()]],
        Scheme::Basic => vec![vec![Locator::Header("authorization".to_owned())]],
        Scheme::Named(spec) => {
            let of_body: &[&str] = match spec.name.as_str() {
                "adyen-items" => &["body:/notificationItems/*/NotificationRequestItem/additionalData/hmacSignature"],
                "sns" => &["body:/Signature", "body:/SigningCertURL", "body:/SignatureVersion"],
                _ => &[],
            };
            let of_body = of_body
                .iter()
                .map(|text| Locator::try_from((*text).to_owned()).expect("a locator"));
            let of_head = named::headers(spec)
                .iter()
                .map(|name| Locator::Header((*name).to_owned()));
            of_head.chain(of_body).map(|place| vec![place]).collect()
        }
    }
}

fn needs_secret(scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Jwt(spec) => matches!(spec.keys, JwtKeys::Secret),
        Scheme::Named(spec) => named::needs_secret(spec),
        _ => true,
    }
}

fn is_pairwise(scheme: &Scheme) -> bool {
    matches!(scheme, Scheme::Hmac(mac) if mac.signature.pairwise)
}

fn lists_by_comma(scheme: &Scheme, place: &Locator) -> bool {
    let signature = match scheme {
        Scheme::Hmac(mac) | Scheme::Digest(mac) => &mac.signature,
        Scheme::Ed25519(spec) | Scheme::EcdsaP256(spec) | Scheme::Rsa(spec) => &spec.signature,
        _ => return false,
    };
    signature.separator == Some(',') && signature.from.as_slice().contains(place)
}

fn window(window: Option<&Window>) -> (bool, bool) {
    window.map_or((false, false), |w| (w.past_s.is_some(), w.future_s.is_some()))
}

// Looking into an attempt, and changing it.

fn header<'a>(attempt: &'a Attempt, name: &str) -> Option<&'a str> {
    let mut all = attempt.headers.iter();
    all.find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// The text at a place that a caller can change.
fn find(attempt: &Attempt, place: &Locator) -> Option<String> {
    match place {
        Locator::Header(name) => header(attempt, name).map(str::to_owned),
        Locator::Query(name) => {
            let mut all = form_pairs(&attempt.query).into_iter();
            all.find(|(n, _)| n == name).map(|(_, value)| value)
        }
        Locator::Setting(name) => attempt.options.get(name).and_then(Value::as_str).map(str::to_owned),
        Locator::Body(at) => {
            let mut document: Value = serde_json::from_slice(&attempt.body).ok()?;
            let mut text = None;
            walk(&mut document, &at.0, &mut |value| {
                text = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                Some(value.clone())
            });
            text
        }
        _ => None,
    }
}

/// Puts another text at a place, or nothing.
fn replace(attempt: &mut Attempt, place: &Locator, make: Make) {
    match place {
        Locator::Header(name) => {
            let value = header(attempt, name).and_then(make);
            attempt.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            attempt.headers.extend(value.map(|value| (name.clone(), value)));
        }
        Locator::Query(name) => {
            let pairs = form_pairs(&attempt.query).into_iter().filter_map(|(n, value)| {
                let value = if n == *name { make(&value)? } else { value };
                Some(format!("{n}={}", patchbay::http::percent_encode(&value)))
            });
            attempt.query = pairs.collect::<Vec<_>>().join("&");
        }
        Locator::Body(Pointer(segments)) => {
            let mut document: Value = serde_json::from_slice(&attempt.body).expect("it was found in there");
            walk(&mut document, segments, &mut |value| {
                make(value.as_str().unwrap_or_default()).map(Value::String)
            });
            attempt.body = document.to_string().into_bytes();
        }
        other => panic!("{other} cannot be changed"),
    }
}

/// Changes every value at a pointer, or takes it away.
fn walk(value: &mut Value, segments: &[String], change: &mut dyn FnMut(&Value) -> Option<Value>) {
    let Some((first, rest)) = segments.split_first() else {
        return;
    };
    match value {
        Value::Array(items) if first == "*" => items.iter_mut().for_each(|item| walk(item, rest, change)),
        Value::Array(items) => {
            let item = first.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            item.into_iter().for_each(|item| walk(item, rest, change));
        }
        Value::Object(members) if rest.is_empty() => {
            if let Some(old) = members.remove(first) {
                members.extend(change(&old).map(|new| (first.clone(), new)));
            }
        }
        Value::Object(members) => members
            .get_mut(first)
            .into_iter()
            .for_each(|member| walk(member, rest, change)),
        _ => {}
    }
}

/// A secret that differs in one character and is still of the same form: hexadecimal, base64, or text.
fn another(secret: &str) -> String {
    let middle = secret.chars().count() / 2;
    let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
    let alphabet = if hex {
        "0123456789abcdef0"
    } else {
        "0123456789abcdefghijklmnopqrstuvwxyz0"
    };
    let change = |c: char| {
        let lower = c.to_ascii_lowercase();
        alphabet.split_once(lower).and_then(|(_, after)| after.chars().next())
    };
    let from = secret
        .char_indices()
        .skip(middle)
        .chain(secret.char_indices().take(middle));
    let mut changed = from.filter_map(|(at, c)| change(c).map(|new| (at, c, new)));
    let Some((at, old, new)) = changed.next() else {
        return format!("{secret}x");
    };
    let (before, after) = secret.split_at(at);
    format!("{before}{new}{}", after.get(old.len_utf8()..).unwrap_or_default())
}
