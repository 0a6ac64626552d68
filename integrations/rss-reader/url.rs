//! Relative addresses (RFC 3986, 5.2), for what feeds hold. What is asked for is checked again before it is asked.

/// `reference` as an absolute address; as it is written where it cannot be one.
pub fn join(base: &str, reference: &str) -> String {
    let reference = reference.trim();
    let scheme = reference
        .split(['/', '?', '#'])
        .next()
        .is_some_and(|first| first.contains(':'));
    let Some((origin, path)) = split(base) else {
        return reference.to_owned();
    };
    if scheme {
        return reference.to_owned();
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let scheme = origin.split_once("//").map_or("https:", |(scheme, _)| scheme);
        return format!("{scheme}//{rest}");
    }
    let before = |end: char, text: &str| text.split(end).next().unwrap_or_default().to_owned();
    let bare = before('#', path);
    match reference.chars().next() {
        None => format!("{origin}{bare}"),
        Some('#') => format!("{origin}{bare}{reference}"),
        Some('?') => format!("{origin}{}{reference}", before('?', &bare)),
        Some('/') => format!("{origin}{}", without_dots(reference)),
        Some(_) => {
            let path = before('?', &bare);
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{origin}{}", without_dots(&format!("{folder}/{reference}")))
        }
    }
}

/// `https://host` and what follows it.
fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let end = scheme.len() + 3 + end;
    Some((url.get(..end)?, url.get(end..)?))
}

/// A path without `.` and `..` segments; a query or fragment stays as it is.
fn without_dots(path: &str) -> String {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let (path, tail) = path.split_at(end);
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.trim_start_matches('/').split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let folder = if path.ends_with("/.") || path.ends_with("/..") {
        "/"
    } else {
        ""
    };
    format!("/{}{folder}{tail}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn addresses_are_joined() {
        let base = "https://blog.example.com/en/feed.xml?page=1#top";
        let cases = [
            ("https://other.example.com/x", "https://other.example.com/x"),
            ("//cdn.example.com/x", "https://cdn.example.com/x"),
            ("/posts/1#c2", "https://blog.example.com/posts/1#c2"),
            ("posts/1?a=b/../c", "https://blog.example.com/en/posts/1?a=b/../c"),
            ("../posts/./1", "https://blog.example.com/posts/1"),
            ("../../../x", "https://blog.example.com/x"),
            ("?page=2", "https://blog.example.com/en/feed.xml?page=2"),
            ("#a", "https://blog.example.com/en/feed.xml?page=1#a"),
            ("", "https://blog.example.com/en/feed.xml?page=1"),
            ("mailto:a@example.com", "mailto:a@example.com"),
            ("tag:example.com,2026:1", "tag:example.com,2026:1"),
        ];
        for (reference, expected) in cases {
            assert_eq!(join(base, reference), expected, "{reference}");
        }
        assert_eq!(join("https://example.com", "x"), "https://example.com/x");
        assert_eq!(join("no address", "x"), "x");
    }
}
