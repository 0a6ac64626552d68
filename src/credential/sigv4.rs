//! AWS Signature Version 4 over a request, in its `Authorization` header.
//!
//! Follows "Create a signed AWS API request" in the AWS Identity and Access Management guide.

use crate::error::{Error, Result};
use crate::http::{Request, form_decode, percent_encode};
use crate::secret::Secret;
use crate::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What signs.
#[derive(Debug)]
pub struct Keys {
    /// The access key's id.
    pub access_key: Secret,
    /// Its secret.
    pub secret_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// The region, e.g. `us-east-1`.
    pub region: String,
    /// The service's signing name, e.g. `ses`.
    pub service: String,
}

/// Adds date, token and signature to a request. It must not change any more afterwards.
pub fn sign(keys: &Keys, s3: bool, request: &mut Request, now: Timestamp) -> Result<()> {
    let url = request.url.clone();
    let (authority, path, query) =
        split(&url).ok_or_else(|| Error::Internal("a URL without a host is signed".into()))?;
    let stamp = stamp(now);
    let date = stamp.get(..8).unwrap_or_default();
    let body_hash = hex::encode(Sha256::digest(&request.body));
    request.headers.set("x-amz-date", &stamp);
    if s3 {
        request.headers.set("x-amz-content-sha256", &body_hash);
    }
    if let Some(token) = &keys.session_token {
        request.headers.set("x-amz-security-token", token.expose());
    }
    let (headers, names) = canonical_headers(request, authority);
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{body_hash}",
        request.method.as_str(),
        canonical_path(path, s3),
        canonical_query(query),
    );
    let scope = format!("{date}/{}/{}/aws4_request", keys.region, keys.service);
    let digest = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
    let mut key = format!("AWS4{}", keys.secret_key.expose()).into_bytes();
    for part in [date, &keys.region, &keys.service, "aws4_request"] {
        key = mac(&key, part)?;
    }
    let signature = hex::encode(mac(&key, &to_sign)?);
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.access_key.expose()
    );
    request.headers.set("authorization", &value);
    Ok(())
}

/// Authority, path and query of an absolute URL.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split('#').next()?;
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let at = before.find('/').unwrap_or(before.len());
    let (authority, path) = before.split_at_checked(at)?;
    Some((authority, if path.is_empty() { "/" } else { path }, query))
}

/// `20150830T123600Z`
fn stamp(now: Timestamp) -> String {
    let text = now.rfc3339();
    let plain: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{}Z", plain.split('.').next().unwrap_or_default())
}

/// Each segment as RFC 3986 escapes it, of all services but S3 twice, since the path comes escaped.
fn canonical_path(path: &str, s3: bool) -> String {
    let segment = |s: &str| {
        if s3 {
            percent_encode(&decoded(s))
        } else {
            percent_encode(s)
        }
    };
    let all: Vec<String> = path.split('/').map(segment).collect();
    all.join("/")
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_encode(&form_decode(name)), percent_encode(&form_decode(value)))
        })
        .collect();
    pairs.sort();
    let all: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    all.join("&")
}

/// The headers that are signed, each with its line end, and their names. Those that a proxy may change are left out.
fn canonical_headers(request: &Request, authority: &str) -> (String, String) {
    let signed = |name: &str| name.starts_with("x-amz-") || matches!(name, "content-type" | "content-md5");
    let mut fields: Vec<(&str, String)> = vec![("host", authority.trim_end_matches(":443").to_owned())];
    for (name, value) in request.headers.iter().filter(|(name, _)| signed(name)) {
        let single: Vec<&str> = value.split_ascii_whitespace().collect();
        fields.push((name, single.join(" ")));
    }
    fields.sort();
    let lines: String = fields.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
    let names: Vec<&str> = fields.iter().map(|(n, _)| *n).collect();
    (lines, names.join(";"))
}

fn mac(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::Internal("HMAC refused its key".into()))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Headers, Method};

    fn keys() -> Keys {
        Keys {
            access_key: Secret::new("AKIDEXAMPLE"),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            region: "us-east-1".into(),
            service: "service".into(),
        }
    }

    fn request(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Request {
        Request {
            method,
            url: url.to_owned(),
            headers: Headers::from_pairs(headers.iter().copied()),
            body: body.as_bytes().to_vec(),
        }
    }

    fn signature(request: &Request) -> &str {
        request
            .headers
            .get("authorization")
            .unwrap()
            .rsplit('=')
            .next()
            .unwrap()
    }

    /// Cases of AWS's published suite of test vectors (`aws-sig-v4-test-suite`), by their names there.
    #[test]
    fn the_published_vectors_come_out() {
        let at = Timestamp::parse_rfc3339("2015-08-30T12:36:00Z").unwrap();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        type Case<'a> = (&'a str, Method, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 5] = [
            (
                "get-vanilla",
                Method::Get,
                "/",
                &[],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                Method::Get,
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-utf8-query",
                Method::Get,
                "/?%E1%88%B4=bar",
                &[],
                "",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "post-vanilla",
                Method::Post,
                "/",
                &[],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                Method::Post,
                "/",
                &form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (name, method, path, headers, body, expected) in cases {
            let mut request = request(method, &format!("https://example.amazonaws.com{path}"), headers, body);

            sign(&keys(), false, &mut request, at).unwrap();

            assert_eq!(signature(&request), expected, "{name}");
        }
    }

    /// The example of a GET with a range in the Amazon S3 API reference, without its `range`, which is not signed here.
    #[test]
    fn s3_signs_the_hash_of_the_body_and_the_path_as_it_is() {
        let at = Timestamp::parse_rfc3339("2013-05-24T00:00:00Z").unwrap();
        let keys = Keys {
            access_key: Secret::new("AKIAIOSFODNN7EXAMPLE"),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            region: "us-east-1".into(),
            service: "s3".into(),
        };
        let mut lifecycle = request(
            Method::Get,
            "https://examplebucket.s3.amazonaws.com/?lifecycle",
            &[],
            "",
        );

        sign(&keys, true, &mut lifecycle, at).unwrap();

        assert_eq!(
            lifecycle.headers.get("authorization"),
            Some(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
                 Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
            )
        );
        assert_eq!(canonical_path("/a%20b/c%2Fd", true), "/a%20b/c%2Fd");
        assert_eq!(canonical_path("/a%20b", false), "/a%2520b");
    }
}
