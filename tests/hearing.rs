//! When a message is heard a second time because it was edited, and how it shows that one was heard, at each service.

#![expect(clippy::indexing_slicing, reason = "tests fail loudly; JSON indexing gives null")]

mod support;

use patchbay::http::Response;
use patchbay::time::DAY;
use serde_json::{Value, json};
use support::scene::*;
use support::talk::Talk;

/// What a service sends of a message: with this id and text, and of an edit with the text before it.
type Form = fn(&mut Value, i64, &str, Option<&str>);

const FORMS: [(&str, &str, Form); 5] = [
    ("GitHub", "@patchbay", |body, id, text, before| {
        body["comment"]["id"] = json!(id);
        body["comment"]["body"] = json!(text);
        if let Some(before) = before {
            body["action"] = json!("edited");
            body["changes"] = json!({"body": {"from": before}});
        }
    }),
    ("GitLab", "@patchbay", |body, id, text, before| {
        let note = &mut body["object_attributes"];
        note["id"] = json!(id);
        note["note"] = json!(text);
        note["action"] = json!(if before.is_some() { "update" } else { "create" });
    }),
    ("Slack", "<@U0LAN0Z89>", |body, id, text, before| {
        let ts = format!("{}.000100", 1_769_860_793 + id);
        let message = json!({"type": "message", "user": "U061F7AUR", "text": text, "ts": ts});
        let event = &mut body["event"];
        event["ts"] = json!(ts);
        event["text"] = json!(text);
        if !text.contains('<') {
            event["type"] = json!("message");
            event["channel_type"] = json!("channel");
        }
        if let Some(before) = before {
            let old = json!({"type": "message", "user": "U061F7AUR", "text": before, "ts": ts});
            *event = json!({"type": "message", "subtype": "message_changed", "channel": "C0LAN2Q65", "channel_type": "channel",
                "message": message, "previous_message": old, "hidden": true, "ts": "1769860999.000200"});
        }
    }),
    ("Jira", "[~accountid:5b1:bot]", |body, id, text, before| {
        body["comment"]["id"] = json!(id.to_string());
        body["comment"]["body"] = json!(text);
        if before.is_some() {
            body["webhookEvent"] = json!("comment_updated");
        }
    }),
    ("Linear", "@patchbay", |body, id, text, before| {
        body["data"]["id"] = json!(format!("comment-{id}"));
        body["data"]["body"] = json!(text);
        if let Some(before) = before {
            body["action"] = json!("update");
            body["updatedFrom"] = json!({"updatedAt": "2026-01-31T11:00:00.000Z", "body": before});
        }
    }),
];

#[test]
fn an_edit_asks_if_it_brings_the_mention_in_and_what_asked_before_does_not_ask_again() {
    for (name, mention, form) in FORMS {
        let talk = Talk::of(name);
        let sent = std::cell::Cell::new(0);
        let send = |message: i64, text: &str, before: Option<&str>| {
            let mut payload = talk.scene.mention();
            form(&mut payload, message, text, before);
            sent.set(sent.get() + 1);
            talk.deliver(&format!("d-{}", sent.get()), &payload);
            talk.heard()
        };
        let asks = format!("{mention} look");

        assert_eq!(send(1, "please look", None), 0, "{name}: no mention");
        assert_eq!(
            send(1, "please, please look", Some("please look")),
            0,
            "{name}: still none"
        );
        // The second of two quick edits is heard as well.
        assert_eq!(
            send(1, &asks, Some("please, please look")),
            1,
            "{name}: the mention comes in"
        );
        let more = format!("{asks} at the left one");
        assert_eq!(send(1, &more, Some(&asks)), 1, "{name}: it asked already");
        assert_eq!(send(2, &asks, None), 2, "{name}: another message");
        assert_eq!(send(2, &more, Some(&asks)), 2, "{name}: it asked when it was written");
        talk.say(1, json!({"status": "completed", "message": "Done"}));
        assert_eq!(send(2, &asks, Some(&more)), 2, "{name}: it was answered");
        assert_eq!(send(3, &asks, None), 3, "{name}: the next one");
    }
}

#[test]
fn a_message_whose_dispatch_is_repeated_is_heard_all_the_same() {
    for name in ["GitLab", "Jira"] {
        let talk = Talk::of(name);
        let payload = talk.scene.mention();
        dies_after(&talk.world, AGENT, Ok(Response::empty(204)));
        let _ = talk.scene.deliver(&talk.world, &talk.path, "d-1", &payload);
        let ids: Vec<String> = talk
            .world
            .queue
            .waiting
            .borrow()
            .iter()
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            support::run(talk.world.hub().wake(&id));
        }
        comes_back(&talk.world);

        assert_eq!(talk.heard(), 2, "{name}: the same letter again");
        let kinds: Vec<Value> = letters(&talk.world).into_iter().map(|l| l["type"].clone()).collect();
        assert_eq!(kinds, ["conversation.started", "conversation.started"], "{name}");
    }
}

#[test]
fn an_acknowledgement_in_words_becomes_the_progress_and_the_result() {
    let talk = Talk::of("Jira");
    talk.deliver("d-1", &talk.scene.mention());
    assert_eq!(talk.kept.said(), ["👀 I am on it."]);

    talk.say(0, json!({"status": "progress", "message": "10 %"}));
    assert_eq!(talk.kept.said(), ["10 %"]);
    talk.say(0, json!({"status": "completed", "message": "Done"}));
    assert_eq!(talk.kept.said(), ["Done"]);
}

#[test]
fn each_message_of_a_turn_is_acknowledged_and_the_answer_stands_after_the_last() {
    let talk = Talk::of("Jira");
    talk.deliver("d-1", &talk.scene.mention());
    talk.say(0, json!({"status": "progress", "message": "Which one?"}));
    let mut follows = talk.scene.mention();
    follows["comment"]["id"] = json!("10102");
    follows["comment"]["body"] = json!("The left one.");
    talk.deliver("d-2", &follows);
    assert_eq!(talk.kept.said(), ["Which one?", "👀 I am on it."]);

    talk.say(1, json!({"status": "progress", "message": "50 %"}));
    talk.say(1, json!({"status": "completed", "message": "Done"}));
    assert_eq!(talk.kept.said(), ["Which one?", "Done"]);
}

#[test]
fn an_agent_that_cannot_be_reached_is_told_of_in_the_acknowledgement() {
    let talk = Talk::of("Jira");
    for _ in 0..10 {
        talk.world.net.once(AGENT, |_| Ok(Response::empty(500)));
    }
    talk.deliver("d-1", &talk.scene.mention());
    for _ in 0..10 {
        talk.world.wait(2 * DAY);
        sweep(&talk.world);
    }

    let said = talk.kept.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("I could not be reached"), "{said:?}");
}

#[test]
fn a_task_of_a_project_asks_as_an_issue_does_and_an_epic_of_a_group_nobody() {
    for (project, letters) in [(true, 1), (false, 0)] {
        let talk = Talk::of("GitLab");
        let mut body = talk.scene.mention();
        body["object_kind"] = json!("work_item");
        body["event_type"] = json!("work_item");
        body["object_attributes"] = json!({"id": 92, "iid": 17, "title": "Printer on fire", "type": "Task", "action": "open",
            "description": "@patchbay look", "url": "https://gitlab.com/example/demo/-/work_items/17"});
        body["labels"] = json!([]);
        body.as_object_mut().unwrap().remove("issue");
        if !project {
            body.as_object_mut().unwrap().remove("project");
        }
        talk.deliver("d-1", &body);

        assert_eq!(talk.heard(), letters);
        if project {
            talk.say(0, json!({"status": "completed", "message": "Done"}));
            assert_eq!(talk.kept.said(), ["Done"]);
        }
    }
}
