//! Which texts ask for the agent: `tests/data/mentions.json`, in Markdown and in services' own markup.

use patchbay::event::mention::mentions;
use patchbay::markup::{from_adf, from_mrkdwn, from_wiki};
use serde_json::Value;

#[test]
fn every_text_asks_or_does_not_as_the_table_says() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("data/mentions.json")).unwrap();
    let mut wrong = Vec::new();
    for row in &rows {
        let text = row.get("text").unwrap();
        let markdown = match row.get("form").and_then(Value::as_str) {
            Some("adf") => from_adf(text),
            Some("mrkdwn") => from_mrkdwn(text.as_str().unwrap()),
            Some("wiki") => from_wiki(text.as_str().unwrap()),
            _ => text.as_str().unwrap().to_owned(),
        };
        let own = row.get("names").and_then(Value::as_array).into_iter().flatten();
        let mut names: Vec<&str> = own.filter_map(Value::as_str).collect();
        names.push("@patchbay");
        if Some(mentions(&markdown, &names)) != row.get("asks").and_then(Value::as_bool) {
            wrong.push(format!("{row}: {markdown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows.len() >= 40, "a table of {}", rows.len());
}
