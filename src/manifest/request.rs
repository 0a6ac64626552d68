//! A request as templates: where it goes and what it carries.

use crate::error::{Error, Result};
use crate::http::Method;
use crate::template::{JsonTemplate, Template};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A request as templates. At most one of `json`, `form`, `multipart`, `graphql` and `raw` is its body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct RequestTemplate {
    /// The method.
    pub method: Method,
    /// The path on the base URL; values are percent-encoded, with the filter `path` segment by segment.
    #[serde(default)]
    pub path: Option<Template>,
    /// An absolute URL instead of `path`. A template that is one expression gives the whole URL; in any other, values
    /// are percent-encoded. A request with a credential goes to the manifest's `hosts`, the base URL's host and hosts
    /// that the connection names, nowhere else.
    #[serde(default)]
    pub url: Option<Template>,
    /// Query parameters; null and empty ones are left out, a list repeats its parameter.
    #[serde(default)]
    pub query: BTreeMap<String, Template>,
    /// Headers; empty ones are left out.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// A JSON body.
    #[serde(default)]
    pub json: Option<JsonTemplate>,
    /// A body of `application/x-www-form-urlencoded`: an object, whose nested members become `a[b]=…`.
    #[serde(default)]
    pub form: Option<JsonTemplate>,
    /// How a list in `form` is written.
    #[serde(default)]
    pub form_lists: FormLists,
    /// A body of `multipart/form-data`, part by part.
    #[serde(default)]
    pub multipart: Option<Vec<Part>>,
    /// A GraphQL request, sent as JSON.
    #[serde(default)]
    pub graphql: Option<GraphQl>,
    /// A body of any other type.
    #[serde(default)]
    pub raw: Option<Raw>,
}

/// How a list in a form is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum FormLists {
    /// `a[0]=x&a[1]=y`
    #[default]
    Indexed,
    /// `a[]=x&a[]=y`
    Brackets,
    /// `a=x&a=y`
    Repeated,
}

/// One part of a multipart body. A part whose value is null is left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Part {
    /// The form field.
    pub name: String,
    /// Its content.
    pub value: Template,
    /// The file's name; makes the part a file.
    #[serde(default)]
    pub filename: Option<Template>,
    /// The part's media type.
    #[serde(default)]
    pub content_type: Option<Template>,
    /// Whether `value` is base64 of the bytes.
    #[serde(default)]
    pub base64: bool,
}

/// A GraphQL request (<https://graphql.github.io/graphql-over-http/draft/#sec-POST>).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct GraphQl {
    /// The document as it is sent; it holds no expressions, values go into `variables`.
    pub query: String,
    /// Its variables.
    #[serde(default)]
    pub variables: Option<JsonTemplate>,
    /// Which operation of the document.
    #[serde(default)]
    pub operation_name: Option<String>,
}

/// A body of any type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub struct Raw {
    /// Its media type.
    pub content_type: Template,
    /// The body.
    pub body: Template,
    /// Whether `body` is base64 of the bytes.
    #[serde(default)]
    pub base64: bool,
}

impl RequestTemplate {
    /// Compiles every expression and checks what types cannot say; an error names the place by JSON pointer.
    pub fn check(&self, at: &str) -> Result<()> {
        if self.path.is_some() == self.url.is_some() {
            return Err(Error::validation(format!("{at}: needs either `path` or `url`")));
        }
        let bodies = [
            self.json.is_some(),
            self.form.is_some(),
            self.multipart.is_some(),
            self.graphql.is_some(),
            self.raw.is_some(),
        ];
        if bodies.iter().filter(|there| **there).count() > 1 {
            return Err(Error::validation(format!("{at}: has more than one body")));
        }
        named(self.path.as_ref(), &format!("{at}/path"))?;
        named(self.url.as_ref(), &format!("{at}/url"))?;
        for (name, template) in &self.query {
            named(Some(template), &format!("{at}/query/{name}"))?;
        }
        for (name, template) in &self.headers {
            named(Some(template), &format!("{at}/headers/{name}"))?;
        }
        self.check_body(at)
    }

    fn check_body(&self, at: &str) -> Result<()> {
        for (body, name) in [(&self.json, "json"), (&self.form, "form")] {
            if let Some(body) = body {
                body.check(&format!("{at}/{name}"))?;
            }
        }
        for (index, part) in self.multipart.iter().flatten().enumerate() {
            let at = format!("{at}/multipart/{index}");
            named(Some(&part.value), &format!("{at}/value"))?;
            named(part.filename.as_ref(), &format!("{at}/filename"))?;
            named(part.content_type.as_ref(), &format!("{at}/content_type"))?;
        }
        if let Some(variables) = self.graphql.as_ref().and_then(|g| g.variables.as_ref()) {
            variables.check(&format!("{at}/graphql/variables"))?;
        }
        if let Some(raw) = &self.raw {
            named(Some(&raw.content_type), &format!("{at}/raw/content_type"))?;
            named(Some(&raw.body), &format!("{at}/raw/body"))?;
        }
        Ok(())
    }
}

/// Compiles a template, if there is one; the error names its place.
pub(super) fn named(template: Option<&Template>, at: &str) -> Result<()> {
    let Some(template) = template else { return Ok(()) };
    template.check().map_err(|e| Error::validation(format!("{at}: {e}")))
}
