//! Whether a text asks for the agent.

/// Whether `text` (Markdown) mentions one of `names`, e.g. `@patchbay` or, as some services write it, `<@U0LAN0Z89>`.
///
/// Code blocks, inline code, quoted lines and HTML comments do not count: they show what somebody else said. A name
/// that begins with `@` stands alone: not after a word character, `/` or `@` (as in an e-mail address). One that ends
/// with a word character is not followed by another or by `-` (as in a longer name). Case does not matter.
pub fn mentions<S: AsRef<str>>(text: &str, names: &[S]) -> bool {
    let said = spoken(text).to_lowercase();
    names.iter().any(|name| says(&said, &name.as_ref().to_lowercase()))
}

fn says(said: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let joined = |c: char| c.is_alphanumeric() || c == '_';
    let (bare, open) = (
        name.starts_with('@') || name.starts_with(joined),
        name.ends_with(joined),
    );
    said.match_indices(name).any(|(at, _)| {
        let before = said.get(..at).and_then(|t| t.chars().next_back());
        let after = said.get(at + name.len()..).and_then(|t| t.chars().next());
        let begins = !bare || !before.is_some_and(|c| joined(c) || c == '@' || c == '/');
        let ends = !open || !after.is_some_and(|c| joined(c) || c == '-');
        begins && ends
    })
}

/// The text without what its author only shows: fenced and indented code is cut at its lines (CommonMark 4.4 and 4.5),
/// quotes at theirs (5.1), then inline code (6.1) and HTML comments.
pub fn spoken(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut fence: Option<(char, usize)> = None;
    let mut after_blank = true;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some((mark, length)) = fence {
            let closes = run_of(trimmed, mark) >= length && trimmed.trim_start_matches(mark).trim().is_empty();
            fence = if closes { None } else { fence };
            continue;
        }
        if let Some(opening) = opening_fence(trimmed) {
            fence = Some(opening);
            continue;
        }
        let indented_code = after_blank && (indent >= 4 || line.starts_with('\t'));
        after_blank = trimmed.is_empty() || (after_blank && indented_code);
        if trimmed.starts_with('>') || indented_code {
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    without_comments(&without_inline_code(&kept))
}

fn opening_fence(line: &str) -> Option<(char, usize)> {
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = run_of(line, mark);
    // A line like ```code``` is inline code: the info string of a backtick fence holds no backtick.
    let info = line.trim_start_matches(mark);
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

fn run_of(text: &str, mark: char) -> usize {
    text.chars().take_while(|c| *c == mark).count()
}

/// Cuts each span between two runs of the same number of backticks.
fn without_inline_code(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let length = run_of(from, '`');
        let (ticks, inside) = from.split_at(length);
        match closing_run(inside, length) {
            Some(end) => {
                kept.push(' ');
                rest = inside.get(end..).unwrap_or_default();
            }
            None => {
                kept.push_str(ticks);
                rest = inside;
            }
        }
    }
    kept.push_str(rest);
    kept
}

/// Where the text goes on after the next run of exactly `length` backticks.
fn closing_run(text: &str, length: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text.get(at..)?.find('`') {
        let start = at + found;
        let run = run_of(text.get(start..)?, '`');
        if run == length {
            return Some(start + run);
        }
        at = start + run;
    }
    None
}

fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        kept.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, tail)| tail);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mention_counts_where_it_is_spoken() {
        let yes = [
            "@patchbay fix this",
            "please (@patchbay) look",
            "hey @Patchbay!",
            "@patchbay",
            "x\n@patchbay, y",
            "a `code` @patchbay",
            "> quoted\n\n@patchbay yes",
            "```\ncode\n```\n@patchbay",
            "@patchbay.",
            "`unclosed @patchbay",
            "text\n    @patchbay in a paragraph's lazy line",
            "été@ @patchbay",
            "<!-- note --> @patchbay",
            "```inline``` @patchbay",
            "@patchbay's turn",
            "**@patchbay**",
        ];
        for text in yes {
            assert!(mentions(text, &["@patchbay"]), "{text:?}");
        }
    }

    #[test]
    fn a_mention_does_not_count_where_it_is_shown() {
        let no = [
            "",
            "nothing here",
            "user@patchbay",
            "user@patchbay.com",
            "@patchbay-agent",
            "@patchbayer",
            "@patchbay_2",
            "@@patchbay",
            "org/@patchbay",
            "> @patchbay said so",
            "   > @patchbay said so",
            "`@patchbay`",
            "``a ` @patchbay``",
            "```\n@patchbay\n```",
            "~~~ruby\n@patchbay\n~~~",
            "````\n```\n@patchbay\n````",
            "```\n@patchbay never closed",
            "    @patchbay in code",
            "\t@patchbay in code",
            "<!-- @patchbay -->",
            "<!-- @patchbay",
            "patchbay",
        ];
        for text in no {
            assert!(!mentions(text, &["@patchbay"]), "{text:?}");
        }
        assert!(!mentions("anything", &[""]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[`~> \t\n@patchby<!\\-é-]{0,60}") {
            let _ = mentions(&text, &["@patchbay"]);
        }
    }
}
