//! Update bundles.

use serde::{Deserialize, Serialize};

/// An update bundle in the server's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bundle {
    /// Lower-case hex SHA-256 of the file.
    pub id: String,
    /// Path of the project that can deploy it, with all projects below; absent if every project can.
    pub project: Option<String>,
    /// Length in bytes.
    pub size: u64,
    /// When it was uploaded.
    pub created_ms: i64,
    /// User who uploaded it.
    pub created_by: String,
    /// `compatible` of the manifest.
    pub compatible: String,
    /// `version` of the manifest.
    pub version: String,
    /// `description` of the manifest.
    pub description: String,
    /// `build` of the manifest.
    pub build: String,
    /// RAUC bundle format: `verity`. `plain` bundles cannot be streamed, and the manifest of `crypt` bundles cannot be read: the server
    /// refuses both.
    pub format: String,
    /// SHA-256 of the manifest, as RAUC computes it.
    pub manifest_hash: String,
    /// The images inside.
    pub images: Vec<BundleImage>,
}

/// One image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BundleImage {
    /// Slot class, e.g. `rootfs`.
    pub slot_class: String,
    /// File name.
    pub filename: String,
    /// Length in bytes.
    pub size: u64,
    /// Adaptive methods, e.g. `block-hash-index`.
    pub adaptive: Vec<String>,
}
