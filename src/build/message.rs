use std::path::PathBuf;

use serde::Deserialize;

/// What of cargo's messages is of use here. Every field that can be missing may be: what cargo promises
/// is in "External tools" of the Cargo book.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub(super) enum Message {
    #[serde(rename = "compiler-message")]
    Diagnostic {
        #[serde(flatten)]
        of: MessagePackage,
        message: MessageDiagnostic,
    },
    #[serde(rename = "compiler-artifact")]
    Artifact(MessageArtifact),
    BuildScriptExecuted {
        #[serde(flatten)]
        of: MessagePackage,
        out_dir: Option<PathBuf>,
    },
    BuildFinished {
        success: bool,
    },
    #[serde(other)]
    Other,
}

/// Which package a message is about.
#[derive(Deserialize)]
pub(super) struct MessagePackage {
    #[serde(default)]
    pub(super) package_id: String,
    pub(super) manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub(super) struct MessageDiagnostic {
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) level: String,
    pub(super) rendered: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MessageArtifact {
    #[serde(flatten)]
    pub(super) of: MessagePackage,
    pub(super) target: MessageTarget,
    #[serde(default)]
    pub(super) fresh: bool,
    #[serde(default)]
    pub(super) filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
pub(super) struct MessageTarget {
    #[serde(default)]
    pub(super) kind: Vec<String>,
}
