//! Every known answer, natively, each with its own clock: `tests/data/signature-vectors.json`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may fail loudly"
)]

#[path = "support/vectors.rs"]
mod vectors;

use serde_json::{Value, json};
use vectors::Verdict;

fn entries() -> Vec<Value> {
    serde_json::from_str(include_str!("data/signature-vectors.json")).expect("the vectors are JSON")
}

/// Fails with every difference at once.
fn all_agree(results: impl Iterator<Item = (String, vectors::Outcome)>) {
    let differences: Vec<String> = results
        .filter_map(|(id, r)| r.err().map(|e| format!("{id}: {e}")))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn id(entry: &Value) -> String {
    entry["id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_vector_agrees() {
    all_agree(entries().iter().map(|entry| (id(entry), vectors::run(entry))));
}

#[test]
fn repeated_fields_joined_as_a_worker_sees_them_are_refused_all_the_same() {
    let repeated = entries().into_iter().filter(|entry| {
        let names = entry["headers"].as_array().expect("a list").iter();
        let mut names: Vec<String> = names
            .map(|h| h[0].as_str().unwrap_or_default().to_lowercase())
            .collect();
        let all = names.len();
        names.sort();
        names.dedup();
        names.len() < all
    });
    let results: Vec<_> = repeated
        .map(|entry| (id(&entry), vectors::run_request(&entry, true)))
        .collect();

    assert!(!results.is_empty());
    all_agree(results.into_iter());
}

/// Bad input of every kind against every service, made from its own vectors: never accepted, never a panic, and never
/// taken for a fault of ours.
#[test]
fn bad_input_is_refused_for_every_service() {
    let long = "a".repeat(1 << 20);
    let bad = [
        "",
        "=",
        ",",
        ", ",
        "v1=",
        "sha256=zz",
        "\u{e9}",
        "a.b.c",
        "Bearer ..",
        "-1",
        "99999999999999999999",
        &long,
    ];
    for entry in entries()
        .iter()
        .filter(|e| e["kind"] == "request" && e["valid"] == true)
    {
        for index in 0..entry["headers"].as_array().expect("a list").len() {
            let name = entry["headers"][index][0].as_str().unwrap_or_default().to_lowercase();
            if !is_covered(entry, &name) {
                continue;
            }
            for value in bad {
                let mut forged = entry.clone();
                forged["headers"][index][1] = json!(value);
                refused(&forged, &format!("{name}: {}", value.get(..20).unwrap_or(value)));
            }
        }
    }
}

/// Whether a header is part of what is verified: taking it away makes the delivery refused.
fn is_covered(entry: &Value, name: &str) -> bool {
    let mut without = entry.clone();
    let headers = without["headers"].as_array_mut().expect("a list");
    headers.retain(|h| !h[0].as_str().unwrap_or_default().eq_ignore_ascii_case(name));
    matches!(vectors::receive(&without, false), Ok(Verdict::Refused(..)))
}

#[test]
fn no_secret_is_503_and_an_empty_one_too() {
    for entry in entries()
        .iter()
        .filter(|e| e["valid"] == true && e["kind"] == "request" && e["secret"].is_string())
    {
        for secret in [json!(""), Value::Null] {
            let mut unset = entry.clone();
            unset["secret"] = secret;
            match vectors::receive(&unset, false) {
                Ok(Verdict::Refused(rejection, _)) => assert_eq!(rejection.cause(), "no_secret", "{}", entry["id"]),
                _ => panic!("{} is accepted without a secret", entry["id"]),
            }
        }
    }
}

fn refused(entry: &Value, what: &str) {
    match vectors::receive(entry, false) {
        Ok(Verdict::Refused(rejection, reply)) => {
            assert!(!rejection.is_our_fault(), "{} ({what}): {rejection}", entry["id"]);
            assert!(
                matches!(reply.status, 400 | 401),
                "{} ({what}): {}",
                entry["id"],
                reply.status
            );
        }
        Ok(_) => panic!("{} is accepted ({what})", entry["id"]),
        Err(problem) => panic!("{} ({what}): {problem}", entry["id"]),
    }
}

/// A token whose canonical request is that of its request; only refusals of it are known answers.
#[test]
fn a_token_with_a_canonical_request_is_accepted_in_time() {
    let entries = entries();
    let mut entry = entries
        .iter()
        .find(|e| e["id"] == "atlassian-connect/expired")
        .expect("it is there")
        .clone();
    entry["now_unix"] = json!(1_700_000_010);

    assert!(matches!(vectors::receive(&entry, false), Ok(Verdict::Accepted)));
    entry["url"] = json!(format!("{}&x=1", entry["url"].as_str().unwrap_or_default()));
    refused(&entry, "another query");
}

/// What every manifest's webhook part must meet, whatever its service.
#[test]
fn manifests_hold_to_the_rules() {
    use patchbay::manifest::webhook::{Scheme, Verification};
    use patchbay::webhook::named;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("integrations");
    let folders = std::fs::read_dir(root).expect("the folder is there");
    let names = folders.filter_map(|f| f.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| entries().iter().any(|e| e["service"] == name.as_str())) {
        let spec = vectors::manifest(&name).unwrap_or_else(|e| panic!("{e}"));
        assert!(spec.max_body_bytes.is_some(), "{name} caps no body");
        let schemes: Vec<&Scheme> = match &spec.verification {
            Verification::One(scheme) => vec![scheme],
            Verification::Variants(variants) => variants.iter().map(|v| &v.scheme).collect(),
        };
        assert!(!schemes.is_empty(), "{name} verifies nothing");
        for scheme in schemes {
            if let Scheme::Named(spec) = scheme {
                assert!(named::NAMES.contains(&spec.name.as_str()), "{name} names no scheme");
            }
        }
        for rule in spec.handshakes.iter().filter(|rule| !rule.signed) {
            assert!(rule.confirm.is_none(), "{name} would fetch for a stranger");
        }
    }
}
