//! `/problems/{code}`: what an error code means, for people. The text is that of `docs/errors.md`.

use super::Call;
use crate::error::{Code, Error, Result};
use crate::http::Response;

const PAGE: &str = include_str!("../../docs/errors.md");

/// The section of a code.
pub fn show(call: &Call<'_>) -> Result<Response> {
    let unknown = || Error::NotFound("problem of this code; docs/errors.md lists them".into());
    let code = Code::named(call.param("code")).ok_or_else(unknown)?;
    let text = section(code).ok_or_else(unknown)?;
    let page = format!("{} ({}): {}\n\n{text}\n", code.as_str(), code.status(), code.title());
    let mut response = Response::text(200, &page);
    response.headers.set("cache-control", "public, max-age=300");
    Ok(response)
}

/// What stands under the heading of this code, up to the next one.
pub fn section(code: Code) -> Option<&'static str> {
    let mut sections = PAGE.split("\n## ").skip(1);
    let text = sections.find_map(|section| section.strip_prefix(code.as_str())?.strip_prefix('\n'))?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_section_and_its_line_in_the_table() {
        for code in Code::ALL.iter().copied() {
            let text = section(code).unwrap_or_else(|| panic!("docs/errors.md has no section {}", code.as_str()));
            assert!(text.len() > 60, "{}: what happened, why, what to do", code.as_str());
            assert!(text.contains("Do:"), "{}: what to do", code.as_str());
            let (name, anchor) = (code.as_str(), code.as_str().to_ascii_lowercase());
            let retries = if code.retries() { "yes" } else { "no" };
            let line = format!("| [`{name}`](#{anchor}) | {} | {retries} |", code.status());
            assert!(PAGE.contains(&line), "docs/errors.md lacks: {line}");
        }
        let headings = PAGE.split("\n## ").skip(1).filter_map(|s| s.split('\n').next());
        for heading in headings {
            assert!(Code::named(heading).is_some(), "`{heading}` is no code");
        }
    }
}
