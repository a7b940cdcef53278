//! The file format of RAUC's manifests: GLib's key file.

use std::collections::BTreeMap;

/// Longest line, in bytes. A `[meta.*]` value may hold a bit of text.
const MAX_LINE: usize = 64 * 1024;

/// Most sections, and most keys in one.
const MAX_ENTRIES: usize = 1024;

/// Sections by name, each with its keys.
pub(super) type Ini = BTreeMap<String, BTreeMap<String, String>>;

/// Why a text is no key file, with the number of the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct IniError {
    line: usize,
    problem: &'static str,
}

/// Reads a key file. Stricter than GLib: no section and no key may appear twice.
pub(super) fn parse(text: &str) -> Result<Ini, IniError> {
    let mut ini = Ini::new();
    let mut section: Option<&mut BTreeMap<String, String>> = None;
    let mut sections = 0;
    for (index, line) in text.lines().enumerate() {
        let problem = |problem| IniError {
            line: index + 1,
            problem,
        };
        if line.len() > MAX_LINE {
            return Err(problem("longer than 65536 bytes"));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name
                .strip_suffix(']')
                .filter(|name| !name.is_empty() && !name.contains(['[', ']']))
                .ok_or_else(|| problem("a section is a name in brackets"))?;
            sections += 1;
            if sections > MAX_ENTRIES {
                return Err(problem("more than 1024 sections"));
            }
            if ini.contains_key(name) {
                return Err(problem("a section that appears twice"));
            }
            section = Some(ini.entry(name.to_owned()).or_default());
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| problem("neither a section nor a key with a value"))?;
        let section = section
            .as_deref_mut()
            .ok_or_else(|| problem("a key before the first section"))?;
        let key = key.trim_end();
        if key.is_empty() {
            return Err(problem("a value without a key"));
        }
        if section.len() >= MAX_ENTRIES {
            return Err(problem("more than 1024 keys in a section"));
        }
        let value = unescape(value.trim_start()).ok_or_else(|| problem("an unknown escape sequence"))?;
        if section.insert(key.to_owned(), value).is_some() {
            return Err(problem("a key that appears twice"));
        }
    }
    Ok(ini)
}

fn unescape(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        plain.push(match characters.next()? {
            's' => ' ',
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '\\' => '\\',
            // The separator of lists, which keeps its escape.
            ';' => ';',
            _ => return None,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sections_keys_comments_and_escapes() {
        let ini = parse("# a\n\n[update]\ncompatible=a b\n version = 1\\s\\\\ \n[image.rootfs]\n").unwrap();
        assert_eq!(ini["update"]["compatible"], "a b");
        assert_eq!(ini["update"]["version"], "1 \\");
        assert!(ini["image.rootfs"].is_empty());
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for text in [
            "a=b",
            "[a",
            "[]",
            "[a]\n[a]",
            "[a]\nb",
            "[a]\n=b",
            "[a]\nb=1\nb=2",
            "[a]\nb=\\x",
            "[a]\nb=\\",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "(\\[a\\]\n)?[\\[\\]=\\\\a-c#\n ]{0,64}") {
            let _ = parse(&text);
        }
    }
}
