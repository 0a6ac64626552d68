//! The text of a Slack message to Markdown.

/// The message as Markdown. Mentions of people stay as Slack writes them, `<@U…>`; those of channels and groups become
/// their names.
pub fn from_mrkdwn(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 1 {
            // A block may begin and end within a line; in Markdown it stands alone.
            let opens = if markdown.is_empty() || markdown.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            let code = unescaped(part.trim_matches('\n'));
            markdown.push_str(&format!("{opens}```\n{code}\n```\n"));
        } else {
            let part = if at == 0 {
                part
            } else {
                part.strip_prefix('\n').unwrap_or(part)
            };
            markdown.push_str(&outside(part));
        }
    }
    markdown.trim_end_matches('\n').to_owned()
}

fn outside(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

fn line(text: &str) -> String {
    let (quote, rest) = match text.strip_prefix("&gt;") {
        Some(rest) => ("> ", rest.trim_start()),
        None => ("", text),
    };
    let (bullet, rest) = match rest.trim_start().strip_prefix("• ") {
        Some(item) => ("- ", item),
        None => ("", rest),
    };
    let mut markdown = format!("{quote}{bullet}");
    for (at, part) in rest.split('`').enumerate() {
        if at % 2 == 1 {
            markdown.push_str(&format!("`{}`", unescaped(part)));
        } else {
            markdown.push_str(&spoken(part));
        }
    }
    // An odd backtick opened nothing.
    if rest.matches('`').count() % 2 == 1 {
        markdown.pop();
    }
    markdown
}

fn spoken(text: &str) -> String {
    let mut markdown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        markdown.push_str(&emphasis(before));
        let Some((token, tail)) = after.split_once('>') else {
            markdown.push('<');
            rest = after;
            continue;
        };
        markdown.push_str(&token_of(token));
        rest = tail;
    }
    markdown.push_str(&emphasis(rest));
    markdown
}

/// What stands between `<` and `>`: a person, a channel, a group, or an address.
fn token_of(token: &str) -> String {
    let (target, label) = token.split_once('|').unwrap_or((token, ""));
    match target.chars().next() {
        Some('@') => format!("<{target}>"),
        Some('#') if !label.is_empty() => format!("#{label}"),
        Some('#') => format!("<{target}>"),
        Some('!') if label.is_empty() => format!("@{}", target.trim_start_matches('!')),
        Some('!') => label.to_owned(),
        _ if label.is_empty() || label == target => unescaped(target),
        _ => format!("[{}]({})", unescaped(label), unescaped(target)),
    }
}

/// Bold and struck through, which Markdown marks with two characters.
fn emphasis(text: &str) -> String {
    let text = doubled(text, '*');
    unescaped(&doubled(&text, '~'))
}

/// Doubles `mark` where two of it stand around words of one line.
fn doubled(text: &str, mark: char) -> String {
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark) {
        marked.push_str(before);
        let opens = !marked.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_whitespace);
        let closing = after.find(mark).filter(|at| opens && *at > 0);
        match closing {
            Some(end) => {
                let (inside, tail) = after.split_at(end);
                marked.push_str(&format!("{mark}{mark}{inside}{mark}{mark}"));
                rest = tail.get(mark.len_utf8()..).unwrap_or_default();
            }
            None => {
                marked.push(mark);
                rest = after;
            }
        }
    }
    marked.push_str(rest);
    marked
}

/// The characters as they were typed. What somebody typed as `<@…>` is no mention: there the entity stays.
fn unescaped(text: &str) -> String {
    let mut plain = text.replace("&lt;", "<").replace("&gt;", ">");
    if text.contains("&lt;@") {
        plain = plain.replace("<@", "&lt;@");
    }
    plain.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_becomes_markdown() {
        let cases = [
            ("plain", "plain"),
            ("<@U0LAN0Z89> please", "<@U0LAN0Z89> please"),
            ("<@U0LAN0Z89|bot> please", "<@U0LAN0Z89> please"),
            (
                "see <https://a.example/?a=1&amp;b=2|the page>",
                "see [the page](https://a.example/?a=1&b=2)",
            ),
            ("see <https://a.example>", "see https://a.example"),
            (
                "in <#C024BE7LR|general> <!here> <!subteam^S1|@team>",
                "in #general @here @team",
            ),
            ("*bold* _it_ ~gone~ 2*3*4", "**bold** _it_ ~~gone~~ 2*3*4"),
            ("a &lt; b &amp;&amp; c", "a < b && c"),
            ("typed &lt;@U1&gt;", "typed &lt;@U1>"),
            ("&gt; quoted <@U1>\nmine", "> quoted <@U1>\nmine"),
            ("`a *b*` c", "`a *b*` c"),
            (
                "see ```let a = 1 &lt; 2;\n*x*``` there",
                "see \n```\nlet a = 1 < 2;\n*x*\n```\n there",
            ),
            ("• one\n• two", "- one\n- two"),
            ("odd ` tick", "odd ` tick"),
        ];
        for (text, expected) in cases {
            assert_eq!(from_mrkdwn(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z<>!@#&|*_~`\n ;é]{0,80}") {
            from_mrkdwn(&text);
        }
    }
}
