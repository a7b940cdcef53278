//! Characters of a text that a person cannot see.

/// First character of the scripts that need joiners, from Arabic to the emoji. The scripts before it, Latin among them, do not use joiners.
const FIRST_JOINED: char = '\u{600}';

/// Whether a character is a control, changes the direction of text, separates lines or is otherwise invisible. Such a character is no part
/// of a name, and is never printed as it is. [`characters`] knows the one exception.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        // Letters and a symbol without a shape: a whole name can consist of them.
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// The characters of a text, each with whether it is hidden where it stands.
///
/// [`is_hidden`] decides, except for joiners (U+200C and U+200D). Persian, Sinhala, Hindi and emoji are not spelt right without joiners. So
/// a joiner may stand between two characters of a script that joins. There it changes the shape of its neighbours, and neither hides nor
/// reorders anything. Elsewhere, as in `ga\u{200d}te`, it would only make two names look the same. Unicode's profiles for identifiers (UAX
/// #31) draw this line with tables for each script. This function is coarser, because names of devices need not be unique: ids tell devices
/// apart.
pub fn characters(text: &str) -> impl Iterator<Item = (char, bool)> + '_ {
    let mut before = None;
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        let c = rest.next()?;
        let joins = matches!(c, '\u{200c}' | '\u{200d}')
            && before.is_some_and(is_joined)
            && rest.peek().copied().is_some_and(is_joined);
        before = Some(c);
        Some((c, is_hidden(c) && !joins))
    })
}

/// The text with `instead` in place of each hidden character.
#[must_use]
pub fn replace_hidden(text: &str, instead: char) -> String {
    characters(text)
        .map(|(c, hidden)| if hidden { instead } else { c })
        .collect()
}

fn is_joined(c: char) -> bool {
    c >= FIRST_JOINED && !is_hidden(c) && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joiners_stay_where_a_script_needs_them() {
        for text in [
            "می\u{200c}خواهم",
            "ශ\u{dca}\u{200d}රී",
            "क\u{94d}\u{200d}ष",
            "👩\u{200d}🔧 7",
            "🏳\u{fe0f}\u{200d}🌈",
        ] {
            assert_eq!(replace_hidden(text, '?'), text);
        }
    }

    #[test]
    fn letters_without_a_shape_are_hidden() {
        assert!(
            "\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}\u{34f}"
                .chars()
                .all(is_hidden)
        );
        assert!(!"한글 ⠁\u{fe0f}\u{301}".chars().any(is_hidden));
    }

    #[test]
    fn joiners_elsewhere_are_hidden() {
        for (text, shown) in [
            ("ga\u{200d}te", "ga?te"),
            ("ü\u{200c}ü", "ü?ü"),
            ("\u{200d}👩", "?👩"),
            ("👩\u{200d}", "👩?"),
            ("👩\u{200d} 🔧", "👩? 🔧"),
            ("👩\u{200d}\u{200c}🔧", "👩??🔧"),
            ("👩\u{200d}\u{202e}🔧", "👩??🔧"),
            ("\u{3000}\u{200d}\u{3000}", "\u{3000}?\u{3000}"),
        ] {
            assert_eq!(replace_hidden(text, '?'), shown, "{text:?}");
        }
    }
}
