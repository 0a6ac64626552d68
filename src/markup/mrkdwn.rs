//! Markdown to mrkdwn, the markup of Slack messages (<https://docs.slack.dev/messaging/formatting-message-text/>).

use super::{is_link, parser};
use pulldown_cmark::{Event, Tag, TagEnd};

/// The message as mrkdwn.
///
/// `&`, `<` and `>` are escaped, so that no text calls `@channel`; a mention of one person, `<@U…>`, stays one. A table
/// becomes preformatted text, a heading bold, an image a link.
pub fn mrkdwn(markdown: &str) -> String {
    let mut writer = Writer::default();
    for event in parser(markdown) {
        writer.event(event);
    }
    writer.text.trim_end().to_owned()
}

#[derive(Default)]
struct Writer {
    text: String,
    /// Before each line: `> ` in quotes.
    quotes: usize,
    /// One entry for each open list: the next number, if it has numbers.
    lists: Vec<Option<u64>>,
    /// Where each open link's text begins, and where it goes.
    links: Vec<(usize, String)>,
    in_code: bool,
    in_heading: bool,
    table: Option<Table>,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.say(&text),
            Event::Code(code) => {
                let ticks = if self.table.is_some() { "" } else { "`" };
                self.push(&format!("{ticks}{}{ticks}", escaped(&code)));
            }
            Event::Html(html) | Event::InlineHtml(html) if !html.starts_with("<!--") => self.say(&html),
            Event::SoftBreak | Event::HardBreak => self.line(),
            Event::Rule => {
                self.block();
                self.push("———");
            }
            Event::TaskListMarker(done) => self.push(if done { "☑ " } else { "☐ " }),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.say(&text),
            Event::Html(_) | Event::InlineHtml(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph if self.at_item() => {}
            Tag::Paragraph | Tag::HtmlBlock => self.block(),
            Tag::Heading { .. } => {
                self.block();
                self.push("*");
                self.in_heading = true;
            }
            Tag::BlockQuote(_) => {
                self.block();
                self.quotes += 1;
                self.push("> ");
            }
            Tag::CodeBlock(_) => {
                self.block();
                self.push("```");
                self.line();
                self.in_code = true;
            }
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.block();
                }
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Strong if !self.in_heading => self.push("*"),
            Tag::Emphasis => self.push("_"),
            Tag::Strikethrough => self.push("~"),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((self.text.len(), dest_url.into_string()));
            }
            Tag::Table(_) => {
                self.block();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(row) = self.table.as_mut().and_then(|t| t.rows.last_mut()) {
                    row.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.in_heading = false;
                self.push("*");
            }
            TagEnd::BlockQuote(_) => self.quotes = self.quotes.saturating_sub(1),
            TagEnd::CodeBlock => {
                self.in_code = false;
                if !self.text.ends_with('\n') && !self.text.ends_with("\n> ") {
                    self.line();
                }
                self.push("```");
            }
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Strong if !self.in_heading => self.push("*"),
            TagEnd::Emphasis => self.push("_"),
            TagEnd::Strikethrough => self.push("~"),
            TagEnd::Link | TagEnd::Image => self.link(),
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    let lines = table.lines();
                    self.push("```");
                    for line in lines {
                        self.line();
                        self.push(&line);
                    }
                    self.line();
                    self.push("```");
                }
            }
            _ => {}
        }
    }

    /// A text, as it is in the cell of a table, else escaped.
    fn say(&mut self, text: &str) {
        let mut lines = text.split('\n').peekable();
        while let Some(line) = lines.next() {
            self.push(&escaped(line));
            if lines.peek().is_some() {
                self.line();
            }
        }
    }

    fn push(&mut self, text: &str) {
        let cell = self.table.as_mut().and_then(|t| t.rows.last_mut()?.last_mut());
        cell.unwrap_or(&mut self.text).push_str(text);
    }

    /// A new line within the same block.
    fn line(&mut self) {
        if self.table.as_ref().is_some_and(|t| !t.rows.is_empty()) {
            return self.push(" ");
        }
        self.text.push('\n');
        if self.quotes > 0 {
            self.text.push_str("> ");
        }
        if !self.in_code {
            let indent = self.lists.len().saturating_sub(1) * 4;
            self.text.extend(std::iter::repeat_n(' ', indent));
        }
    }

    /// The beginning of a block: an empty line after what is there.
    fn block(&mut self) {
        if self.text.is_empty() || self.text.ends_with("> ") && self.quotes > 0 {
            return;
        }
        if self.lists.is_empty() {
            self.text.push('\n');
            if self.quotes > 0 {
                self.text.push('>');
            }
        }
        self.line();
    }

    /// Whether nothing was said yet in the item of a list.
    fn at_item(&self) -> bool {
        !self.lists.is_empty() && (self.text.ends_with("• ") || self.text.ends_with(". "))
    }

    fn item(&mut self) {
        let first = self.text.is_empty() || self.text.ends_with('\n') || self.text.ends_with("> ");
        if !first {
            self.line();
        }
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "• ".to_owned(),
        };
        self.push(&mark);
    }

    fn link(&mut self) {
        let Some((from, url)) = self.links.pop() else { return };
        if self.table.is_some() || !self.links.is_empty() {
            return;
        }
        let label = self.text.split_off(from.min(self.text.len()));
        let label = label.replace(['\n', '|'], " ");
        if !is_link(&url) {
            self.text.push_str(&label);
            return;
        }
        let url = url
            .replace('&', "&amp;")
            .replace('<', "%3C")
            .replace('>', "%3E")
            .replace('|', "%7C");
        let link = match label.trim() {
            "" => format!("<{url}>"),
            label => format!("<{url}|{label}>"),
        };
        self.text.push_str(&link);
    }
}

impl Table {
    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
        };
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
        lines.insert(1.min(lines.len()), rule.join("-|-"));
        lines
    }
}

/// With the three characters escaped that mean something to Slack, but for mentions of one person.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>']) {
        let (before, from) = rest.split_at(at);
        safe.push_str(before);
        if let Some(length) = mention(from) {
            let (whole, after) = from.split_at(length);
            safe.push_str(whole);
            rest = after;
            continue;
        }
        safe.push_str(match from.chars().next() {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            _ => "&gt;",
        });
        rest = from.get(1..).unwrap_or_default();
    }
    safe.push_str(rest);
    safe
}

/// The length of the `<@U0LAN0Z89>` that the text begins with.
fn mention(text: &str) -> Option<usize> {
    let id = text.strip_prefix("<@")?;
    let end = id.find('>')?;
    let id = id.get(..end)?;
    let named = id.starts_with(['U', 'W']) && id.len() > 1;
    (named && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())).then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markdown_becomes_what_people_see_in_a_message() {
        let cases = [
            ("plain", "plain"),
            ("**bold** *it* ~~gone~~ `code`", "*bold* _it_ ~gone~ `code`"),
            ("# Title\n\ntext", "*Title*\n\ntext"),
            ("# **Title**", "*Title*"),
            ("a\nb\n\nc", "a\nb\n\nc"),
            (
                "[the page](https://a.example/?x=1&y=2)",
                "<https://a.example/?x=1&amp;y=2|the page>",
            ),
            ("<https://a.example>", "<https://a.example|https://a.example>"),
            ("[x](javascript:alert(1))", "x"),
            ("![shot](https://a.example/i.png)", "<https://a.example/i.png|shot>"),
            ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
            ("<!channel> and <!here|x>", "&lt;!channel&gt; and &lt;!here|x&gt;"),
            ("hi <@U0LAN0Z89>, <@u1> <@>", "hi <@U0LAN0Z89>, &lt;@u1&gt; &lt;@&gt;"),
            ("- a\n- b\n  - c\n\ntext", "• a\n• b\n    • c\n\ntext"),
            ("3. a\n4. b", "3. a\n4. b"),
            ("- [ ] a\n- [x] b", "• ☐ a\n• ☑ b"),
            ("> one\n> two\n\nafter", "> one\n> two\n\nafter"),
            ("> one\n>\n> two", "> one\n>\n> two"),
            (
                "```rust\nlet a = 1 < 2;\n\n*x*\n```",
                "```\nlet a = 1 &lt; 2;\n\n*x*\n```",
            ),
            ("---", "———"),
            (
                "| a | b |\n|---|---|\n| long one | `2` |",
                "```\na        | b\n---------|--\nlong one | 2\n```",
            ),
            ("a<!-- note -->b", "ab"),
            ("text\n\n```\ncode\n```\n\nmore", "text\n\n```\ncode\n```\n\nmore"),
            ("1. a\n\n   more\n2. b", "1. a\nmore\n2. b"),
        ];
        for (markdown, expected) in cases {
            assert_eq!(mrkdwn(markdown), expected, "{markdown:?}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_called_and_nothing_panics(text in "[a-z<>!@#&|*_~`\\[\\]()\n >U0-]{0,80}") {
            let shown = mrkdwn(&text);
            prop_assert!(!shown.contains("<!") && !shown.contains("<#"), "{shown}");
        }
    }
}
