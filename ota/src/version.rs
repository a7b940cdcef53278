//! Which of two versions is older.
//!
//! Versions of images are free text. Each is read, by itself, as a list of tokens, and the lists are compared token by
//! token, so that all forms have one order:
//!
//! - Semantic Versioning 2.0.0, with one to three numbers, an optional leading `v`, and numbers of any length, so that
//!   dates work: `2.0.0-rc.1` is before `2.0.0`, and what follows a `+` does not count. Unlike there, digits inside a text
//!   of a pre-release are a number: `rc9` is before `rc10`.
//! - `git describe`: `1.2.0-5-gabc1234` is five commits after the tag `1.2.0`, so between it and `1.2.1`. The hash says
//!   nothing about age.
//! - All others as RPM does: runs of digits as numbers, runs of letters as text, everything else only separates, `~` sorts
//!   before nothing at all.

use std::cmp::Ordering;

/// Fewest hexadecimal digits of a hash in `git describe`.
const SHORTEST_HASH: usize = 4;

/// In ascending order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token<'a> {
    /// What follows leads up to what stands before it.
    PreRelease,
    End,
    /// Commits since the tag, and whether there were changes besides.
    Commits(Number<'a>, bool),
    PreNumber(Number<'a>),
    PreText(&'a str),
    Text(&'a str),
    Number(Number<'a>),
}

/// How many digits without leading zeros, and the digits: no number is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number<'a>(usize, &'a str);

pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    tokens(left).cmp(&tokens(right))
}

fn tokens(version: &str) -> Vec<Token<'_>> {
    let version = version.trim();
    let version = version
        .strip_prefix('v')
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or(version);
    let (version, mut commits) = describe(version);
    let (mut tokens, mut rest) = core(version);
    let mut is_pre_release = false;
    if (1..=3).contains(&tokens.len()) && (rest.is_empty() || rest.starts_with(['-', '+'])) {
        rest = rest.split_once('+').map_or(rest, |(rest, _build)| rest);
        if commits.is_none() {
            (rest, commits) = describe(rest);
        }
        is_pre_release = !rest.is_empty();
    }
    // 1.0 is 1.0.0.
    while tokens.last() == Some(&Token::Number(Number::new("0"))) {
        tokens.pop();
    }
    tokens.extend(is_pre_release.then_some(Token::PreRelease));
    loop {
        rest = rest.trim_start_matches(is_separator);
        if rest.is_empty() {
            break;
        }
        if let Some(after) = rest.strip_prefix('~') {
            rest = after;
            is_pre_release = true;
            tokens.push(Token::PreRelease);
            continue;
        }
        let run = segment(rest);
        rest = &rest[run.len()..];
        tokens.push(match (run.starts_with(is_digit), is_pre_release) {
            (true, true) => Token::PreNumber(Number::new(run)),
            (false, true) => Token::PreText(run),
            (true, false) => Token::Number(Number::new(run)),
            (false, false) => Token::Text(run),
        });
    }
    tokens.extend(commits);
    tokens.push(Token::End);
    tokens
}

/// Cuts off what `git describe` puts behind a tag: `-<commits>-g<hash>`, and `-dirty`.
fn describe(version: &str) -> (&str, Option<Token<'_>>) {
    let (clean, is_dirty) = match version.strip_suffix("-dirty") {
        Some(clean) => (clean, true),
        None => (version, false),
    };
    let suffix = clean.rsplit_once("-g").and_then(|(rest, hash)| {
        let (tag, commits) = rest.rsplit_once('-')?;
        let is_hash = hash.len() >= SHORTEST_HASH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hash && !commits.is_empty() && commits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| (tag, Number::new(commits)))
    });
    let (tag, commits) = suffix.unwrap_or((clean, Number::new("0")));
    // With --long, the tag itself has no commits since.
    let is_tag = commits == Number::new("0") && !is_dirty;
    (tag, (!is_tag).then_some(Token::Commits(commits, is_dirty)))
}

/// The numbers with dots between them that a version begins with, and the rest.
fn core(mut version: &str) -> (Vec<Token<'_>>, &str) {
    let mut numbers = Vec::new();
    loop {
        let next = match numbers.len() {
            0 => version,
            _ => version.strip_prefix('.').unwrap_or_default(),
        };
        if !next.starts_with(is_digit) {
            return (numbers, version);
        }
        let number = segment(next);
        numbers.push(Token::Number(Number::new(number)));
        version = &next[number.len()..];
    }
}

/// The run of digits or of letters that `text` starts with.
fn segment(text: &str) -> &str {
    let digits = text.starts_with(is_digit);
    let end = text
        .find(|c: char| is_digit(c) != digits || is_separator(c) || c == '~')
        .unwrap_or(text.len());
    &text[..end]
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_separator(c: char) -> bool {
    !c.is_alphanumeric() && c != '~'
}

// === impl Number ===

impl<'a> Number<'a> {
    fn new(digits: &'a str) -> Self {
        let digits = digits.trim_start_matches('0');
        Self(digits.len(), digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_what_people_call_versions() {
        let older_to_newer = [
            ("1.0.0", "1.0.1"),
            ("1.9", "1.10"),
            ("1.0.0-rc.1", "1.0.0"),
            ("1.0.0-rc.2", "1.0.0-rc.10"),
            ("1.0.0-alpha", "1.0.0-alpha.1"),
            ("1.0.0-1", "1.0.0-alpha"),
            ("v1.2.3", "1.2.4"),
            ("2026.09.30", "2026.11.21"),
            ("20260930120000", "20261121205200"),
            ("99999999999999999999998", "99999999999999999999999"),
            ("1.2.3.4", "1.2.3.5"),
            ("1.2.3", "1.2.3.1"),
            ("5.1~rc1_final", "5.1_final"),
            ("r12", "r13"),
            ("kirkstone-4", "scarthgap-1"),
            ("", "1"),
            // As `git describe` writes them.
            ("v1.2.3", "v1.2.3-5-gabc1234"),
            ("2.8.0-dev-203-g1111111", "2.8.0-dev-1777-g4b740dc9f"),
            ("1.2.3-9-gaaaaaaa", "1.2.3-10-gbbbbbbb"),
            ("1.2.3-5-gabc1234", "1.2.4"),
            ("1.2.3-5-gabc1234", "1.2.3.1"),
            ("1.2.3-5-gabc1234", "1.2.4-rc1"),
            ("1.2.3-rc1-5-gabc1234", "1.2.3"),
            ("1.2.3-rc1-5-gabc1234", "1.2.3-rc2"),
            ("1.2.3", "1.2.3-dirty"),
            ("1.2.3-dirty", "1.2.3-1-gabc1234"),
            ("1.2.3-1-gabc1234", "1.2.3-1-gabc1234-dirty"),
            ("release-5", "release-5-3-gabc1234"),
            ("release-5-3-gabc1234", "release-5.1"),
            // Not of that form: a pre-release, as Semantic Versioning has it.
            ("1.2.3-5-gabc", "1.2.3"),
            ("1.2.3-5-gabcdefgh", "1.2.3"),
            ("1.2.3-x-gabc1234", "1.2.3"),
            // Numbers inside the text of a pre-release.
            ("1.0.0-rc9", "1.0.0-rc10"),
            ("1.0.0-rc10", "1.0.0"),
            ("1.0.0-beta.2", "1.0.0-beta.10"),
            ("1.0.0-beta9.1", "1.0.0-beta10"),
            ("1.0-rc1", "1.0.0-rc2"),
        ];
        for (older, newer) in older_to_newer {
            assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
        }
    }

    #[test]
    fn knows_equal_versions() {
        for (left, right) in [
            ("1.0", "1.0.0"),
            ("1.0.0+a", "1.0.0+b"),
            ("01.2", "1.02"),
            ("a_1", "a.1"),
            ("v1.2.3-0-gabc1234", "1.2.3"),
            ("1.2.3-5-gabc1234", "1.2.3-5-gdef5678"),
            ("1.2.3-5-gabc1234+x", "1.2.3-5-gabc1234"),
            ("1.2.3+x-5-gabc1234", "1.2.3-5-gabc1234"),
        ] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} = {right}");
        }
    }

    /// Texts of all forms, near to each other.
    const VERSION: &str =
        "v?([0-2]{1,2}\\.){0,3}[0-2]?([-.~+_]?(rc|[ab]|[0-2]{1,2})){0,3}(-[0-2]-gabc[0-2])?(-dirty)?";

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(4096))]

        #[test]
        fn is_antisymmetric_and_never_panics(left in "\\PC{0,12}", right in "\\PC{0,12}") {
            proptest::prop_assert_eq!(compare(&left, &right), compare(&right, &left).reverse());
        }

        #[test]
        fn is_one_order(versions in proptest::collection::vec(VERSION, 3)) {
            let [a, b, c] = versions.as_slice() else { unreachable!() };
            proptest::prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b).is_le() && compare(b, c).is_le() {
                proptest::prop_assert!(compare(a, c).is_le(), "{} <= {} <= {}", a, b, c);
            }
        }
    }
}
