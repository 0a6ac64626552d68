//! The web addresses in a text.

/// Most that are read from one text.
const MAX_LINKS: usize = 20;

/// The http and https addresses in `text`, each once, in order. What closes a sentence or a bracket around an address
/// is not part of it.
pub fn links(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let starts = text
        .match_indices("http")
        .map(|(at, _)| text.get(at..).unwrap_or_default());
    for from in starts.filter(|t| t.starts_with("http://") || t.starts_with("https://")) {
        let ends = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '|' | '`' | '[' | ']');
        let link = from.split(ends).next().unwrap_or_default();
        let link = trimmed(link);
        let host = link.split_once("://").map_or("", |(_, rest)| rest);
        if !host.is_empty() && !found.iter().any(|l| l == link) && found.len() < MAX_LINKS {
            found.push(link.to_owned());
        }
    }
    found
}

/// Without the punctuation after it; a `)` belongs to it only if a `(` in it does.
fn trimmed(link: &str) -> &str {
    let mut link = link;
    while let Some(last) = link.chars().next_back() {
        let unpaired = last == ')' && link.matches('(').count() < link.matches(')').count();
        if !unpaired && !matches!(last, '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '~') {
            break;
        }
        link = link.get(..link.len() - last.len_utf8()).unwrap_or_default();
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_without_what_stands_around_them() {
        let cases: [(&str, &[&str]); 7] = [
            ("nothing, not even httpx or http://", &[]),
            ("see https://a.example/b.", &["https://a.example/b"]),
            (
                "[b](https://a.example/b) (http://c.example)",
                &["https://a.example/b", "http://c.example"],
            ),
            ("https://a.example/w_(x)", &["https://a.example/w_(x)"]),
            (
                "<https://a.example/b|the page> \"https://c.example\"",
                &["https://a.example/b", "https://c.example"],
            ),
            ("https://a.example https://a.example!", &["https://a.example"]),
            ("**https://a.example/é?x=1&y=2**", &["https://a.example/é?x=1&y=2"]),
        ];
        for (text, expected) in cases {
            assert_eq!(links(text), expected, "{text}");
        }
    }
}
