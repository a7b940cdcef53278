//! BER to DER (ITU-T X.690), for signatures from programs other than openssl: with indefinite lengths, and with strings in pieces. RAUC
//! reads them too. DER input stays as it is.

/// Deepest nesting of elements that is accepted. A CMS structure with certificates has some twenty levels.
const MAX_DEPTH: usize = 64;

/// Most bytes of a length.
const MAX_LENGTH_BYTES: usize = 4;

const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
const END_OF_CONTENTS: [u8; 2] = [0, 0];

/// Converts the one element in `ber` to DER. `None` if it is not BER, or is nested too deeply.
///
/// The result is longer than the input by at most a few bytes for each element of indefinite length.
pub(super) fn to_der(ber: &[u8]) -> Option<Vec<u8>> {
    let mut der = Vec::with_capacity(ber.len());
    let rest = element(ber, &mut der, MAX_DEPTH)?;
    rest.is_empty().then_some(der)
}

/// Appends the first element of `ber` to `der`, and returns the bytes behind it.
fn element<'a>(ber: &'a [u8], der: &mut Vec<u8>, depth: usize) -> Option<&'a [u8]> {
    let depth = depth.checked_sub(1)?;
    let (&tag, rest) = ber.split_first()?;
    // Tags above 30 take more bytes; nothing in CMS has one.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, mut rest) = length(rest)?;
    if tag & CONSTRUCTED == 0 {
        let (content, rest) = rest.split_at_checked(length?)?;
        append(der, tag, content);
        return Some(rest);
    }
    let mut content = Vec::new();
    if let Some(length) = length {
        let (mut inner, behind) = rest.split_at_checked(length)?;
        while !inner.is_empty() {
            inner = element(inner, &mut content, depth)?;
        }
        rest = behind;
    } else {
        while !rest.starts_with(&END_OF_CONTENTS) {
            rest = element(rest, &mut content, depth)?;
        }
        rest = &rest[END_OF_CONTENTS.len()..];
    }
    if tag == OCTET_STRING | CONSTRUCTED {
        append(der, OCTET_STRING, &joined(&content)?);
    } else {
        append(der, tag, &content);
    }
    Some(rest)
}

/// The length of an element, `None` if an end mark ends its content instead, and the bytes behind.
fn length(ber: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (&first, rest) = ber.split_first()?;
    match first {
        0..=0x7f => Some((Some(usize::from(first)), rest)),
        0x80 => Some((None, rest)),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if bytes.len() > MAX_LENGTH_BYTES {
                return None;
            }
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            Some((Some(length), rest))
        }
    }
}

/// The content of a string in pieces, which are already strings in DER.
fn joined(mut pieces: &[u8]) -> Option<Vec<u8>> {
    let mut string = Vec::with_capacity(pieces.len());
    while let Some((tag, rest)) = pieces.split_first() {
        let (length, rest) = length(rest)?;
        let (piece, rest) = rest.split_at_checked(length?)?;
        if *tag != OCTET_STRING {
            return None;
        }
        string.extend_from_slice(piece);
        pieces = rest;
    }
    Some(string)
}

fn append(der: &mut Vec<u8>, tag: u8, content: &[u8]) {
    der.push(tag);
    let bytes = content.len().to_be_bytes();
    let significant = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len() - 1);
    let bytes = &bytes[significant..];
    if content.len() > 0x7f {
        // At most eight bytes.
        der.push(0x80 | u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    }
    der.extend_from_slice(bytes);
    der.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An element: a string, or one that holds others.
    #[derive(Debug, Clone)]
    enum Tree {
        Leaf(Vec<u8>),
        Node(Vec<Tree>),
    }

    impl Tree {
        fn any() -> impl Strategy<Value = Self> {
            let leaf = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Self::Leaf);
            leaf.prop_recursive(5, 40, 6, |inner| {
                proptest::collection::vec(inner, 0..6).prop_map(Self::Node)
            })
        }

        fn der(&self, der: &mut Vec<u8>) {
            match self {
                Self::Leaf(content) => append(der, OCTET_STRING, content),
                Self::Node(children) => {
                    let mut content = Vec::new();
                    for child in children {
                        child.der(&mut content);
                    }
                    append(der, 0x30, &content);
                }
            }
        }

        /// With indefinite lengths, and strings in pieces of `piece` bytes.
        fn ber(&self, ber: &mut Vec<u8>, piece: usize) {
            match self {
                Self::Leaf(content) => {
                    ber.extend([OCTET_STRING | CONSTRUCTED, 0x80]);
                    content
                        .chunks(piece)
                        .for_each(|piece| append(ber, OCTET_STRING, piece));
                }
                Self::Node(children) => {
                    ber.extend([0x30, 0x80]);
                    for child in children {
                        child.ber(ber, piece);
                    }
                }
            }
            ber.extend(END_OF_CONTENTS);
        }
    }

    proptest! {
        #[test]
        fn all_forms_of_an_element_become_one(tree in Tree::any(), piece in 1..400_usize) {
            let (mut der, mut ber) = (Vec::new(), Vec::new());
            tree.der(&mut der);
            tree.ber(&mut ber, piece);
            prop_assert_eq!(to_der(&ber), Some(der.clone()));
            prop_assert_eq!(to_der(&der), Some(der));
        }

        #[test]
        fn nonsense_is_refused_or_becomes_something_stable(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(der) = to_der(&bytes) {
                prop_assert_eq!(to_der(&der), Some(der.clone()));
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = [0x30, 0x80].repeat(100_000);
        assert_eq!(to_der(&deep), None);
    }
}
