//! `schemas/manifest.schema.json` is what the types say. `UPDATE=1 cargo test --test schema` writes it anew.

const FILE: &str = "schemas/manifest.schema.json";

#[test]
fn editors_complete_from_what_the_hub_enforces() {
    let schema = schemars::schema_for!(patchbay::manifest::Manifest);
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";

    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all("schemas").unwrap();
        std::fs::write(FILE, &text).unwrap();
    }

    assert_eq!(
        std::fs::read_to_string(FILE).unwrap_or_default(),
        text,
        "run UPDATE=1 cargo test --test schema"
    );
}

#[test]
fn every_manifest_fits_it() {
    let schema = schemars::schema_for!(patchbay::manifest::Manifest).to_value();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for entry in patchbay::registry::all() {
        let manifest: serde_json::Value = serde_json::from_str(entry.text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&manifest)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", entry.name);
    }
}
