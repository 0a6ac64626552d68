//! What the compiler cannot hold: the order of who may use whom, and names that must be there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

/// From the outside in. A module may use those of later layers and of its own.
const LAYERS: [&[&str]; 7] = [
    &["edge"],
    &["api"],
    &["hub"],
    &[
        "webhook",
        "event",
        "credential",
        "oauth",
        "action",
        "poll",
        "delivery",
        "settings",
    ],
    &["registry", "manifest", "template", "store", "markup", "sdk"],
    &["ports", "trace", "problem", "schema"],
    &["http", "secret", "time", "interval", "id", "error"],
];

/// Uses against the order, each with its reason.
const ALLOWED: [(&str, &str, &str); 4] = [
    (
        "store",
        "credential",
        "a row's secrets are sealed where the row is made",
    ),
    ("store", "event", "what is stored is a draft"),
    ("store", "poll", "what is stored is how far a poll has come"),
    ("id", "ports", "ids are made of the host's clock and randomness"),
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|l| l.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no layer"))
}

#[test]
fn no_module_uses_one_further_out() {
    let mut wrong = Vec::new();
    for file in walk("src") {
        let module = file
            .trim_start_matches("src/")
            .split(['/', '.'])
            .next()
            .unwrap()
            .to_owned();
        if module == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("crate::") {
            let used: String = text[at + 7..].chars().take_while(|c| c.is_ascii_lowercase()).collect();
            let known = LAYERS.iter().any(|l| l.contains(&used.as_str()));
            let excused = ALLOWED.iter().any(|(from, to, _)| *from == module && *to == used);
            if known && layer(&used) < layer(&module) && !excused {
                wrong.push(format!("{file} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn walk(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path().to_string_lossy().into_owned();
        match std::fs::metadata(&path).unwrap().is_dir() {
            true => files.extend(walk(&path)),
            false if path.ends_with(".rs") => files.push(path),
            false => {}
        }
    }
    files
}

/// The engine knows no service: what one needs is a concept of the manifest.
#[test]
fn no_service_is_named_in_the_engine() {
    let services: Vec<String> = std::fs::read_dir("integrations")
        .unwrap()
        .map(|f| f.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.len() > 4 && name != "standard-webhooks" && name != "custom")
        .collect();
    let mut wrong = Vec::new();
    for file in walk("src") {
        // Verifiers that are named after a vendor's own scheme, chosen by the manifest alone.
        if file.starts_with("src/webhook/named") || file.ends_with("tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
            if let Some(name) = services.iter().find(|s| words.contains(&s.as_str())) {
                wrong.push(format!("{file} names {name}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_script_that_the_documents_name_is_there() {
    let package: serde_json::Value = serde_json::from_str(&std::fs::read_to_string("package.json").unwrap()).unwrap();
    let documents = std::fs::read_dir("docs").unwrap().map(|f| f.unwrap().path());
    let documents = documents.chain(["README.md".into(), "CONTRIBUTING.md".into()]);
    let mut named = 0;
    let mut missing = Vec::new();
    for document in documents.filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(&document).unwrap();
        for rest in text.split("npm run").skip(1) {
            let rest = rest.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '-');
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap();
            named += 1;
            if package.pointer(&format!("/scripts/{name}")).is_none() {
                missing.push(format!("{}: npm run {name}", document.display()));
            }
        }
    }
    assert!(missing.is_empty() && named > 20, "{missing:#?} of {named}");
}
