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
/// Where a bundle is that belongs to no project.
const EVERY_PROJECT: &str = "every project";
/// Digits of an id that are shown in tables.
const SHORT_ID: usize = 12;

/// `homeport bundle`
pub(crate) fn run(command: Option<BundleCommand>, output: Output) -> Result<()> {
    let client = StoredLogin::client()?;
    match command.unwrap_or(BundleCommand::List) {
        BundleCommand::Upload { file, project } => {
            let project = project.as_deref();
            let is_there = |bundle: &Bundle| bundle.project.as_deref() == project;
            let uploaded = upload(&client, &file, project, is_there, output)?;
            show(&[uploaded], output)
        }
        BundleCommand::List => list(&client.list::<Bundle>(&bundles())?, output),
        BundleCommand::Show { bundle } => show(&find::bundles(&client, &bundle)?, output),
        BundleCommand::Delete {
            bundle,
            project,
            none,
            force,
        } => {
            let wanted = if none { Some("") } else { project.as_deref() };
            let bundle = in_one_project(find::bundles(&client, &bundle)?, wanted)?;
            // Also when it is in none: the server would choose a project itself.
            let project = bundle.project.as_deref().unwrap_or_default();
            let mut path = bundles().join(&bundle.id).query("project", project);
            if force {
                path = path.query("force", true);
            }
            client.delete(&path)?;
            let from = match &bundle.project {
                Some(project) => format!(" from project {project}"),
                None => String::new(),
            };
            output.note(format_args!(
                "Bundle {} ({}) is deleted{from}.",
                bundle.version,
                short(&bundle.id)
            ));
            Ok(())
        }
    }
}

/// Uploads a file for a target's project, unless the server has it where the target can get it.
pub(crate) fn upload_for(
    client: &Client,
    path: &Path,
    project: Option<&str>,
    output: Output,
) -> Result<Bundle> {
    upload(
        client,
        path,
        project,
        |bundle| find::is_for(bundle, project),
        output,
    )
}

/// Uploads a file unless one of the server's bundles with the same content `is_there`.
#[expect(clippy::disallowed_methods, reason = "the bar's messages are constants")]
fn upload(
    client: &Client,
    path: &Path,
    project: Option<&str>,
    is_there: impl Fn(&Bundle) -> bool,
    output: Output,
) -> Result<Bundle> {
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
    let mut known = client.list::<Bundle>(&bundles())?.into_iter();
    if let Some(bundle) = known.find(|bundle| bundle.id == id && is_there(bundle)) {
        bar.finish_and_clear();
        output.note("The server has this bundle already.");
        return Ok(bundle);
    }
    file.rewind().map_err(unreadable)?;
    bar.reset();
    bar.set_message("uploading");
    let mut target = bundles().query("sha256", &id);
    if let Some(project) = project {
        target = target.query("project", project);
    }
    let uploaded = client.upload(&target, bar.wrap_read(file.take(length)), length);
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
        "PROJECT",
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
            cell(bundle.project.clone().unwrap_or_default()),
            cell(human::relative(Some(bundle.created_ms))),
            cell(&bundle.created_by),
            cell(&bundle.description),
        ]);
    }
    output.table(
        &table.without_empty("PROJECT"),
        "No bundles. Upload one with `homeport bundle upload`.",
    )
}

/// A bundle, of which there is an entry for each project that has it.
fn show(entries: &[Bundle], output: Output) -> Result<()> {
    let [bundle, ..] = entries else { return Ok(()) };
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
        ("project", projects(entries)),
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

/// The entry of a bundle in the wanted project, of which `""` stands for no project. Without `wanted`, the only entry there is.
fn in_one_project(mut entries: Vec<Bundle>, wanted: Option<&str>) -> Result<Bundle> {
    let all = projects(&entries);
    if let Some(project) = wanted {
        entries.retain(|bundle| bundle.project.as_deref().unwrap_or_default() == project);
    }
    match (entries.pop(), entries.is_empty()) {
        (Some(bundle), true) => Ok(bundle),
        (Some(_), false) => Err(Error::Usage(format!(
            "this bundle is in several places ({all}); say from which one to delete it: --project PROJECT, or --none for every project"
        ))),
        (None, _) => Err(Error::Failed(format!(
            "this bundle is not there; it is in {}",
            if all.is_empty() { EVERY_PROJECT } else { &all }
        ))),
    }
}

/// Where a bundle is, or nothing if it is only where every project can deploy it.
fn projects(entries: &[Bundle]) -> String {
    if entries.iter().all(|bundle| bundle.project.is_none()) {
        return String::new();
    }
    let places = entries
        .iter()
        .map(|bundle| bundle.project.as_deref().unwrap_or(EVERY_PROJECT));
    places.collect::<Vec<_>>().join(", ")
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
    use crate::find::tests::in_project;

    #[test]
    fn the_hash_is_the_bundle_id() {
        assert_eq!(
            hash(&mut &b"abc"[..]).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_bundle_is_deleted_from_one_place_that_is_certain() {
        let from = |places: &[Option<&str>], wanted| {
            let entries = places.iter().map(|place| in_project(*place)).collect();
            in_one_project(entries, wanted).map(|bundle| bundle.project)
        };
        assert_eq!(from(&[None], None).unwrap(), None);
        assert_eq!(from(&[Some("a")], None).unwrap().as_deref(), Some("a"));
        assert_eq!(from(&[Some("a"), None], Some("")).unwrap(), None);
        assert_eq!(from(&[Some("a"), None], Some("a")).unwrap().as_deref(), Some("a"));
        assert!(matches!(from(&[Some("a"), None], None), Err(Error::Usage(_))));
        let error = from(&[None], Some("a")).unwrap_err().to_string();
        assert!(error.contains(EVERY_PROJECT), "{error}");
    }

    #[test]
    fn short_ids_are_taken_from_any_text() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("abc"), "abc");
    }
}
