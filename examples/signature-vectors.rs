//! Runs a file of signature vectors: `cargo run --example signature-vectors -- FILE`. Prints each disagreement with its
//! id, and `N passed, N failed` at the end; fails if one failed.
//!
//! With `--verdicts --tolerance SECONDS` before the file it says instead what becomes of each request if it comes now, at
//! a Worker, for a connection of that tolerance: one JSON object of `accepted`, `answered:STATUS` or `refused:STATUS` by
//! id.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a program for the command line: it has the machine's clock, and JSON indexing makes members"
)]

#[path = "../tests/support/vectors.rs"]
mod vectors;

use serde_json::{Map, Value};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use vectors::Verdict;

const USAGE: &str = "usage: cargo run --example signature-vectors -- [--verdicts --tolerance SECONDS] FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--verdicts", "--tolerance", seconds, path] => seconds
            .parse()
            .map_err(|_| USAGE.to_owned())
            .and_then(|tolerance| verdicts(&read(path)?, tolerance)),
        [path] if !path.starts_with("--") => read(path).map(|entries| check(&entries)),
        _ => Err(USAGE.to_owned()),
    };
    outcome.unwrap_or_else(|problem| {
        eprintln!("{problem}");
        ExitCode::FAILURE
    })
}

fn read(path: &str) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("{path}: {e}"))
}

/// Runs each entry with its own clock.
fn check(entries: &[Value]) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for entry in entries {
        match vectors::run(entry) {
            Ok(()) => passed += 1,
            Err(difference) => {
                failed += 1;
                println!("{}: {difference}", id(entry));
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Says what becomes of each request if it comes now, for a connection of this tolerance.
fn verdicts(entries: &[Value], tolerance_s: u32) -> Result<ExitCode, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|e| e.to_string())?;
    let is_request = |entry: &&Value| ["request", "handshake"].map(Some).contains(&entry["kind"].as_str());
    let mut found = Map::new();
    for entry in entries.iter().filter(is_request) {
        let mut entry = entry.clone();
        entry["now_unix"] = now.as_secs().into();
        entry["options"]["tolerance_s"] = tolerance_s.into();
        let verdict = match vectors::receive(&entry, true).map_err(|e| format!("{}: {e}", id(&entry)))? {
            Verdict::Accepted => "accepted".to_owned(),
            Verdict::Answered(reply, _) => format!("answered:{}", reply.status),
            Verdict::Refused(_, reply) => format!("refused:{}", reply.status),
        };
        found.insert(id(&entry).to_owned(), verdict.into());
    }
    println!("{}", Value::Object(found));
    Ok(ExitCode::SUCCESS)
}

fn id(entry: &Value) -> &str {
    entry["id"].as_str().unwrap_or("(no id)")
}
