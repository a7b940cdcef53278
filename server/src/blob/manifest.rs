//! The manifest of a RAUC bundle.

use std::{fs::File, io};

use homeport_api::BundleImage;
use homeport_protocol::limits::{MAX_TEXT, clip};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    ini::{self, Ini, IniError},
    signature,
};

/// The part of a manifest that Homeport shows and uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `compatible` of `[update]`.
    pub compatible: String,
    /// `version` of `[update]`.
    pub version: String,
    /// `description` of `[update]`, cut to [`MAX_TEXT`] because it is only shown.
    pub description: String,
    /// `build` of `[update]`, cut likewise.
    pub build: String,
    /// `format` of `[bundle]`.
    pub format: String,
    /// SHA-256 of the manifest, as RAUC computes it.
    pub hash: String,
    /// The `[image.*]` sections.
    pub images: Vec<BundleImage>,
}

/// Why a file cannot be used as a bundle.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It does not end as a bundle does.
    #[error("this is not a RAUC bundle, or its end is missing")]
    NotABundle,
    /// The signature is damaged, or does not hold a manifest.
    #[error("the bundle's signature cannot be read: {0}")]
    Signature(String),
    /// Signature over the whole file, without manifest.
    #[error(
        "this bundle has RAUC's old format `plain`, which cannot be streamed: put `format=verity` into the section \
         `[bundle]` of its manifest and build it again"
    )]
    Plain,
    /// RAUC's format for encrypted payloads.
    #[error(
        "this bundle has RAUC's format `crypt`, which this server does not take: upload one of the format `verity`"
    )]
    Encrypted,
    /// A format that RAUC did not have when this server was made.
    #[error(
        "this bundle has the format `{0}`, which this server does not know: upload one of the format `verity`"
    )]
    Format(String),
    /// Not in RAUC's syntax.
    #[error("the bundle's manifest cannot be read: {0}")]
    Syntax(#[from] IniError),
    /// A required key is missing.
    #[error("the bundle's manifest has no `{key}` in `[{section}]`")]
    Missing {
        /// Name of the section.
        section: String,
        /// Name of the key.
        key: &'static str,
    },
    /// A key has a value that cannot be used.
    #[error("the bundle's manifest has a `{key}` in `[{section}]` that is {problem}")]
    Invalid {
        /// Name of the section.
        section: String,
        /// Name of the key.
        key: &'static str,
        /// The problem, to follow "that is".
        problem: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the uploaded file: {0}")]
    Io(#[from] io::Error),
}

// === impl Manifest ===

impl Manifest {
    /// The manifest of a bundle. Its signature is not checked: devices do that.
    pub fn read(bundle: &mut File) -> Result<Self, ManifestError> {
        Self::parse(&signature::manifest(bundle)?)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| ManifestError::Signature("the manifest is not UTF-8".into()))?;
        let ini = ini::parse(text)?;
        let format = optional(&ini, "bundle", "format")?;
        match format.as_str() {
            "verity" => {}
            "" | "plain" => return Err(ManifestError::Plain),
            "crypt" => return Err(ManifestError::Encrypted),
            _ => return Err(ManifestError::Format(format)),
        }
        Ok(Self {
            compatible: required(&ini, "update", "compatible")?,
            version: required(&ini, "update", "version")?,
            description: shown(&ini, "description"),
            build: shown(&ini, "build"),
            format,
            hash: crate::hex(&Sha256::digest(bytes)),
            images: images(&ini)?,
        })
    }
}

fn images(ini: &Ini) -> Result<Vec<BundleImage>, ManifestError> {
    let sections = ini
        .keys()
        .filter_map(|section| Some((section, section.strip_prefix("image.")?)));
    let mut images = Vec::new();
    for (section, class) in sections {
        let adaptive = optional(ini, section, "adaptive")?;
        // Images that only run a hook and empty file systems have none.
        let filename = optional(ini, section, "filename")?;
        let hooks = optional(ini, section, "hooks")?;
        // The same as in RAUC: versions before 1.5 wrote no size for an empty file with an install hook.
        let size = if filename.is_empty() || hooks.split(';').any(|hook| hook.trim() == "install") {
            optional(ini, section, "size")?
        } else {
            required(ini, section, "size")?
        };
        images.push(BundleImage {
            slot_class: class.to_owned(),
            filename,
            size: if size.is_empty() {
                0
            } else {
                size.parse().map_err(|_| ManifestError::Invalid {
                    section: section.clone(),
                    key: "size",
                    problem: "not a number",
                })?
            },
            adaptive: adaptive
                .split([';', ' '])
                .filter(|method| !method.is_empty())
                .map(str::to_owned)
                .collect(),
        });
    }
    Ok(images)
}

/// A text of `[update]` that is only shown: a bundle is not refused for its length.
fn shown(ini: &Ini, key: &str) -> String {
    let value = ini.get("update").and_then(|section| section.get(key));
    clip(value.cloned().unwrap_or_default())
}

fn required(ini: &Ini, section: &str, key: &'static str) -> Result<String, ManifestError> {
    let value = optional(ini, section, key)?;
    if value.is_empty() {
        return Err(ManifestError::Missing {
            section: section.to_owned(),
            key,
        });
    }
    Ok(value)
}

fn optional(ini: &Ini, section: &str, key: &'static str) -> Result<String, ManifestError> {
    let value = ini.get(section).and_then(|section| section.get(key));
    match value {
        Some(value) if value.len() > MAX_TEXT => Err(ManifestError::Invalid {
            section: section.to_owned(),
            key,
            problem: "too long",
        }),
        Some(value) => Ok(value.clone()),
        None => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[update]\ncompatible=board\nversion=1.2\n\n[bundle]\nformat=verity\n\
        verity-hash=00\n\n[image.rootfs]\nsha256=00\nsize=4096\nfilename=rootfs.img\nadaptive=block-hash-index\n";

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse(MANIFEST.as_bytes()).unwrap();
        assert_eq!((&*manifest.compatible, &*manifest.version), ("board", "1.2"));
        assert_eq!(manifest.images.len(), 1);
        assert_eq!(manifest.images[0].slot_class, "rootfs");
        assert_eq!(manifest.images[0].size, 4096);
        assert_eq!(manifest.images[0].adaptive, ["block-hash-index"]);
        assert_eq!(manifest.hash, crate::hex(&Sha256::digest(MANIFEST)));
    }

    #[test]
    fn an_image_without_a_file_needs_no_size() {
        for image in [
            "[image.data]\ntype=emptyfs\n",
            "[image.bootloader]\nhooks=install;\n",
        ] {
            let manifest = Manifest::parse(format!("{MANIFEST}\n{image}").as_bytes()).unwrap();
            assert_eq!(manifest.images.len(), 2, "{image}");
            let added = manifest
                .images
                .iter()
                .find(|image| image.slot_class != "rootfs")
                .unwrap();
            assert_eq!((&*added.filename, added.size), ("", 0), "{image}");
        }
    }

    #[test]
    fn an_image_with_a_file_needs_a_size_unless_a_hook_installs_it() {
        let with = |image: &str| {
            Manifest::parse(format!("{MANIFEST}\n[image.data]\nfilename=data.img\n{image}").as_bytes())
        };
        assert!(with("").is_err());
        assert!(with("hooks=post-install;\n").is_err());
        assert!(with("hooks=post-install;install;\n").is_ok());
    }

    #[test]
    fn a_text_that_is_only_shown_is_cut() {
        let long = "é".repeat(MAX_TEXT);
        let update = format!("version=1.2\ndescription={long}\nbuild={long}");
        let manifest = Manifest::parse(MANIFEST.replace("version=1.2", &update).as_bytes()).unwrap();
        assert_eq!(manifest.description, "é".repeat(MAX_TEXT / 2));
        assert_eq!(manifest.build, "é".repeat(MAX_TEXT / 2));
    }

    #[test]
    fn what_devices_could_not_stream_is_refused() {
        let with = |from: &str, to: &str| Manifest::parse(MANIFEST.replace(from, to).as_bytes()).unwrap_err();
        assert!(matches!(
            with("format=verity", "format=plain"),
            ManifestError::Plain
        ));
        assert!(matches!(with("format=verity", ""), ManifestError::Plain));
        assert!(matches!(
            with("format=verity", "format=crypt"),
            ManifestError::Encrypted
        ));
        assert!(matches!(
            with("format=verity", "format=x"),
            ManifestError::Format(_)
        ));
        assert!(matches!(
            with("version=1.2", "version="),
            ManifestError::Missing { key: "version", .. }
        ));
        assert!(matches!(
            with("size=4096", "size=-1"),
            ManifestError::Invalid { key: "size", .. }
        ));
        assert!(matches!(
            with("version=1.2", &format!("version={}", "1".repeat(MAX_TEXT + 1))),
            ManifestError::Invalid { key: "version", .. }
        ));
    }
}
