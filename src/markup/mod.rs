//! Markup of services, to and from Markdown: what an agent writes and reads. Pure functions of texts and documents.

mod adf;
mod from_adf;
mod from_mrkdwn;
mod from_wiki;
mod mrkdwn;

pub use adf::adf;
pub use from_adf::from_adf;
pub use from_mrkdwn::from_mrkdwn;
pub use from_wiki::from_wiki;
pub use mrkdwn::mrkdwn;

use pulldown_cmark::{Event, Options, Parser, TextMergeStream};

/// Reads Markdown as agents write it: CommonMark with tables, strikethrough and task lists.
fn parser(text: &str) -> impl Iterator<Item = Event<'_>> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    TextMergeStream::new(Parser::new_ext(text, options))
}

/// Whether an address may become a link: what runs code or names a local file is shown as text.
fn is_link(url: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|s| {
        url.get(..s.len())
            .is_some_and(|beginning| beginning.eq_ignore_ascii_case(s))
    })
}
