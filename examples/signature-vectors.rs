//! Runs a file of signature vectors: `cargo run --example signature-vectors -- FILE`. Prints each disagreement with its
//! id, and `N passed, N failed` at the end; fails if one failed.

#[path = "../tests/support/vectors.rs"]
mod vectors;

use serde_json::Value;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: cargo run --example signature-vectors -- FILE");
        return ExitCode::FAILURE;
    };
    let entries = std::fs::read_to_string(&path)
        .map_err(|e| e.to_string())
        .and_then(|text| serde_json::from_str::<Vec<Value>>(&text).map_err(|e| e.to_string()));
    let entries = match entries {
        Ok(entries) => entries,
        Err(problem) => {
            eprintln!("{path}: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for entry in &entries {
        match vectors::run(entry) {
            Ok(()) => passed += 1,
            Err(difference) => {
                failed += 1;
                println!("{}: {difference}", entry["id"].as_str().unwrap_or("(no id)"));
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
