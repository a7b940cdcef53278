//! Packs the web page into the program: every file of `web/dist`, plain and compressed, with its hash.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// Files that are packed already.
const COMPRESSED: [&str; 3] = ["woff2", "png", "jpg"];

fn main() -> io::Result<()> {
    let dist = Path::new("web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    if !dist.join("index.html").is_file() {
        println!(
            "cargo::error=the web page is not built yet (server/web/dist is missing): run `./just web` first"
        );
        return Ok(());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = Vec::new();
    collect(dist, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (index, path) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.strip_prefix(dist).unwrap_or(path).display().to_string();
        let content = fs::read(path)?;
        let hash: String = Sha256::digest(&content)[..16]
            .iter()
            .fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        let plain = out.join(format!("{index}.plain"));
        fs::write(&plain, &content)?;
        let gzip = compress(path, &content)?.map(|bytes| (out.join(format!("{index}.gzip")), bytes));
        let gzip = match gzip {
            Some((path, bytes)) => {
                fs::write(&path, bytes)?;
                format!("Some(include_bytes!({:?}))", path.display().to_string())
            }
            None => "None".to_owned(),
        };
        let plain = plain.display().to_string();
        writeln!(
            table,
            "    File {{ name: {name:?}, hash: {hash:?}, plain: include_bytes!({plain:?}), gzip: {gzip} }},"
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    fs::write(out.join("web.rs"), table)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", directory.display());
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// `None` when it is not worth it.
fn compress(path: &Path, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension.is_some_and(|extension| COMPRESSED.contains(&extension)) {
        return Ok(None);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    let compressed = encoder.finish()?;
    Ok((compressed.len() < content.len()).then_some(compressed))
}
