//! Files that are whole or absent, whatever happens while they are written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Writes `content` to `path` with mode 0600: beside it first, then renamed over it, all of it synced.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes renames, creations and removals in `directory` survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates `directory` and what is above it, mode 0700.
pub(crate) fn create_private_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Reads a file that must not be longer than `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(content)
}

/// Reads a short text of the kernel or of the system; `None` when it is absent, empty or not text.
pub(crate) fn read_line(path: &Path) -> Option<String> {
    const LIMIT: u64 = 4096;
    let content = String::from_utf8(read_limited(path, LIMIT).ok()?).ok()?;
    // Texts of the device tree end with a zero byte.
    let line = content.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!line.is_empty()).then(|| line.to_owned())
}

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

/// `Ok(None)` where the file does not exist.
pub(crate) fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn written_files_are_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.pem");
        write_atomic(&path, b"a long first content").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

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

    #[test]
    fn too_long_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, [0; 11]).unwrap();
        assert!(read_limited(&path, 10).is_err());
        assert_eq!(read_limited(&path, 11).unwrap().len(), 11);
    }
}
