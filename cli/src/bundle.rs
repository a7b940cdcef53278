//! Update bundles.

use std::{
    fs::File,
    io::{self, Read, Seek as _},
    path::Path,
};

use homeport_api::Bundle;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest as _, Sha256};

use crate::{
    api_path::ApiPath,
    args::BundleCommand,
    client::Client,
    error::{Error, Result},
    find, human,
    output::{Output, Table, Tone, cell},
    stored_login::StoredLogin,
};

const HASH_BLOCK: usize = 256 * 1024;
/// Digits of an id that are shown in tables.
const SHORT_ID: usize = 12;

/// `homeport bundle`
pub(crate) fn run(command: Option<BundleCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(BundleCommand::List) {
        BundleCommand::Upload { file } => show(&upload(&client, &file, output)?, output),
        BundleCommand::List => list(&client.list::<Bundle>(&bundles())?, output),
        BundleCommand::Show { bundle } => show(&find::bundle(&client, &bundle)?, output),
        BundleCommand::Delete { bundle, force } => {
            let bundle = find::bundle(&client, &bundle)?;
            let mut path = bundles().join(&bundle.id);
            if force {
                path = path.query("force", true);
            }
            client.delete(&path)?;
            output.note(format_args!(
                "Bundle {} ({}) is deleted.",
                bundle.version,
                short(&bundle.id)
            ));
            Ok(())
        }
    }
}

/// Uploads a file unless the server has it.
#[expect(clippy::disallowed_methods, reason = "the bar's messages are constants")]
pub(crate) fn upload(client: &Client, path: &Path, output: Output) -> Result<Bundle> {
    let unreadable = |source| Error::File {
        what: "cannot read the bundle",
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a file",
        )));
    }
    let length = metadata.len();
    let bar = progress_bar(length, output);
    bar.set_message("reading");
    let id = hash(&mut bar.wrap_read(&mut file)).map_err(unreadable)?;
    match client.get(&bundles().join(&id)) {
        Ok(bundle) => {
            bar.finish_and_clear();
            output.note("The server has this bundle already.");
            return Ok(bundle);
        }
        Err(Error::Problem(problem)) if problem.status == 404 => {}
        Err(error) => return Err(error),
    }
    file.rewind().map_err(unreadable)?;
    bar.reset();
    bar.set_message("uploading");
    let uploaded = client.upload(
        &bundles().query("sha256", &id),
        bar.wrap_read(file.take(length)),
        length,
    );
    bar.finish_and_clear();
    uploaded
}

/// The part of an id that is enough for people.
pub(crate) fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

fn list(bundles: &[Bundle], output: Output) -> Result<()> {
    if output.json {
        return output.json(&bundles);
    }
    let mut table = Table::new(&[
        "ID",
        "VERSION",
        "COMPATIBLE",
        "SIZE",
        "UPLOADED",
        "BY",
        "DESCRIPTION",
    ]);
    for bundle in bundles {
        table.row([
            (short(&bundle.id).to_owned(), Tone::Faint),
            (bundle.version.clone(), Tone::Strong),
            cell(&bundle.compatible),
            cell(human::size(bundle.size)),
            cell(human::relative(Some(bundle.created_ms))),
            cell(&bundle.created_by),
            cell(&bundle.description),
        ]);
    }
    output.table(&table, "No bundles. Upload one with `homeport bundle upload`.")
}

fn show(bundle: &Bundle, output: Output) -> Result<()> {
    if output.json {
        return output.json(bundle);
    }
    output.pairs(&[
        ("id", bundle.id.clone()),
        ("version", bundle.version.clone()),
        ("compatible", bundle.compatible.clone()),
        ("description", bundle.description.clone()),
        ("build", bundle.build.clone()),
        ("format", bundle.format.clone()),
        (
            "size",
            format!("{} ({} bytes)", human::size(bundle.size), bundle.size),
        ),
        ("manifest hash", bundle.manifest_hash.clone()),
        (
            "uploaded",
            format!("{} by {}", human::absolute(bundle.created_ms), bundle.created_by),
        ),
    ])?;
    if bundle.images.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let mut table = Table::new(&["IMAGE", "FILE", "SIZE", "ADAPTIVE"]);
    for image in &bundle.images {
        table.row([
            cell(&image.slot_class),
            cell(&image.filename),
            cell(human::size(image.size)),
            cell(image.adaptive.join(", ")),
        ]);
    }
    output.table(&table, "")
}

fn bundles() -> ApiPath {
    ApiPath::new("bundles")
}

fn hash(input: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; HASH_BLOCK];
    loop {
        match input.read(&mut block)? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            length => hasher.update(&block[..length]),
        }
    }
}

fn progress_bar(length: u64, output: Output) -> ProgressBar {
    let target = if output.bars {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let template = "{msg:10} {wide_bar:.cyan/dim} {decimal_bytes:>9} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}";
    // The template is a constant that the tests draw with.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_bundle_id() {
        assert_eq!(
            hash(&mut &b"abc"[..]).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn short_ids_are_taken_from_any_text() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("abc"), "abc");
    }
}
