//! A message that is too long for a service: in parts, or shortened with a note. Never dropped.

/// Most parts of one message; a program that talks without end is not to flood a thread.
const MAX_PARTS: usize = 10;

const NOTE: &str = "\n\n… (shortened)";

/// `message` in parts of at most `max` characters: one, which is shortened if it must be, or with `split` up to ten,
/// cut between paragraphs, lines or words where there are any. A code block that is cut is closed and opened again.
pub fn parts(message: &str, max: usize, split: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = message.to_owned();
    while split && parts.len() + 1 < MAX_PARTS && rest.chars().count() > max {
        let (part, left) = cut(&rest, max);
        parts.push(part);
        rest = left;
    }
    parts.push(shortened(&rest, max));
    parts
}

fn shortened(message: &str, max: usize) -> String {
    if message.chars().count() <= max {
        return message.to_owned();
    }
    let room = max.saturating_sub(NOTE.chars().count());
    let (mut part, _) = cut(message, room);
    part.push_str(NOTE);
    part
}

/// The longest good beginning of at most `max` characters, and the rest.
fn cut(text: &str, max: usize) -> (String, String) {
    const FENCE: &str = "\n```";
    let room = max.saturating_sub(FENCE.len()).max(1);
    let end = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
    let window = text.get(..end).unwrap_or(text);
    // A break that leaves less than half of the room used would make many small parts.
    let far = |at: usize| (at >= end / 2).then_some(at);
    let at = ["\n\n", "\n", " "].iter().find_map(|b| window.rfind(b).and_then(far));
    let (part, rest) = text.split_at(at.unwrap_or(end));
    let rest = rest.trim_start_matches('\n');
    let rest = if at.is_some() {
        rest.strip_prefix(' ').unwrap_or(rest)
    } else {
        rest
    };
    match open_fence(part) {
        Some(opening) if part.len() > opening.len() + FENCE.len() => {
            (format!("{part}{FENCE}"), format!("{opening}\n{rest}"))
        }
        _ => (part.to_owned(), rest.to_owned()),
    }
}

/// The line that opened the code block in which `text` ends.
fn open_fence(text: &str) -> Option<&str> {
    let mut open = None;
    for line in text.lines().filter(|l| l.trim_start().starts_with("```")) {
        open = if open.is_some() { None } else { Some(line) };
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_message_is_cut_where_it_reads_well() {
        let cases: [(&str, usize, &[&str]); 6] = [
            ("short", 20, &["short"]),
            (
                "one two three\n\nfour five six",
                20,
                &["one two three", "four five six"],
            ),
            ("one two three\nfour five six", 20, &["one two three", "four five six"]),
            (
                "alpha beta gamma delta epsilon",
                20,
                &["alpha beta", "gamma delta epsilon"],
            ),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", 20, &["aaaaaaaaaaaaaaaa", "aaaaaaaa"]),
            (
                "```rust\nlet a = 1;\nlet b = 2;\nlet c = 3;\n```",
                32,
                &[
                    "```rust\nlet a = 1;\n```",
                    "```rust\nlet b = 2;\n```",
                    "```rust\nlet c = 3;\n```",
                ],
            ),
        ];
        for (message, max, expected) in cases {
            assert_eq!(parts(message, max, true), expected, "{message:?}");
        }
    }

    #[test]
    fn what_is_not_split_ends_with_a_note() {
        let short = parts(&"word ".repeat(100), 100, false);

        assert_eq!(short.len(), 1);
        assert!(short[0].ends_with("word\n\n… (shortened)"), "{short:?}");
        assert!(short[0].chars().count() <= 100);
    }

    #[test]
    fn a_message_without_end_is_ten_parts() {
        let many = parts(&"word ".repeat(10_000), 100, true);

        assert_eq!(many.len(), 10);
        assert!(many[9].ends_with("(shortened)"));
    }

    proptest! {
        #[test]
        fn no_part_is_too_long_and_nothing_is_lost(text in "[a`\n é]{0,300}", max in 24usize..80) {
            let parts = parts(&text, max, true);
            for part in &parts {
                prop_assert!(part.chars().count() <= max, "{part:?} {max}");
            }
            if !parts.iter().any(|p| p.contains("(shortened)")) {
                // The line that opens a code block is repeated where the block is cut.
                let letters = |t: &str| t.matches('a').count();
                prop_assert!(parts.iter().map(|p| letters(p)).sum::<usize>() >= letters(&text));
            }
        }
    }
}
