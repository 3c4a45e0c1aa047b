//! Creates and builds cargo packages.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hotrun::build::{BuildCommand, Launch, OutputLine, Plan, PlanOptions};
use hotrun::error::Failure;
use tempfile::TempDir;

pub(crate) const HOTRUN: &str = env!("CARGO_BIN_EXE_hotrun");

/// A cargo package without dependencies, in a temporary directory.
pub(crate) struct Package {
    pub(crate) root: TempDir,
}

/// The result of a build.
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) lines: Vec<OutputLine>,
    pub(crate) stderr: String,
    pub(crate) launch: Result<Launch, Failure>,
}

impl Package {
    pub(crate) fn new() -> Self {
        let package = Self {
            root: TempDir::new().expect("can create a temporary directory"),
        };
        package.write(
            "Cargo.toml",
            "[package]\nname = \"small\"\nversion = \"1.2.3\"\nedition = \"2021\"\n[workspace]\n",
        );
        package.write(
            "src/main.rs",
            "fn main() { println!(\"{:?}\", std::env::args().collect::<Vec<_>>()); }\n",
        );
        package
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root
            .path()
            .canonicalize()
            .expect("can resolve the package's path")
            .join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let parent = path.parent().expect("a file has a parent");
        fs::create_dir_all(parent).expect("can create the parent directory");
        fs::write(path, text).expect("can write the file");
    }

    /// Writes an executable script. A shell writes it, because a process that another test starts could inherit a
    /// descriptor that is open for writing here, and the kernel refuses to execute such a file (`ETXTBSY`).
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let parent = path.parent().expect("a file has a parent");
        fs::create_dir_all(parent).expect("can create the parent directory");
        let write = "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = Command::new("sh")
            .args(["-c", write, "sh", text])
            .arg(&path)
            .status();
        assert!(status.expect("can run `sh`").success());
        path
    }

    pub(crate) fn plan(&self, line: &str) -> Result<Plan, Failure> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Plan::new(&PlanOptions {
            command: &command,
            build: None,
            workdir: &self.path(""),
            color: false,
            progress: false,
        })
    }

    pub(crate) fn cargo(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("the line names a program"));
        let output = command
            .args(words)
            .current_dir(self.path(""))
            .output()
            .expect("can run cargo");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn build(&self, line: &str) -> Ran {
        build(&self.plan(line).expect("can plan the build"))
    }

    /// Builds the package, and returns what to start after the successful build.
    pub(crate) fn launch(&self, line: &str) -> Launch {
        let ran = self.build(line);
        assert!(ran.success, "{line}: {}", ran.stderr);
        match ran.launch {
            Ok(launch) => launch,
            Err(error) => panic!("{line}: {error}\n{}", ran.stderr),
        }
    }
}

/// Makes a command from a [`BuildCommand`], with hotrun as the runner instead of the test's own executable.
pub(crate) fn command(invocation: &BuildCommand) -> Command {
    let ours = std::env::current_exe().expect("can find the test's executable");
    let ours = ours.to_str().expect("the executable's path must be UTF-8");
    let argv: Vec<OsString> = invocation
        .argv
        .iter()
        .map(|word| {
            word.to_str()
                .map_or_else(|| word.clone(), |word| word.replace(ours, HOTRUN).into())
        })
        .collect();
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(&invocation.workdir);
    command.stdin(Stdio::null());
    command
}

pub(crate) fn build(plan: &Plan) -> Ran {
    let invocation = plan.build_command().expect("there must be a build command");
    let output = command(&invocation).output().expect("can run cargo");
    let mut messages = plan.output();
    let mut lines: Vec<OutputLine> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(|line| messages.stdout(line))
        .collect();
    lines.extend(
        output
            .stderr
            .split(|byte| *byte == b'\n')
            .map(|line| messages.stderr(line)),
    );
    let success = messages.succeeded(output.status.success());
    Ran {
        success,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        launch: plan.launch(&mut messages),
        lines,
    }
}

pub(crate) fn variable<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
    launch
        .env
        .iter()
        .find(|(other, _)| *other == *name)
        .and_then(|(_, value)| value.to_str())
}

pub(crate) fn words(launch: &Launch) -> Vec<&str> {
    launch
        .argv
        .iter()
        .map(|word| word.to_str().expect("the arguments must be UTF-8"))
        .collect()
}

pub(crate) fn host() -> String {
    let output = Command::new("cargo")
        .arg("-vV")
        .output()
        .expect("can run cargo");
    let text = String::from_utf8(output.stdout).expect("cargo's version must be UTF-8");
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo must print its host")
        .to_owned()
}
