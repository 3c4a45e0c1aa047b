use std::path::PathBuf;

use serde::Deserialize;

/// The messages of cargo that hotrun uses, see "External tools" in the Cargo book.
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

/// The package that a message is about.
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
