//! Every provider's sign-in, as its manifest describes it: the authorize URLs of all in one file, for a person to read.

use patchbay::manifest::oauth2::{OAuth2, Part, PartKind};
use patchbay::oauth::authorize::{self, Question};
use patchbay::oauth::part;
use patchbay::registry;
use serde_json::{Map, Value, json};

const FILE: &str = "tests/data/authorize-urls.txt";

/// A value for each part that a connection must name.
fn sample(name: &str, part: &Part) -> Value {
    let host = |suffixes: &[String]| format!("acme{}", suffixes.first().map_or(".example.com", String::as_str));
    json!(match (part.one_of.first(), part.kind) {
        (Some(first), _) => first.clone(),
        (None, PartKind::Host) => host(&part.suffixes),
        (None, PartKind::Origin) => format!("https://{}", host(&part.suffixes)),
        (None, _) => name.replace('_', "-"),
    })
}

fn config(auth: &patchbay::manifest::auth::Auth) -> Value {
    let named = auth.parts().iter().filter(|(_, part)| part.default.is_none());
    Value::Object(
        named
            .map(|(name, part)| (name.clone(), sample(name, part)))
            .collect::<Map<_, _>>(),
    )
}

fn authorize_url(spec: &OAuth2, endpoint: &str) -> String {
    let question = Question {
        client_id: "CLIENT",
        redirect_uri: "https://hub.example.com/oauth/callback",
        scopes: &spec.scopes,
        state: "STATE",
        verifier: spec.pkce.then_some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        config: &Value::Null,
    };
    authorize::url(spec, endpoint, &question)
}

#[test]
fn the_authorize_url_of_each_provider_is_the_one_that_was_read() {
    let mut text = String::new();
    for entry in registry::all() {
        let auth = entry.manifest().unwrap().auth.as_ref();
        let Some((auth, spec)) = auth.and_then(|a| Some((a, a.oauth2.as_ref()?))) else {
            continue;
        };
        let Some(endpoint) = &spec.authorize_url else { continue };
        let endpoint = part::url(endpoint, auth.parts(), &config(auth), false).expect(entry.name);
        text.push_str(&format!("{}\n  {}\n", entry.name, authorize_url(spec, &endpoint)));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }

    assert_eq!(
        std::fs::read_to_string(FILE).unwrap_or_default(),
        text,
        "UPDATE=1 writes it anew"
    );
    assert!(text.lines().count() >= 80, "forty providers");
}

#[test]
fn every_url_of_every_provider_can_be_made_and_stays_with_it() {
    for entry in registry::all() {
        let manifest = entry.manifest().unwrap();
        let Some(auth) = &manifest.auth else { continue };
        let config = config(auth);
        let fill = |url: &str| part::url(&url.replace("{client_id}", "x"), auth.parts(), &config, false);
        let base = manifest.base_url.iter();
        let own = auth.oauth2.iter().flat_map(|spec| {
            let userinfo = spec.userinfo.as_ref().and_then(|u| u.url.as_ref());
            let revoke = spec.revoke.as_ref().map(|r| &r.url);
            let more = [spec.refresh_url.as_ref(), spec.device_url.as_ref(), userinfo, revoke];
            std::iter::once(&spec.token_url).chain(more.into_iter().flatten())
        });
        for url in base.chain(own) {
            fill(url).unwrap_or_else(|e| panic!("{}: {url}: {e}", entry.name));
        }
        for (name, part) in auth.parts() {
            for evil in [
                "evil.example",
                "evil.example/",
                "https://evil.example/x",
                "a@evil.example",
                "//evil.example",
                "a#",
                "a?b",
                "a\\b",
            ] {
                let mut spoilt = config.clone();
                spoilt[name] = json!(evil);
                let urls = auth
                    .oauth2
                    .iter()
                    .flat_map(|spec| [Some(&spec.token_url), spec.authorize_url.as_ref()])
                    .flatten();
                for url in urls
                    .chain(&manifest.base_url)
                    .filter(|url| url.contains(&format!("{{{name}}}")))
                {
                    let made = part::url(url, auth.parts(), &spoilt, false);
                    let own_server =
                        part.kind == PartKind::Origin && part.suffixes.is_empty() && evil.starts_with("https://");
                    let a_path = part.kind == PartKind::Segment && evil == "evil.example";
                    assert!(made.is_err() || own_server || a_path, "{}: {made:?}", entry.name);
                }
            }
        }
    }
}
