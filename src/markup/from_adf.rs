//! The Atlassian Document Format to Markdown.

use crate::time::Timestamp;
use serde_json::Value;

/// The document as Markdown; a text as it is. A mention becomes `[~accountid:…]`, what Markdown has no word for the
/// text in it.
pub fn from_adf(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone(),
        node => blocks(node).join("\n\n"),
    }
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node.get("content").and_then(Value::as_array).into_iter().flatten()
}

fn kind(node: &Value) -> &str {
    node.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn attr<'a>(node: &'a Value, name: &str) -> &'a str {
    node.get("attrs")
        .and_then(|a| a.get(name)?.as_str())
        .unwrap_or_default()
}

/// The blocks that a node's children are.
fn blocks(node: &Value) -> Vec<String> {
    children(node).map(block).filter(|text| !text.is_empty()).collect()
}

fn block(node: &Value) -> String {
    match kind(node) {
        "paragraph" | "caption" => inline(node),
        "heading" => {
            let level = node.pointer("/attrs/level").and_then(Value::as_u64).unwrap_or(1);
            format!("{} {}", "#".repeat(level.clamp(1, 6) as usize), inline(node))
        }
        "blockquote" | "panel" => prefixed(&blocks(node).join("\n\n"), "> ", "> "),
        "bulletList" | "decisionList" => list(node, |_| "- ".into()),
        "orderedList" => {
            let first = node.pointer("/attrs/order").and_then(Value::as_u64).unwrap_or(1);
            list(node, |at| format!("{}. ", first + at))
        }
        "taskList" => tasks(node),
        "codeBlock" => code(node),
        "rule" => "---".into(),
        "table" => table(node),
        "text" | "hardBreak" | "mention" | "emoji" | "inlineCard" | "status" => one(node),
        "blockCard" | "embedCard" => attr(node, "url").to_owned(),
        "media" => "[attachment]".into(),
        "date" => day(attr(node, "timestamp")),
        _ => blocks(node).join("\n\n"),
    }
}

/// The day of a time in milliseconds since 1970.
fn day(timestamp: &str) -> String {
    let Ok(ms) = timestamp.parse::<i64>() else {
        return timestamp.to_owned();
    };
    Timestamp(ms).rfc3339().chars().take(10).collect()
}

fn list(node: &Value, mark: impl Fn(u64) -> String) -> String {
    let items = children(node).zip(0..).map(|(item, at)| {
        let mark = mark(at);
        let text = match kind(item) {
            "decisionItem" => inline(item),
            _ => blocks(item).join("\n"),
        };
        prefixed(&text, &mark, &" ".repeat(mark.len()))
    });
    items.collect::<Vec<_>>().join("\n")
}

fn tasks(node: &Value) -> String {
    let items = children(node).map(|item| match kind(item) {
        "taskList" => prefixed(&tasks(item), "  ", "  "),
        _ if attr(item, "state") == "DONE" => format!("- [x] {}", inline(item)),
        _ => format!("- [ ] {}", inline(item)),
    });
    items.collect::<Vec<_>>().join("\n")
}

fn code(node: &Value) -> String {
    let text = plain(node);
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}{}\n{text}\n{fence}", attr(node, "language"))
}

fn table(node: &Value) -> String {
    let mut lines = Vec::new();
    for (at, row) in children(node).enumerate() {
        let cells: Vec<String> = children(row)
            .map(|cell| blocks(cell).join(" ").replace('\n', " ").replace('|', "\\|"))
            .collect();
        lines.push(format!("| {} |", cells.join(" | ")));
        if at == 0 {
            lines.push(format!("|{}", "---|".repeat(cells.len())));
        }
    }
    lines.join("\n")
}

/// With `first` before the first line and `other` before the others.
fn prefixed(text: &str, first: &str, other: &str) -> String {
    let lines = text.split('\n').enumerate();
    let with = |(at, line): (usize, &str)| {
        format!("{}{line}", if at == 0 { first } else { other })
            .trim_end()
            .to_owned()
    };
    lines.map(with).collect::<Vec<_>>().join("\n")
}

fn inline(node: &Value) -> String {
    children(node).map(one).collect()
}

fn one(node: &Value) -> String {
    match kind(node) {
        "text" => marked(node),
        "hardBreak" => "\n".into(),
        "mention" => format!("[~accountid:{}]", attr(node, "id")),
        "emoji" if attr(node, "text").is_empty() => attr(node, "shortName").to_owned(),
        "emoji" | "status" => attr(node, "text").to_owned(),
        "inlineCard" => attr(node, "url").to_owned(),
        _ => block(node),
    }
}

fn marked(node: &Value) -> String {
    let text = node.get("text").and_then(Value::as_str).unwrap_or_default();
    let marks: Vec<&Value> = node
        .get("marks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let has = |name: &str| marks.iter().any(|m| kind(m) == name);
    if text.trim().is_empty() {
        return text.to_owned();
    }
    let mut shown = match has("code") {
        true => coded(text),
        false => text.to_owned(),
    };
    for (name, mark) in [("strong", "**"), ("em", "*"), ("strike", "~~")] {
        if has(name) {
            shown = around(&shown, mark);
        }
    }
    match marks.iter().find(|m| kind(m) == "link") {
        Some(link) if attr(link, "href") != text => format!("[{shown}]({})", attr(link, "href")),
        _ => shown,
    }
}

/// The mark around the text, with the spaces outside: Markdown knows no mark beside a space.
fn around(text: &str, mark: &str) -> String {
    let inner = text.trim();
    let (before, after) = text.split_once(inner).unwrap_or_default();
    format!("{before}{mark}{inner}{mark}{after}")
}

fn coded(text: &str) -> String {
    let mut ticks = "`".to_owned();
    while text.contains(&ticks) {
        ticks.push('`');
    }
    let space = if ticks.len() > 1 { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// All text in a node, without marks.
fn plain(node: &Value) -> String {
    let own = node.get("text").and_then(Value::as_str).unwrap_or_default();
    children(node).map(plain).fold(own.to_owned(), |all, text| all + &text)
}

#[cfg(test)]
mod tests {
    use super::super::adf;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_made_of_markdown_becomes_it_again() {
        let texts = [
            "plain",
            "one\n\ntwo",
            "a\nb",
            "**bold** *it* ~~gone~~ `code`",
            "## Title",
            "```rust\nlet a;\n\nb\n```",
            "[page](https://a.example)",
            "---",
            "> q\n> r",
            "- a\n- b\n  1. c\n  2. d",
            "3. a\n4. b",
            "| a | b |\n|---|---|\n| c | d |",
            "hi [~accountid:5b1:a-b] there",
            "`` a ` b ``",
        ];
        for text in texts {
            assert_eq!(from_adf(&adf(text)), text);
        }
    }

    #[test]
    fn what_people_write_in_the_editor_becomes_readable() {
        let node = |node: Value| from_adf(&json!({"type": "doc", "version": 1, "content": [node]}));
        let text = |t: &str| json!({"type": "text", "text": t});
        let cases = [
            (
                json!({"type": "panel", "attrs": {"panelType": "info"}, "content": [{"type": "paragraph", "content": [text("n")]}]}),
                "> n",
            ),
            (
                json!({"type": "paragraph", "content": [{"type": "emoji", "attrs": {"shortName": ":smile:", "text": "😄"}}]}),
                "😄",
            ),
            (
                json!({"type": "paragraph", "content": [{"type": "emoji", "attrs": {"shortName": ":ours:"}}]}),
                ":ours:",
            ),
            (
                json!({"type": "paragraph", "content": [{"type": "inlineCard", "attrs": {"url": "https://a.example"}}]}),
                "https://a.example",
            ),
            (
                json!({"type": "paragraph", "content": [{"type": "text", "text": "b ", "marks": [{"type": "strong"}]}, text("c")]}),
                "**b** c",
            ),
            (
                json!({"type": "paragraph", "content": [{"type": "text", "text": "u", "marks": [{"type": "underline"}]}]}),
                "u",
            ),
            (
                json!({"type": "mediaSingle", "content": [{"type": "media", "attrs": {"id": "x"}}]}),
                "[attachment]",
            ),
            (
                json!({"type": "taskList", "content": [{"type": "taskItem", "attrs": {"state": "DONE"}, "content": [text("t")]}]}),
                "- [x] t",
            ),
            (
                json!({"type": "expand", "content": [{"type": "paragraph", "content": [text("e")]}]}),
                "e",
            ),
            (
                json!({"type": "codeBlock", "content": [text("```")]}),
                "````\n```\n````",
            ),
            (
                json!({"type": "paragraph", "content": [{"type": "date", "attrs": {"timestamp": "1767225600000"}}]}),
                "2026-01-01",
            ),
            (
                json!({"type": "unknown", "content": [{"type": "paragraph", "content": [text("x")]}]}),
                "x",
            ),
        ];
        for (document, expected) in cases {
            assert_eq!(node(document), expected);
        }
        assert_eq!(from_adf(&json!("text")), "text");
        assert_eq!(from_adf(&Value::Null), "");
    }
}
