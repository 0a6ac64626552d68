//! Reads RSS 0.9x, 1.0 and 2.0, Atom 0.3 and 1.0, and JSON Feed, as they are found: elements that are never closed,
//! entities of HTML, stray ampersands. What is no feed at all is said to be none.

use super::date;
use super::url::join;
use crate::sdk::{Timestamp, Value};
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::collections::HashMap;

/// Most entries of one document; what follows is not looked at.
pub const MOST_ENTRIES: usize = 5_000;

/// Most characters of a description.
const MOST_TEXT: usize = 100_000;

/// Deepest nesting that is followed.
const DEEPEST: usize = 200;

/// A feed's document.
#[derive(Debug, Default, PartialEq)]
pub struct Feed {
    pub title: String,
    pub entries: Vec<Entry>,
    /// Where it stopped making sense, if it did.
    pub broken: Option<String>,
}

/// One entry, with what is missing left empty.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Entry {
    /// What makes it the same entry the next time, unique within the document.
    pub key: String,
    pub title: String,
    pub link: String,
    pub description: String,
    pub author: String,
    /// As RFC 3339 where it is a date, else as it is written.
    pub published: String,
    pub at: Option<Timestamp>,
}

/// Reads a document that came from `url`. The error is for a person.
pub fn parse(text: &str, url: &str) -> Result<Feed, String> {
    let start = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let mut feed = if start.starts_with('{') {
        json_feed(start, url)?
    } else {
        xml(start, url)?
    };
    tell_apart(&mut feed.entries);
    Ok(feed)
}

/// Some feeds give all their entries one id. Then it says nothing, and the link and the title have to.
fn tell_apart(entries: &mut [Entry]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for entry in entries.iter() {
        *counts.entry(entry.key.clone()).or_default() += 1;
    }
    for entry in entries {
        if counts.get(&entry.key).is_some_and(|count| *count > 1) {
            entry.key = format!("{}\n{}\n{}", entry.key, entry.link, entry.title);
        }
    }
}

/// JSON Feed 1.0 and 1.1 (<https://www.jsonfeed.org/version/1.1/>).
fn json_feed(text: &str, url: &str) -> Result<Feed, String> {
    let document: Value = serde_json::from_str(text).map_err(|_| "it is neither XML nor JSON".to_owned())?;
    let version = document.get("version").and_then(Value::as_str).unwrap_or_default();
    let items = document.get("items").and_then(Value::as_array);
    let (Some(items), true) = (items, version.contains("jsonfeed.org/version/")) else {
        return Err("it is JSON, and not a JSON Feed".to_owned());
    };
    let text_of = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let mut feed = Feed {
        title: text_of(&document, "title"),
        ..Feed::default()
    };
    for item in items.iter().take(MOST_ENTRIES) {
        let first = |names: &[&str]| {
            names
                .iter()
                .map(|n| text_of(item, n))
                .find(|t| !t.is_empty())
                .unwrap_or_default()
        };
        let author = item.pointer("/authors/0").or_else(|| item.get("author"));
        let mut raw = Raw {
            id: text_of(item, "id"),
            title: text_of(item, "title"),
            link: first(&["url", "external_url"]),
            summary: first(&["summary", "content_text", "content_html"]),
            author: author.map(|a| text_of(a, "name")).unwrap_or_default(),
            published: text_of(item, "date_published"),
            updated: text_of(item, "date_modified"),
            ..Raw::default()
        };
        raw.base = url.to_owned();
        feed.entries.push(raw.entry());
    }
    Ok(feed)
}

/// An entry while it is read.
#[derive(Debug, Default)]
struct Raw {
    id: String,
    about: String,
    title: String,
    link: String,
    summary: String,
    content: String,
    author: String,
    published: String,
    updated: String,
    base: String,
}

impl Raw {
    fn entry(self) -> Entry {
        let written = if self.published.is_empty() {
            self.updated
        } else {
            self.published
        };
        let at = date::parse(&written);
        let mut description = if self.summary.is_empty() {
            self.content
        } else {
            self.summary
        };
        if let Some((end, _)) = description.char_indices().nth(MOST_TEXT) {
            description.truncate(end);
        }
        // A guid that is an address stands for the link where there is none.
        let address = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        let link = [&self.link, &self.about, &self.id];
        let link = link
            .into_iter()
            .enumerate()
            .find(|(at, text)| !text.is_empty() && (*at == 0 || address(text)));
        let link = link.map(|(_, text)| join(&self.base, text)).unwrap_or_default();
        let key = [&self.id, &self.about, &link]
            .into_iter()
            .find(|text| !text.is_empty())
            .cloned();
        let key = key.unwrap_or_else(|| format!("{}\n{written}\n{description}", self.title));
        Entry {
            key,
            title: self.title,
            link,
            description,
            author: self.author,
            published: at.map_or(written, Timestamp::rfc3339),
            at,
        }
    }

    /// Puts a field's text where it belongs; the first one that says something counts.
    fn put(&mut self, name: &str, text: String) {
        let place = match name {
            "title" => &mut self.title,
            "link" => &mut self.link,
            "guid" | "id" => &mut self.id,
            "description" | "summary" | "abstract" => &mut self.summary,
            "content:encoded" | "content" | "xhtml:body" | "body" => &mut self.content,
            "author" | "dc:creator" => &mut self.author,
            "pubdate" | "published" | "issued" | "created" | "dc:date" => &mut self.published,
            "updated" | "modified" => &mut self.updated,
            _ => return,
        };
        if place.is_empty() {
            text.trim().clone_into(place);
        }
    }
}

/// An element that is open.
struct Open {
    name: String,
    /// What relative addresses in it are relative to.
    base: String,
}

/// A document while it is read.
struct Document {
    feed: Feed,
    open: Vec<Open>,
    /// The entry that is open, and at which depth.
    entry: Option<(Raw, usize)>,
    /// The field that is open: its name, its text, its depth, and whether markup in it is kept.
    field: Option<(String, String, usize)>,
    is_feed: bool,
    html: bool,
}

fn xml(text: &str, url: &str) -> Result<Feed, String> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut document = Document {
        feed: Feed::default(),
        open: vec![Open {
            name: String::new(),
            base: url.to_owned(),
        }],
        entry: None,
        field: None,
        is_feed: false,
        html: false,
    };
    loop {
        match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => document.take(event),
            Err(error) => {
                document.feed.broken = Some(format!(
                    "its XML breaks off at byte {}: {error}",
                    reader.error_position()
                ));
                break;
            }
        }
        if document.feed.entries.len() >= MOST_ENTRIES || document.html {
            break;
        }
    }
    match document.is_feed {
        true if document.feed.entries.is_empty() && document.feed.broken.is_some() => {
            Err(document.feed.broken.unwrap_or_default())
        }
        true => Ok(document.feed),
        false if document.html => Err(html(text, url)),
        false => Err("it is neither a feed of RSS or Atom nor a JSON Feed".to_owned()),
    }
}

/// What to say of a web page: where its feed is, if it says so.
fn html(text: &str, url: &str) -> String {
    let head: String = text.chars().take(100_000).collect();
    let linked = head.split("<link").skip(1).find_map(|tag| {
        let tag = tag.split('>').next()?;
        let is_feed = ["application/rss+xml", "application/atom+xml", "application/feed+json"]
            .iter()
            .any(|t| tag.contains(t));
        let address = tag.split_once("href=")?.1;
        let quote = address.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        is_feed.then(|| address.get(1..)?.split(quote).next().map(|a| join(url, a)))?
    });
    match linked {
        Some(feed) => format!("it is a web page; it names this feed: {feed}"),
        None => "it is a web page, not a feed".to_owned(),
    }
}

impl Document {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag, true),
            Event::Empty(tag) => {
                self.start(&tag, false);
            }
            Event::End(tag) => self.end(&name_of(tag.name().0)),
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text),
            Event::GeneralRef(reference) => self.text(&character(&reference)),
            Event::DocType(kind) => self.html |= kind.trim().to_ascii_lowercase().starts_with("html"),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => {}
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>, opens: bool) {
        let name = name_of(tag.name().0);
        let depth = self.open.len();
        if depth == 1 {
            self.is_feed |= matches!(name.as_str(), "rss" | "rdf:rdf" | "feed" | "channel" | "rdf");
            self.html |= name == "html";
        }
        let outer = self.open.last().map(|open| open.base.clone()).unwrap_or_default();
        let base = attribute(tag, "xml:base").map_or(outer.clone(), |base| join(&outer, &base));
        if let Some((_, text, _)) = &mut self.field {
            // Markup in a text: kept as it is. An author's name is an element of its own.
            let inner = if opens {
                format!("<{}>", &**tag)
            } else {
                format!("<{}/>", (**tag).trim_end_matches('/'))
            };
            text.push_str(&inner);
        } else if let Some((raw, at)) = &mut self.entry {
            if depth == *at + 1 {
                if name == "link" {
                    take_link(raw, tag, &base);
                }
                if opens {
                    self.field = Some((name.clone(), String::new(), depth));
                }
            }
        } else if matches!(name.as_str(), "item" | "entry") && opens {
            let raw = Raw {
                about: attribute(tag, "rdf:about").unwrap_or_default(),
                base: base.clone(),
                ..Raw::default()
            };
            self.entry = Some((raw, depth));
        } else if name == "title" && opens && self.feed.title.is_empty() && self.is_of_the_feed() {
            self.field = Some((name.clone(), String::new(), depth));
        }
        if opens && depth < DEEPEST {
            self.open.push(Open { name, base });
        }
    }

    fn end(&mut self, name: &str) {
        // What was never closed ends with what holds it; an end without a beginning is nothing.
        let Some(at) = self.open.iter().rposition(|open| open.name == name) else {
            return;
        };
        if at == 0 {
            return;
        }
        if let Some((field, text, depth)) = &mut self.field {
            if at > *depth {
                text.push_str(&format!("</{name}>"));
            } else {
                let (field, text) = (std::mem::take(field), std::mem::take(text));
                self.field = None;
                self.close_field(&field, text);
            }
        }
        if let Some((raw, _)) = self.entry.take_if(|(_, depth)| at <= *depth) {
            self.feed.entries.push(raw.entry());
        }
        self.open.truncate(at);
    }

    fn close_field(&mut self, name: &str, text: String) {
        match &mut self.entry {
            Some((raw, _)) => {
                let text = match name {
                    "author" => person(&text),
                    "description" | "summary" | "abstract" | "content" | "content:encoded" | "xhtml:body" | "body" => {
                        text
                    }
                    _ => plain(&text),
                };
                raw.put(name, text);
            }
            None => self.feed.title = plain(&text),
        }
    }

    fn text(&mut self, more: &str) {
        if let Some((_, text, _)) = &mut self.field {
            text.push_str(more);
        }
    }

    /// Whether what begins here is the feed's own: not its image's, its text input's or a nested thing's.
    fn is_of_the_feed(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| matches!(open.name.as_str(), "channel" | "feed"))
    }
}

/// Atom's links are attributes: the first `alternate` one, or one without a relation, is the entry's.
fn take_link(raw: &mut Raw, tag: &BytesStart<'_>, base: &str) {
    let relation = attribute(tag, "rel").unwrap_or_else(|| "alternate".to_owned());
    if let (Some(href), "alternate", true) = (attribute(tag, "href"), relation.as_str(), raw.link.is_empty()) {
        raw.link = join(base, href.trim());
    }
}

/// An element's name without case, and without the prefixes under which the feed's own elements go.
fn name_of(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.split_once(':') {
        Some(("atom" | "atom03" | "atom10" | "a10" | "rss" | "rss1" | "rdf10", local)) => local.to_owned(),
        _ => name,
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = tag.html_attributes();
    attributes.with_checks(false);
    let found = attributes.flatten().find(|a| a.key.0.eq_ignore_ascii_case(name))?;
    let value = quick_xml::escape::unescape_with(&found.value, entity);
    Some(value.map_or_else(|_| found.value.to_string(), |v| v.into_owned()))
}

/// What a reference stands for; one that is unknown stays as it is written.
fn character(reference: &BytesRef<'_>) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => character.to_string(),
        Ok(None) => entity(reference).map_or_else(|| format!("&{};", &**reference), str::to_owned),
        Err(_) => String::new(),
    }
}

/// XML's entities, and those of HTML that feeds use without declaring them.
fn entity(name: &str) -> Option<&'static str> {
    Some(match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        "nbsp" => "\u{a0}",
        "ndash" => "–",
        "mdash" => "—",
        "lsquo" => "‘",
        "rsquo" => "’",
        "ldquo" => "“",
        "rdquo" => "”",
        "bdquo" => "„",
        "laquo" => "«",
        "raquo" => "»",
        "hellip" => "…",
        "bull" => "•",
        "middot" => "·",
        "copy" => "©",
        "reg" => "®",
        "trade" => "™",
        "deg" => "°",
        "times" => "×",
        "euro" => "€",
        "pound" => "£",
        "auml" => "ä",
        "ouml" => "ö",
        "uuml" => "ü",
        "Auml" => "Ä",
        "Ouml" => "Ö",
        "Uuml" => "Ü",
        "szlig" => "ß",
        "agrave" => "à",
        "aacute" => "á",
        "acirc" => "â",
        "aring" => "å",
        "ccedil" => "ç",
        "egrave" => "è",
        "eacute" => "é",
        "ecirc" => "ê",
        "iacute" => "í",
        "ntilde" => "ñ",
        "oacute" => "ó",
        "oslash" => "ø",
        "uacute" => "ú",
        _ => return None,
    })
}

/// A text without tags, in one line.
fn plain(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        bare.push_str(before);
        // A `<` that begins no tag is one.
        let is_tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!'));
        rest = match after.split_once('>') {
            Some((_, tail)) if is_tag => tail,
            _ => {
                bare.push('<');
                after
            }
        };
    }
    bare.push_str(rest);
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An author: Atom's `name`, else the text. RSS has `address (name)`.
fn person(text: &str) -> String {
    let named = text
        .split_once("<name>")
        .and_then(|(_, rest)| rest.split_once("</name>"));
    let text = named.map_or_else(|| plain(text), |(name, _)| plain(name));
    match text.split_once('(') {
        Some((address, name)) if address.contains('@') => name.trim_end_matches(')').trim().to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://blog.example.com/en/feed.xml";

    /// Every entry as `key | title | link | description | author | published`.
    fn lines(text: &str) -> (String, Vec<String>) {
        let feed = parse(text, URL).unwrap_or_else(|e| panic!("{e}: {text}"));
        let line = |e: &Entry| {
            [&e.key, &e.title, &e.link, &e.description, &e.author, &e.published]
                .map(String::as_str)
                .join(" | ")
        };
        (feed.title, feed.entries.iter().map(line).collect())
    }

    #[test]
    fn each_kind_of_feed_is_read() {
        let cases = [
            // RSS 2.0, with what else goes by the name of title and link.
            (
                r#"<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"
                     xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/">
                   <channel><title>A &amp; B</title><image><title>logo</title></image>
                   <item><title><![CDATA[One <b>bold</b> word]]></title><link>../posts/1#top</link><guid isPermaLink="false">g1</guid>
                   <media:title>no</media:title><description>&lt;p&gt;Hi&lt;/p&gt;</description><dc:creator>Ann</dc:creator>
                   <pubDate>Sun, 22 Nov 2026 10:00:00 GMT</pubDate><content:encoded>long</content:encoded></item>
                   <item><link>https://blog.example.com/posts/2</link><author>ann@example.com (Ann B.)</author></item>
                   </channel></rss>"#,
                "A & B",
                vec![
                    "g1 | One bold word | https://blog.example.com/posts/1#top | <p>Hi</p> | Ann | 2026-11-22T10:00:00.000Z",
                    "https://blog.example.com/posts/2 |  | https://blog.example.com/posts/2 |  | Ann B. | ",
                ],
            ),
            // RSS 1.0.
            (
                r#"<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
                   <channel rdf:about="https://blog.example.com/"><title>Old</title></channel>
                   <item rdf:about="https://blog.example.com/a"><title>A</title><dc:date>2026-11-22</dc:date></item></rdf:RDF>"#,
                "Old",
                vec!["https://blog.example.com/a | A | https://blog.example.com/a |  |  | 2026-11-22T00:00:00.000Z"],
            ),
            // RSS 0.91, as short as can be.
            (
                "<rss version=\"0.91\"><channel><title>T</title><item><title>Only a title</title></item></channel></rss>",
                "T",
                vec!["Only a title\n\n | Only a title |  |  |  | "],
            ),
            // Atom 1.0, with a base, several links, and markup as it is.
            (
                r#"<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://atom.example.com/blog/"><title type="html">Atom &lt;i&gt;feed&lt;/i&gt;</title>
                   <author><name>Feed</name></author>
                   <entry><title>E</title><id>urn:uuid:1</id><link rel="self" href="self.xml"/><link href="e/1"/>
                   <author><name>Bo</name><uri>https://bo.example.com</uri></author><updated>2026-11-22T10:00:00Z</updated>
                   <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>x<br/>y &amp; z</p></div></content></entry></feed>"#,
                "Atom feed",
                vec![
                    "urn:uuid:1 | E | https://atom.example.com/blog/e/1 | <div xmlns=\"http://www.w3.org/1999/xhtml\"><p>x<br/>y & z</p></div> | Bo | 2026-11-22T10:00:00.000Z",
                ],
            ),
            // JSON Feed.
            (
                r#"{"version": "https://jsonfeed.org/version/1.1", "title": "J", "items": [
                     {"id": 7, "url": "/p/7", "title": "Seven", "content_html": "<p>7</p>", "authors": [{"name": "Cy"}], "date_published": "2026-11-22T10:00:00+02:00"},
                     {"id": "8", "external_url": "https://x.example.com", "summary": "s", "date_published": "someday"}]}"#,
                "J",
                vec![
                    "7 | Seven | https://blog.example.com/p/7 | <p>7</p> | Cy | 2026-11-22T08:00:00.000Z",
                    "8 |  | https://x.example.com | s |  | someday",
                ],
            ),
        ];
        for (text, title, expected) in cases {
            assert_eq!(
                lines(text),
                (title.to_owned(), expected.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn what_is_not_well_formed_is_read_as_it_is_meant() {
        let cases = [
            // A stray ampersand, an entity of HTML, an unknown one, a number.
            (
                "<rss><channel><item><guid>1</guid><title>A & B&nbsp;&mdash; &nope; &#8364;</title></item></channel></rss>",
                "A & B \u{2014} &nope; €",
            ),
            // Elements that are never closed, and ends that never began.
            (
                "<rss><channel><item><guid>1</guid><title>T</b></title><description>x<br></item></channel></rss>",
                "T",
            ),
            // Nothing after the entry.
            (
                "<rss><channel><item><guid>1</guid><title>T</title></item><item><guid>2",
                "T",
            ),
            // Upper case, and a prefix for the feed's own elements.
            (
                "<atom:feed xmlns:atom='x'><atom:entry><atom:id>1</atom:id><atom:title>T &lt; U</atom:title></atom:entry></atom:feed>",
                "T < U",
            ),
            (
                "\u{feff}\n <RSS><Channel><Item><GUID>1</GUID><Title>T</Title></Item></Channel></RSS>",
                "T",
            ),
        ];
        for (text, title) in cases {
            let feed = parse(text, URL).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(feed.entries.first().map(|e| e.title.as_str()), Some(title), "{text}");
        }
    }

    #[test]
    fn ids_that_are_not_their_own_are_told_apart() {
        let text = "<rss><channel><item><guid>site</guid><link>/1</link></item><item><guid>site</guid><link>/2</link></item>\
                    <item><guid>own</guid><link>/3</link></item></channel></rss>";

        let keys: Vec<String> = parse(text, URL).unwrap().entries.into_iter().map(|e| e.key).collect();

        assert_eq!(keys[0], "site\nhttps://blog.example.com/1\n");
        assert_ne!(keys[0], keys[1]);
        assert_eq!(keys[2], "own");
    }

    #[test]
    fn what_is_no_feed_is_said_to_be_none() {
        let cases = [
            ("", "neither"),
            ("hello", "neither"),
            ("{\"items\": []}", "not a JSON Feed"),
            ("{", "neither XML nor JSON"),
            ("<html><head></head></html>", "a web page, not a feed"),
            (
                "<!DOCTYPE html><link rel=alternate type=\"application/rss+xml\" href='/rss.xml'>",
                "https://blog.example.com/rss.xml",
            ),
            ("<opml><body/></opml>", "neither a feed"),
            ("<rss><channel><item", "breaks off"),
        ];
        for (text, expected) in cases {
            let error = parse(text, URL).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_long_feed_is_read_up_to_its_bound() {
        let items: String = (0..MOST_ENTRIES + 10)
            .map(|n| format!("<item><guid>{n}</guid></item>"))
            .collect();

        let feed = parse(&format!("<rss><channel>{items}</channel></rss>"), URL).unwrap();

        assert_eq!(feed.entries.len(), MOST_ENTRIES);
    }

    #[test]
    fn nothing_makes_it_panic() {
        let seed = "<rss><channel><title>é&#x1F600;</title><item><guid>1</guid><link>//x</link><![CDATA[ ]]></item></channel></rss>";
        for cut in 0..seed.len() {
            let bytes = [&seed.as_bytes()[..cut], b"\xff<", &seed.as_bytes()[cut..]].concat();
            let _ = parse(&String::from_utf8_lossy(&bytes), URL);
            let _ = parse(&String::from_utf8_lossy(&seed.as_bytes()[..cut]), "");
        }
        let deep = "<a>".repeat(100_000);
        let _ = parse(&format!("<rss><channel><item><title>{deep}"), URL);
    }
}
