//! The text of a pairing token, as people hand it over.

/// A text that people wrote on any computer: in UTF-8, or in UTF-16 with a byte order mark, as a Windows shell's `>` makes
/// it. What is neither holds stand-ins, for whoever reads it to refuse.
pub(crate) fn decode(content: &[u8]) -> String {
    match content {
        [0xff, 0xfe, rest @ ..] => decode_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => decode_utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => String::from_utf8_lossy(rest).into_owned(),
    }
}

fn decode_utf16(content: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    /// U+FFFD, for half a unit at the end.
    const STAND_IN: u16 = 0xfffd;
    let units = content
        .chunks(2)
        .map(|pair| pair.try_into().map_or(STAND_IN, unit));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_computers_are_read() {
        let utf16 = |bom: &[u8], unit: fn(u16) -> [u8; 2]| {
            let units = "a\u{1f980}\r\n".encode_utf16().flat_map(unit);
            bom.iter().copied().chain(units).collect::<Vec<u8>>()
        };
        for content in [
            "a\u{1f980}\r\n".as_bytes(),
            b"\xef\xbb\xbfa\xf0\x9f\xa6\x80\r\n",
            &utf16(b"\xff\xfe", u16::to_le_bytes),
            &utf16(b"\xfe\xff", u16::to_be_bytes),
        ] {
            assert_eq!(decode(content), "a\u{1f980}\r\n");
        }
        assert_eq!(decode(b"\xff\xfea\0b"), "a\u{fffd}");
        assert_eq!(decode(b"\x80"), "\u{fffd}");
        assert_eq!(decode(b""), "");
    }
}
