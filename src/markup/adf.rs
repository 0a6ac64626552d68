//! Markdown to the Atlassian Document Format
//! (<https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>).

use super::{is_link, parser};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Tag, TagEnd};
use serde_json::{Value, json};

/// Deepest nesting of lists; what is deeper stands in the deepest one. Documents are read and written recursively.
const MAX_DEPTH: usize = 12;

/// The message as a document of version 1. `[~accountid:…]` becomes a mention.
///
/// The format nests less than Markdown: what a list item, a quote or a cell must not hold stands there as paragraphs.
pub fn adf(markdown: &str) -> Value {
    let mut builder = Builder::default();
    builder.frames.push(Frame::new("doc"));
    for event in parser(markdown) {
        builder.event(event);
    }
    while builder.frames.len() > 1 {
        builder.close();
    }
    let content = builder.frames.pop().map(|frame| frame.content).unwrap_or_default();
    json!({"type": "doc", "version": 1, "content": content})
}

#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
    /// Marks of the text that comes, with where each link began.
    marks: Vec<Value>,
    /// Open tags that made no node, innermost last.
    code: Option<String>,
    skipped_lists: usize,
    skipped_quotes: usize,
}

struct Frame {
    kind: &'static str,
    attrs: Option<Value>,
    content: Vec<Value>,
}

impl Frame {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            attrs: None,
            content: Vec::new(),
        }
    }

    fn with(kind: &'static str, attrs: Value) -> Self {
        Self {
            attrs: Some(attrs),
            ..Self::new(kind)
        }
    }

    fn holds_text(&self) -> bool {
        matches!(self.kind, "paragraph" | "heading")
    }

    fn into_node(self) -> Value {
        let mut node = json!({"type": self.kind, "content": self.content});
        if let (Some(attrs), Some(members)) = (self.attrs, node.as_object_mut()) {
            members.insert("attrs".into(), attrs);
        }
        node
    }
}

impl Builder {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.text(&text),
            },
            Event::Code(code) => self.coded(&code),
            Event::Html(html) | Event::InlineHtml(html) if !html.starts_with("<!--") => self.text(&html),
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::SoftBreak | Event::HardBreak => self.inline(json!({"type": "hardBreak"})),
            Event::Rule => self.rule(),
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.text(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.block(Frame::new("paragraph")),
            Tag::Heading { level, .. } if self.is_free() => {
                self.block(Frame::with("heading", json!({"level": number(level)})));
            }
            // Where a heading must not stand, its words do.
            Tag::Heading { .. } => {
                self.block(Frame::new("paragraph"));
                self.marks.push(json!({"type": "strong"}));
            }
            Tag::BlockQuote(_) if self.is_free() => self.block(Frame::new("blockquote")),
            Tag::BlockQuote(_) => self.skipped_quotes += 1,
            Tag::CodeBlock(kind) => {
                self.leave_text();
                let attrs = match &kind {
                    CodeBlockKind::Fenced(language) if !language.is_empty() => {
                        let language = language.split([' ', ',']).next().unwrap_or_default();
                        Some(json!({ "language": language }))
                    }
                    _ => None,
                };
                self.frames.push(Frame {
                    attrs,
                    ..Frame::new("codeBlock")
                });
                self.code = Some(String::new());
            }
            Tag::List(first) => self.list(first),
            Tag::Item if self.skipped_lists == 0 => self.frames.push(Frame::new("listItem")),
            Tag::Item => self.leave_text(),
            Tag::Emphasis => self.marks.push(json!({"type": "em"})),
            Tag::Strong => self.marks.push(json!({"type": "strong"})),
            Tag::Strikethrough => self.marks.push(json!({"type": "strike"})),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.marks
                    .push(json!({"type": "link", "attrs": {"href": dest_url.as_ref()}}));
            }
            Tag::Table(_) if self.is_free() => self.block(Frame::new("table")),
            Tag::TableHead | Tag::TableRow if self.in_table() => self.frames.push(Frame::new("tableRow")),
            Tag::TableCell if self.in_table() => {
                let first = self.frames.iter().rev().find(|f| f.kind == "table");
                let head = first.is_some_and(|table| table.content.is_empty());
                self.frames
                    .push(Frame::new(if head { "tableHeader" } else { "tableCell" }));
                self.frames.push(Frame::new("paragraph"));
            }
            Tag::TableCell => self.text(" "),
            Tag::TableHead | Tag::TableRow => self.block(Frame::new("paragraph")),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.leave_text(),
            TagEnd::Heading(_) => {
                if self.top() == "paragraph" {
                    self.marks.pop();
                }
                self.leave_text();
            }
            TagEnd::BlockQuote(_) if self.skipped_quotes > 0 => {
                self.leave_text();
                self.skipped_quotes -= 1;
            }
            TagEnd::BlockQuote(_) => self.close_to("blockquote"),
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                let code = code.strip_suffix('\n').unwrap_or(&code);
                if let Some(frame) = self.frames.last_mut().filter(|_| !code.is_empty()) {
                    frame.content.push(json!({"type": "text", "text": code}));
                }
                self.close();
            }
            TagEnd::List(_) if self.skipped_lists > 0 => self.skipped_lists -= 1,
            TagEnd::List(ordered) => self.close_to(if ordered { "orderedList" } else { "bulletList" }),
            TagEnd::Item if self.skipped_lists == 0 => self.close_to("listItem"),
            TagEnd::Item => self.leave_text(),
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image => {
                self.marks.pop();
            }
            TagEnd::Table => self.close_to("table"),
            TagEnd::TableHead | TagEnd::TableRow if self.in_table() => self.close_to("tableRow"),
            TagEnd::TableHead | TagEnd::TableRow => self.leave_text(),
            TagEnd::TableCell if self.in_table() => {
                self.close_to("paragraph");
                self.close();
            }
            _ => {}
        }
    }

    /// Whether any block may stand here: in the document itself.
    fn is_free(&self) -> bool {
        self.frames.iter().skip(1).all(Frame::holds_text)
    }

    fn in_table(&self) -> bool {
        self.frames.iter().any(|f| f.kind == "table")
    }

    fn top(&self) -> &'static str {
        self.frames.last().map_or("doc", |f| f.kind)
    }

    fn block(&mut self, frame: Frame) {
        self.leave_text();
        self.frames.push(frame);
    }

    fn list(&mut self, first: Option<u64>) {
        self.leave_text();
        let fits = matches!(self.top(), "doc" | "listItem" | "blockquote");
        if !fits || self.frames.len() > 2 * MAX_DEPTH || self.skipped_lists > 0 {
            self.skipped_lists += 1;
            return;
        }
        // An item begins with a paragraph, even where Markdown begins with another list.
        if let Some(item) = self
            .frames
            .last_mut()
            .filter(|f| f.kind == "listItem" && f.content.is_empty())
        {
            item.content.push(json!({"type": "paragraph", "content": []}));
        }
        self.frames.push(match first {
            Some(order) => Frame::with("orderedList", json!({ "order": order })),
            None => Frame::new("bulletList"),
        });
    }

    fn rule(&mut self) {
        self.leave_text();
        match self.frames.last_mut() {
            Some(frame) if frame.kind == "doc" => frame.content.push(json!({"type": "rule"})),
            _ => self.text("———"),
        }
    }

    /// Closes the paragraph that is open, if one is.
    fn leave_text(&mut self) {
        if self.frames.last().is_some_and(Frame::holds_text) {
            self.close();
        }
    }

    fn close(&mut self) {
        let Some(mut frame) = self.frames.pop() else { return };
        if matches!(frame.kind, "listItem" | "blockquote") && frame.content.is_empty() {
            frame.content.push(json!({"type": "paragraph", "content": []}));
        }
        let empty = frame.content.is_empty() && frame.kind == "paragraph" && self.top() == "doc";
        if let Some(parent) = self.frames.last_mut().filter(|_| !empty) {
            parent.content.push(frame.into_node());
        }
    }

    /// Closes everything up to the innermost `kind`.
    fn close_to(&mut self, kind: &str) {
        if !self.frames.iter().skip(1).any(|f| f.kind == kind) {
            return;
        }
        while self.frames.len() > 1 {
            let last = self.top() == kind;
            self.close();
            if last {
                return;
            }
        }
    }

    fn inline(&mut self, node: Value) {
        if !self.frames.last().is_some_and(Frame::holds_text) {
            self.frames.push(Frame::new("paragraph"));
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.content.push(node);
        }
    }

    fn text(&mut self, text: &str) {
        let marks: Vec<Value> = self.marks.iter().filter(|m| may_mark(m)).cloned().collect();
        self.marked(text, marks);
    }

    fn coded(&mut self, code: &str) {
        // Code cannot be bold or struck through; it can be a link.
        let links = self.marks.iter().filter(|m| is_kind(m, "link") && may_mark(m));
        let mut marks: Vec<Value> = links.cloned().collect();
        marks.push(json!({"type": "code"}));
        self.push_text(code, &marks);
    }

    /// A text, joined to the one before it where the marks are the same, with its mentions.
    fn marked(&mut self, text: &str, marks: Vec<Value>) {
        let before = self.frames.last_mut().filter(|f| f.holds_text()).and_then(|f| {
            let same = f
                .content
                .last()
                .is_some_and(|n| is_kind(n, "text") && marks_of(n) == marks);
            same.then(|| f.content.pop()).flatten()
        });
        let mut whole = before
            .and_then(|n| Some(n.get("text")?.as_str()?.to_owned()))
            .unwrap_or_default();
        whole.push_str(text);
        let mut rest = whole.as_str();
        while let Some((said, after)) = rest.split_once("[~accountid:") {
            let Some((id, tail)) = after.split_once(']').filter(|(id, _)| is_account(id)) else {
                break;
            };
            self.push_text(said, &marks);
            self.inline(json!({"type": "mention", "attrs": {"id": id}}));
            rest = tail;
        }
        self.push_text(rest, &marks);
    }

    fn push_text(&mut self, text: &str, marks: &[Value]) {
        if text.is_empty() {
            return;
        }
        let mut node = json!({"type": "text", "text": text});
        if let Some(members) = node.as_object_mut().filter(|_| !marks.is_empty()) {
            members.insert("marks".into(), json!(marks));
        }
        self.inline(node);
    }
}

fn number(level: HeadingLevel) -> u8 {
    level as u8
}

fn is_kind(node: &Value, kind: &str) -> bool {
    node.get("type").and_then(Value::as_str) == Some(kind)
}

fn marks_of(node: &Value) -> Vec<Value> {
    node.get("marks").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A link only to where a browser should go.
fn may_mark(mark: &Value) -> bool {
    let href = mark.pointer("/attrs/href").and_then(Value::as_str);
    href.is_none_or(is_link)
}

fn is_account(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_');
    !id.is_empty() && id.len() <= 128 && id.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    fn marked(text: &str, marks: &[&str]) -> Value {
        let marks: Vec<Value> = marks.iter().map(|m| json!({"type": m})).collect();
        json!({"type": "text", "text": text, "marks": marks})
    }

    fn paragraph(content: &[Value]) -> Value {
        json!({"type": "paragraph", "content": content})
    }

    fn item(content: &[Value]) -> Value {
        json!({"type": "listItem", "content": content})
    }

    #[test]
    fn markdown_becomes_a_document() {
        let code = json!({"type": "codeBlock", "content": [text("let a;\n\nb")], "attrs": {"language": "rust"}});
        let link = json!({"type": "text", "text": "page", "marks": [{"type": "link", "attrs": {"href": "https://a.example"}}]});
        let cell = |kind: &str, t: &str| json!({"type": kind, "content": [paragraph(&[text(t)])]});
        let cases = [
            ("", vec![]),
            ("one\n\ntwo", vec![paragraph(&[text("one")]), paragraph(&[text("two")])]),
            (
                "a\nb",
                vec![paragraph(&[text("a"), json!({"type": "hardBreak"}), text("b")])],
            ),
            (
                "**b** *i* ~~s~~ `c`",
                vec![paragraph(&[
                    marked("b", &["strong"]),
                    text(" "),
                    marked("i", &["em"]),
                    text(" "),
                    marked("s", &["strike"]),
                    text(" "),
                    marked("c", &["code"]),
                ])],
            ),
            (
                "***x* `y`**",
                vec![paragraph(&[
                    marked("x", &["strong", "em"]),
                    marked(" ", &["strong"]),
                    marked("y", &["code"]),
                ])],
            ),
            (
                "## T",
                vec![json!({"type": "heading", "attrs": {"level": 2}, "content": [text("T")]})],
            ),
            ("```rust\nlet a;\n\nb\n```", vec![code]),
            ("[page](https://a.example)", vec![paragraph(&[link])]),
            ("[page](javascript:x)", vec![paragraph(&[text("page")])]),
            ("---", vec![json!({"type": "rule"})]),
            (
                "> q",
                vec![json!({"type": "blockquote", "content": [paragraph(&[text("q")])]})],
            ),
            (
                "> # q",
                vec![json!({"type": "blockquote", "content": [paragraph(&[marked("q", &["strong"])])]})],
            ),
            (
                "> > q",
                vec![json!({"type": "blockquote", "content": [paragraph(&[text("q")])]})],
            ),
            (
                "- a\n- b\n  1. c",
                vec![json!({"type": "bulletList", "content": [
                    item(&[paragraph(&[text("a")])]),
                    item(&[paragraph(&[text("b")]), json!({"type": "orderedList", "attrs": {"order": 1}, "content": [item(&[paragraph(&[text("c")])])]})]),
                ]})],
            ),
            (
                "- # a",
                vec![json!({"type": "bulletList", "content": [item(&[paragraph(&[marked("a", &["strong"])])])]})],
            ),
            (
                "-",
                vec![json!({"type": "bulletList", "content": [item(&[paragraph(&[])])]})],
            ),
            (
                "| a | b |\n|---|---|\n| c | d |",
                vec![json!({"type": "table", "content": [
                    {"type": "tableRow", "content": [cell("tableHeader", "a"), cell("tableHeader", "b")]},
                    {"type": "tableRow", "content": [cell("tableCell", "c"), cell("tableCell", "d")]},
                ]})],
            ),
            (
                "hi [~accountid:5b1:a-b] there",
                vec![paragraph(&[
                    text("hi "),
                    json!({"type": "mention", "attrs": {"id": "5b1:a-b"}}),
                    text(" there"),
                ])],
            ),
            (
                "`[~accountid:5b1]`",
                vec![paragraph(&[marked("[~accountid:5b1]", &["code"])])],
            ),
            ("a <!-- x --> b", vec![paragraph(&[text("a  b")])]),
        ];
        for (markdown, expected) in cases {
            assert_eq!(adf(markdown)["content"], json!(expected), "{markdown:?}");
        }
    }

    /// What may stand in what, of the published schema.
    fn complaint(node: &Value, parent: &str) -> Option<String> {
        let kind = node["type"].as_str().unwrap();
        let inline = ["text", "hardBreak", "mention"].contains(&kind);
        let fits = match parent {
            "doc" => [
                "paragraph",
                "heading",
                "blockquote",
                "codeBlock",
                "bulletList",
                "orderedList",
                "table",
                "rule",
            ]
            .contains(&kind),
            "paragraph" | "heading" => inline,
            "codeBlock" => kind == "text",
            "listItem" | "blockquote" => ["paragraph", "codeBlock", "bulletList", "orderedList"].contains(&kind),
            "bulletList" | "orderedList" => kind == "listItem",
            "table" => kind == "tableRow",
            "tableRow" => ["tableHeader", "tableCell"].contains(&kind),
            "tableHeader" | "tableCell" => kind == "paragraph",
            _ => false,
        };
        if !fits || kind == "text" && node["text"] == "" {
            return Some(format!("{node} in {parent}"));
        }
        let lists = [
            "listItem",
            "bulletList",
            "orderedList",
            "table",
            "tableRow",
            "blockquote",
        ];
        let content = node["content"].as_array().cloned().unwrap_or_default();
        if lists.contains(&kind) && content.is_empty() {
            return Some(format!("an empty {kind}"));
        }
        content.iter().find_map(|child| complaint(child, kind))
    }

    proptest! {
        #[test]
        fn every_document_is_one(text in "[a`\n *_>#|~\\[\\]()-]{0,80}|(- |> |1\\. |    |a|\n|# |\\| ){0,40}") {
            let document = adf(&text);
            let wrong = document["content"].as_array().unwrap().iter().find_map(|n| complaint(n, "doc"));
            prop_assert_eq!(wrong, None);
        }
    }

    #[test]
    fn a_quote_in_an_item_of_a_quote_ends_by_itself() {
        let document = adf("> 1. > \n> 1. ");

        let quote = &document["content"][0];
        assert_eq!(document["content"].as_array().map(Vec::len), Some(1), "{document}");
        assert_eq!(
            (&quote["type"], &quote["content"][0]["type"]),
            (&json!("blockquote"), &json!("orderedList"))
        );
        assert_eq!(complaint(quote, "doc"), None);
    }

    #[test]
    fn nesting_has_an_end() {
        let deep: String = (0..500).map(|n| format!("{}- x\n", "  ".repeat(n))).collect();

        for text in [deep, ">".repeat(5_000), "- ".repeat(2_000)] {
            let document = adf(&text).to_string();
            assert!(serde_json::from_str::<Value>(&document).is_ok());
        }
    }
}
