//! The wiki markup of Atlassian's older formats, as its webhooks still carry it, to Markdown
//! (<https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all>).

/// Blocks whose text is shown as it is, or quoted.
const BLOCKS: [&str; 3] = ["code", "noformat", "quote"];

/// The text as Markdown. Mentions stay as they are: `[~accountid:…]`, `[~name]`.
pub fn from_wiki(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut markdown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, block)) = next_block(rest) {
        markdown.push_str(&lines(before));
        start_line(&mut markdown);
        markdown.push_str(&block.markdown());
        markdown.push('\n');
        rest = block.after.strip_prefix('\n').unwrap_or(block.after);
    }
    markdown.push_str(&lines(rest));
    markdown.trim_end_matches('\n').to_owned()
}

/// A `{code}…{code}` and its like.
struct Block<'a> {
    kind: &'static str,
    /// The language, where one is named.
    language: &'a str,
    content: &'a str,
    after: &'a str,
}

impl Block<'_> {
    fn markdown(&self) -> String {
        let content = self.content.trim_matches('\n');
        if self.kind == "quote" {
            let quoted: Vec<String> = from_wiki(content).lines().map(|line| format!("> {line}")).collect();
            return format!("{}\n", quoted.join("\n"));
        }
        let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        format!("{fence}{}\n{content}\n{fence}", self.language)
    }
}

/// The first whole block, with the text before it. One that never ends is text.
fn next_block(text: &str) -> Option<(&str, Block<'_>)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find('{').map(|at| from + at) {
        from = at + 1;
        let inside = text.get(from..)?;
        let (tag, body) = inside.split_once('}')?;
        let (name, parameters) = tag.split_once(':').unwrap_or((tag, ""));
        let Some(kind) = BLOCKS.into_iter().find(|kind| *kind == name) else {
            continue;
        };
        let Some((content, after)) = body.split_once(&format!("{{{kind}}}")) else {
            continue;
        };
        let first = parameters.split('|').next().unwrap_or_default();
        let is_language = !first.is_empty() && first.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-#".contains(&b));
        let block = Block {
            kind,
            language: if is_language { first } else { "" },
            content,
            after,
        };
        return Some((text.get(..at)?, block));
    }
    None
}

fn start_line(markdown: &mut String) {
    if !markdown.is_empty() && !markdown.ends_with('\n') {
        markdown.push('\n');
    }
}

fn lines(text: &str) -> String {
    let all: Vec<String> = text.split('\n').map(line).collect();
    all.join("\n")
}

fn line(text: &str) -> String {
    if let Some(quoted) = text.strip_prefix("bq. ") {
        return format!("> {}\n", inline(quoted));
    }
    let heading = text.strip_prefix('h').and_then(|rest| {
        let (level, title) = rest.split_once(". ")?;
        let level: usize = level.parse().ok().filter(|n| (1..=6).contains(n))?;
        Some(format!("{} {}", "#".repeat(level), inline(title)))
    });
    if let Some(heading) = heading {
        return heading;
    }
    let (marks, item) = text.split_once(' ').unwrap_or(("", text));
    let is_list = !marks.is_empty() && marks.chars().all(|c| matches!(c, '*' | '#' | '-')) && marks != "----";
    if is_list {
        let indent = "  ".repeat(marks.len() - 1);
        let mark = if marks.ends_with('#') { "1." } else { "-" };
        return format!("{indent}{mark} {}", inline(item));
    }
    inline(text)
}

/// Text within a line: code between double braces, and links.
fn inline(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, code, after)) = between(rest, "{{", "}}") {
        markdown.push_str(&spoken(before));
        markdown.push_str(&format!("`{code}`"));
        rest = after;
    }
    markdown.push_str(&spoken(rest));
    markdown
}

fn spoken(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link, after)) = between(rest, "[", "]") {
        markdown.push_str(&bold(before));
        let (shown, url) = link.split_once('|').unwrap_or(("", link));
        let url = url.split('|').next().unwrap_or_default();
        if !super::is_link(url) {
            markdown.push_str(&format!("[{link}]"));
        } else if shown.is_empty() {
            markdown.push_str(&format!("<{url}>"));
        } else {
            markdown.push_str(&format!("[{shown}]({url})"));
        }
        rest = after;
    }
    markdown.push_str(&bold(rest));
    markdown
}

/// `*bold*` at the borders of words.
fn bold(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inner, after)) = between(rest, "*", "*") {
        let begins = before.chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let ends = after.chars().next().is_none_or(|c| !c.is_alphanumeric());
        if begins && ends && inner.trim() == inner {
            markdown.push_str(&format!("{before}**{inner}**"));
            rest = after;
        } else {
            markdown.push_str(&format!("{before}*"));
            rest = rest.get(before.len() + 1..).unwrap_or_default();
        }
    }
    markdown.push_str(rest);
    markdown
}

/// The text before the first `open`, what stands between it and the next `close`, and the rest.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, inside) = text.split_once(open)?;
    let (inner, after) = inside.split_once(close)?;
    (!inner.is_empty()).then_some((before, inner, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_markup_becomes_its_markdown() {
        for (wiki, markdown) in [
            ("plain text", "plain text"),
            (
                "[~accountid:5b1:bot] look at *this*",
                "[~accountid:5b1:bot] look at **this**",
            ),
            (
                "see [the build|https://ci.example.com/1]",
                "see [the build](https://ci.example.com/1)",
            ),
            ("[https://ci.example.com/1]", "<https://ci.example.com/1>"),
            ("[x|javascript:alert(1)] [note]", "[x|javascript:alert(1)] [note]"),
            ("{{code *here*}} and 2*3*4", "`code *here*` and 2*3*4"),
            ("h2. Title\ntext", "## Title\ntext"),
            ("* one\n** two\n# three", "- one\n  - two\n1. three"),
            ("bq. theirs [~x]\nmine", "> theirs [~x]\n\nmine"),
            (
                "before {code:rust}\nfn x() {}\n{code} after",
                "before \n```rust\nfn x() {}\n```\n after",
            ),
            ("{noformat}a ``` b{noformat}", "````\na ``` b\n````"),
            ("{quote}\none\n\ntwo\n{quote}\nmine", "> one\n> \n> two\n\nmine"),
            ("{code:title=a.js|x=1}x{code}", "```\nx\n```"),
            ("{code} never ends", "{code} never ends"),
            ("{color:red}x{color} { } {", "{color:red}x{color} { } {"),
            ("a\r\nb", "a\nb"),
            ("", ""),
        ] {
            assert_eq!(from_wiki(wiki), markdown, "{wiki:?}");
        }
    }
}
