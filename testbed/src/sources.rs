//! The machine's Debian package sources, rewritten for another Debian release.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Error;

const RELEASES: [&str; 9] =
    ["buster", "bullseye", "bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing"];

/// Writes into `folder` the sources of the machine that are Debian's, for `release` instead of the machine's own.
pub(crate) fn write(folder: &Path, release: &str) -> Result<(), Error> {
    let mut written = 0;
    for (index, source) in files().into_iter().enumerate() {
        let text = fs::read_to_string(&source).map_err(Error::file("read", &source))?;
        let (text, extension) = match source.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => (stanzas(&text, release), "sources"),
            _ => (lines(&text, release), "list"),
        };
        if !text.is_empty() {
            let path = folder.join(format!("{index}.{extension}"));
            fs::write(&path, text).map_err(Error::file("write", path))?;
            written += 1;
        }
    }
    if written > 0 {
        return Ok(());
    }
    Err(Error::Unavailable {
        what: format!("a package source for Debian's {release}"),
        problem: "no source in /etc/apt/sources.list or /etc/apt/sources.list.d is a Debian release".to_owned(),
        advice: "work on Debian or add a Debian source".to_owned(),
    })
}

fn files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let folder = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    files.extend(folder.map(|entry| entry.path()));
    files.retain(|path| path.is_file() && path.extension().is_some_and(|end| end == "list" || end == "sources"));
    files.sort();
    files
}

/// `bookworm-security` becomes `<release>-security`; what is no Debian release becomes nothing.
fn suite(name: &str, release: &str) -> Option<String> {
    let (base, part) = name.split_once('-').unwrap_or((name, ""));
    match (RELEASES.contains(&base), part) {
        (true, "") => Some(release.to_owned()),
        (true, "updates" | "security") => Some(format!("{release}-{part}")),
        _ => None,
    }
}

/// One-line sources: `deb [options] address suite component…`.
fn lines(text: &str, release: &str) -> String {
    let rewritten = |line: &str| {
        let rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim_start();
        let options_end = if rest.starts_with('[') { rest.find(']')? + 1 } else { 0 };
        let (options, rest) = rest.split_at(options_end);
        let mut words = rest.split_whitespace();
        let (address, suite) = (words.next()?, suite(words.next()?, release)?);
        words.any(|component| component == "main").then(|| format!("deb {options} {address} {suite} main\n"))
    };
    text.lines().filter_map(rewritten).collect()
}

/// Sources in paragraphs of `Field: value`, where a value goes on in indented lines.
fn stanzas(text: &str, release: &str) -> String {
    let meant = text.lines().filter(|line| !line.starts_with('#'));
    let mut paragraphs = vec![String::new()];
    for line in meant {
        match (line.trim().is_empty(), paragraphs.last_mut()) {
            (false, Some(paragraph)) => {
                paragraph.push_str(line);
                paragraph.push('\n');
            }
            _ => paragraphs.push(String::new()),
        }
    }
    let rewritten: Vec<String> = paragraphs.iter().filter_map(|paragraph| stanza(paragraph, release)).collect();
    rewritten.join("\n")
}

fn stanza(paragraph: &str, release: &str) -> Option<String> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in paragraph.lines() {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => *value = format!("{value}\n{line}"),
            _ => {
                let (name, value) = line.split_once(':')?;
                fields.push((name.to_lowercase(), value.trim().to_owned()));
            }
        }
    }
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let has =
        |name: &str, word: &str| field(name).is_some_and(|value| value.split_whitespace().any(|w| w == word));
    if !has("types", "deb") || !has("components", "main") || has("enabled", "no") {
        return None;
    }
    let mut suites: Vec<String> =
        field("suites")?.split_whitespace().filter_map(|name| suite(name, release)).collect();
    suites.dedup();
    if suites.is_empty() {
        return None;
    }
    let replaced = ["types", "components", "suites"];
    let kept = fields.iter().filter(|(name, _)| !replaced.contains(&name.as_str()));
    let kept: String = kept.map(|(name, value)| format!("{name}: {value}\n")).collect();
    Some(format!("types: deb\ncomponents: main\nsuites: {}\n{kept}", suites.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::{lines, stanzas};

    #[test]
    fn one_line_sources() {
        let text = "# a comment\n\
            deb [signed-by=/a b.gpg arch=amd64] http://mirror/debian bookworm main contrib # why\n\
            deb http://mirror/debian-security bookworm-security main\n\
            deb-src http://mirror/debian bookworm main\n\
            deb http://mirror/debian bookworm-backports main\n\
            deb https://third.party bookworm stable\n\
            deb https://third.party cloud-sdk-bookworm main\n";
        assert_eq!(
            lines(text, "trixie"),
            "deb [signed-by=/a b.gpg arch=amd64] http://mirror/debian trixie main\n\
             deb  http://mirror/debian-security trixie-security main\n"
        );
    }

    #[test]
    fn sources_in_paragraphs() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://mirror/debian\n\
            Suites: bookworm bookworm-updates bookworm-backports\nComponents: main contrib\n\
            Signed-By:\n -----BEGIN PGP-----\n .\n abc\n\n\n\
            Types: deb\nURIs: https://third.party\nSuites: nodistro\nComponents: main\n\n\
            Enabled: no\nTypes: deb\nURIs: http://mirror/debian\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            stanzas(text, "trixie"),
            "types: deb\ncomponents: main\nsuites: trixie trixie-updates\nuris: http://mirror/debian\n\
             signed-by: \n -----BEGIN PGP-----\n .\n abc\n"
        );
    }
}
