//! Finds the integrations: writes the registry's table.
//!
//! A `handler.rs` in the folder becomes a module of the registry, by its path.
//!
//! Every folder in `integrations/` with a `manifest.json` becomes an entry, so that a service is added by adding its
//! folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    println!("cargo:rerun-if-changed=integrations");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("integrations");
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&root)? {
        let folder = entry?;
        if folder.path().join("manifest.json").is_file() {
            names.push(folder.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut entries = String::new();
    let mut handlers = String::new();
    for name in &names {
        write_entry(&root.join(name), name, &mut entries, &mut handlers)?;
    }
    let table = format!(
        "{handlers}\n/// Every built-in integration, sorted by name.\nstatic ENTRIES: [Entry; {}] = [\n{entries}];\n",
        names.len()
    );
    fs::write(out.join("registry.rs"), table)?;
    write_document(&out)?;
    Ok(())
}

/// The OpenAPI document without its white space.
fn write_document(out: &Path) -> Outcome<()> {
    let file = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("schemas/openapi.json");
    println!("cargo:rerun-if-changed={}", file.display());
    let document: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    fs::write(out.join("openapi.json"), document.to_string())?;
    Ok(())
}

fn write_entry(folder: &Path, name: &str, entries: &mut String, handlers: &mut String) -> Outcome<()> {
    let file = folder.join("manifest.json");
    println!("cargo:rerun-if-changed={}", file.display());
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file)?).map_err(|e| format!("{}: {e}", file.display()))?;
    if manifest.get("name").and_then(|n| n.as_str()) != Some(name) {
        return Err(format!("{}: `name` must be the folder's name", file.display()).into());
    }
    let module = name.replace('-', "_");
    let handler = folder.join("handler.rs");
    let mut instance = "None".to_owned();
    if handler.is_file() {
        println!("cargo:rerun-if-changed={}", handler.display());
        writeln!(
            handlers,
            "#[path = {:?}]\nmod {module}_handler;",
            handler.display().to_string()
        )?;
        instance = format!("Some(&{module}_handler::INTEGRATION)");
    }
    writeln!(
        entries,
        "    Entry {{\n        name: {name:?},\n        text: include_str!({:?}),\n        manifest: OnceLock::new(),\n        handler: {instance},\n    }},",
        file.display().to_string()
    )?;
    Ok(())
}
