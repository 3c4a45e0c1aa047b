//! Tests what is started after a build.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use hotrun::build::{OutputLine, Plan, PlanOptions, runner};

use super::package::{HOTRUN, Package, build, command, host, variable, words};

#[test]
fn the_launch_is_what_cargo_run_would_start() {
    let package = Package::new();
    let launch = package.launch("cargo run -- --port 1");
    assert_eq!(words(&launch), ["target/debug/small", "--port", "1"]);
    assert_eq!(launch.executable, Some(package.path("target/debug/small")));
    assert_eq!(
        launch.workdir,
        package.path("").as_path().components().as_path()
    );
    assert_eq!(variable(&launch, "CARGO_PKG_VERSION"), Some("1.2.3"));
    assert_eq!(
        variable(&launch, "CARGO_MANIFEST_DIR").map(Path::new),
        Some(&*launch.workdir)
    );
    assert!(
        variable(&launch, "LD_LIBRARY_PATH").is_some_and(|paths| paths.contains("target/debug"))
    );
}

#[test]
fn the_environment_is_the_same_as_with_cargo_run() {
    let package = Package::new();
    package.write(".cargo/config.toml", "[env]\nFROM_CONFIG = \"yes\"\n");
    package.write(
        "build.rs",
        "fn main() { println!(\"cargo::rustc-env=BAKED=1\"); }\n",
    );
    package.write("src/main.rs", "fn main() { for (k, v) in std::env::vars_os() { println!(\"{}={}\", k.display(), v.display()); } }\n");
    let output = Command::new("cargo")
        .args(["run", "-q"])
        .current_dir(package.path(""))
        .output()
        .expect("can run cargo");
    let mut expected: Vec<String> = String::from_utf8(output.stdout)
        .expect("the environment must be UTF-8")
        .lines()
        .map(str::to_owned)
        .collect();
    let launch = package.launch("cargo run");
    let mut found: Vec<String> = launch
        .env
        .iter()
        .map(|(name, value)| format!("{}={}", name.display(), value.display()))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(found.contains(&"FROM_CONFIG=yes".to_owned()));
}

#[test]
fn config_values_before_run_and_in_aliases_apply_unless_run_has_its_own() {
    let package = Package::new();
    package.write(
        ".cargo/config.toml",
        "[alias]\nwith = [\"--config\", \"env.B='2'\", \"run\"]\n",
    );
    for (line, expected) in [
        ("cargo --config env.A='1' run", [Some("1"), None]),
        ("cargo --config env.A='1' with", [Some("1"), Some("2")]),
        (
            "cargo --config env.A='1' run --config env.B='3'",
            [None, Some("3")],
        ),
    ] {
        let launch = package.launch(line);
        assert_eq!(
            ["A", "B"].map(|name| variable(&launch, name)),
            expected,
            "{line}"
        );
    }
}

#[test]
fn the_program_does_not_inherit_the_variables_that_make_cargo_show_progress() {
    let package = Package::new();
    let command = [OsString::from("cargo"), "run".into()];
    let options = PlanOptions {
        command: &command,
        build: None,
        workdir: &package.path(""),
        color: false,
        progress: true,
    };
    let ran = build(&Plan::new(&options).expect("can plan the build"));
    assert!(ran.stderr.contains("Building ["), "{}", ran.stderr);
    let launch = ran.launch.unwrap_or_else(|error| panic!("{error}"));
    for name in ["CARGO_TERM_PROGRESS_WHEN", "CARGO_TERM_PROGRESS_WIDTH"] {
        assert_eq!(variable(&launch, name), None);
    }
}

#[test]
fn builds_by_hotrun_and_by_the_user_reuse_each_others_results() {
    let package = Package::new();
    package.cargo("cargo build");
    let compiles = |line: &str| package.build(line).stderr.contains("Compiling");
    assert!(
        !compiles("cargo run"),
        "hotrun compiled again after `cargo build`"
    );
    package.write("src/main.rs", "fn main() { println!(\"changed\"); }\n");
    assert!(compiles("cargo run"), "hotrun did not build the change");
    for line in ["cargo build", "cargo run"] {
        let said = package.cargo(line);
        assert!(
            !said.contains("Compiling"),
            "`{line}` compiled again after a build by hotrun: {said}"
        );
    }
}

#[test]
fn a_configured_runner_is_kept() {
    let triple = host();
    for config in [
        format!("[target.{triple}]\nrunner = \"env RUN=1\"\n"),
        format!("[target.{triple}]\nrunner = [\"env\", \"RUN=1\"]\n"),
        "[target.'cfg(unix)']\nrunner = \"env RUN=1\"\n".to_owned(),
        "[target.'cfg(all())']\nrunner = [\"env\", \"RUN=1\"]\n".to_owned(),
        format!(
            "[target.{triple}]\nrunner = \"env RUN=1\"\n[target.'cfg(unix)']\nrunner = \"env OTHER=1\"\n"
        ),
    ] {
        let package = Package::new();
        package.write(".cargo/config.toml", &config);
        let launch = package.launch("cargo run x");
        assert_eq!(
            words(&launch),
            ["env", "RUN=1", "target/debug/small", "x"],
            "{config}"
        );
    }
}

#[test]
fn the_relative_path_of_a_configured_runner_becomes_absolute() {
    let package = Package::new();
    package.script("tools/run.sh", "#!/bin/sh\nexec \"$@\"\n");
    package.write(
        ".cargo/config.toml",
        "[target.'cfg(all())']\nrunner = \"tools/run.sh\"\n",
    );
    let launch = package.launch("cargo run");
    assert_eq!(Path::new(&launch.argv[0]), package.path("tools/run.sh"));
}

#[test]
fn cargo_handles_aliases_and_options() {
    let package = Package::new();
    package.write("src/bin/other.rs", "fn main() {}\n");
    package.write("examples/shown.rs", "fn main() {}\n");
    package.write(
        ".cargo/config.toml",
        "[alias]\nserve = \"run --bin other --\"\nrel = [\"run\", \"--release\"]\n",
    );
    for (line, expected) in [
        (
            "cargo serve --release",
            vec!["target/debug/other", "--release"],
        ),
        ("cargo rel --bin small", vec!["target/release/small"]),
        (
            "cargo r --example shown a",
            vec!["target/debug/examples/shown", "a"],
        ),
        (
            "cargo run -q --bin small --message-format short",
            vec!["target/debug/small"],
        ),
    ] {
        assert_eq!(words(&package.launch(line)), expected, "{line}");
    }
    let triple = host();
    let launch = package.launch(&format!("cargo run --bin small --target {triple}"));
    assert_eq!(words(&launch), [format!("target/{triple}/debug/small")]);
}

#[test]
fn cargos_running_line_is_not_shown() {
    let package = Package::new();
    let ran = package.build("cargo run");
    assert!(
        ran.stderr.contains("Running `"),
        "cargo no longer prints this line: {}",
        ran.stderr
    );
    let shown = |line: &OutputLine| matches!(line, OutputLine::Text(text) if String::from_utf8_lossy(text).contains("--runner"));
    assert!(!ran.lines.iter().any(shown));
}

#[test]
fn a_failed_build_has_diagnostics_and_no_launch() {
    let package = Package::new();
    package.write("src/main.rs", "fn main() { let x: u8 = \"a\"; }\n");
    let plan = package.plan("cargo run").expect("can plan the build");
    let invocation = plan.build_command().expect("there must be a build command");
    let output = command(&invocation).output().expect("can run cargo");
    assert!(!output.status.success());
    let mut messages = plan.output();
    let lines: Vec<OutputLine> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(|line| messages.stdout(line))
        .collect();
    assert!(!messages.succeeded(false) && !messages.is_complete());
    let shown = |line: &OutputLine| matches!(line, OutputLine::Diagnostic { rendered, .. } if rendered.contains("mismatched types"));
    assert!(lines.iter().any(shown));
}

#[test]
fn cargo_uses_colors_if_the_output_may_be_colored() {
    let package = Package::new();
    package.write("src/main.rs", "fn unused() {}\nfn main() {}\n");
    for (color, escapes) in [(true, true), (false, false)] {
        let command = [OsString::from("cargo"), "run".into()];
        let options = PlanOptions {
            command: &command,
            build: None,
            workdir: &package.path(""),
            color,
            progress: false,
        };
        let ran = build(&Plan::new(&options).expect("can plan the build"));
        let diagnostic = |line: &OutputLine| {
            if let OutputLine::Diagnostic { rendered, .. } = line {
                Some(rendered.clone())
            } else {
                None
            }
        };
        let rendered = ran.lines.iter().find_map(diagnostic);
        let rendered = rendered.expect("the build must print a warning");
        assert_eq!(rendered.contains('\u{1b}'), escapes);
        assert_eq!(ran.stderr.contains('\u{1b}'), escapes, "{}", ran.stderr);
    }
}

#[test]
fn a_runner_on_the_command_line_is_kept() {
    let triple = host();
    let package = Package::new();
    package.write("runner.toml", "target.'cfg(unix)'.runner = 'env RUN=1'\n");
    for config in [
        "target.'cfg(unix)'.runner=['env','RUN=1']".to_owned(),
        "runner.toml".to_owned(),
        format!("target.{triple}.runner=['env','RUN=1']"),
    ] {
        let launch = package.launch(&format!("cargo run --config {config}"));
        assert_eq!(
            words(&launch),
            ["env", "RUN=1", "target/debug/small"],
            "{config}"
        );
    }
}

#[test]
fn an_included_configuration_file_applies_and_is_watched() {
    let triple = host();
    let package = Package::new();
    package.write(".cargo/config.toml", "include = [\"more.toml\"]\n");
    package.write("dev.toml", "");
    for runner in ["\"env RUN=1\"", "[\"env\", \"RUN=1\"]"] {
        package.write(
            ".cargo/more.toml",
            &format!(
                "[alias]\nserve = \"run -q\"\n[target.{triple}]\nrunner = {runner}\n\
                 [build]\nrustflags = [\"--cfg\", \"included\"]\n"
            ),
        );
        package.write("src/main.rs", "#[cfg(included)]\nfn main() {}\n");
        let launch = package.launch("cargo serve x");
        assert_eq!(words(&launch), ["env", "RUN=1", "target/debug/small", "x"]);
    }
    let plan = package.plan("cargo run --config dev.toml");
    let plan = plan.expect("can plan the build");
    let roots = plan.watch_roots().expect("can find the watch roots");
    for name in [".cargo/more.toml", "dev.toml"] {
        let path = package.path(name);
        assert!(roots.files.contains(&path), "{name}: {roots:?}");
        assert!(plan.is_outdated_by(&[path]), "{name}");
    }
}

#[test]
fn a_runner_for_a_cfg_applies_only_if_the_cfg_is_set() {
    let package = Package::new();
    package.write(
        ".cargo/config.toml",
        "[build]\nrustflags = [\"--cfg\", \"special\"]\n[target.'cfg(windows)']\nrunner = \"no\"\n\
         [target.'cfg(all(special, target_os = \"linux\"))']\nrunner = \"env RUN=1\"\n",
    );
    let launch = package.launch("cargo run");
    assert_eq!(words(&launch), ["env", "RUN=1", "target/debug/small"]);
}

#[test]
fn a_package_can_be_chosen_by_its_id() {
    let package = Package::new();
    package.write("Cargo.toml", "[workspace]\nmembers = [\"one\", \"two\"]\n");
    for name in ["one", "two"] {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n");
        package.write(&format!("{name}/Cargo.toml"), &manifest);
        package.write(&format!("{name}/src/main.rs"), "fn main() {}\n");
    }
    let dir = package.path("two");
    for spec in [
        format!("path+file://{}#two", dir.display()),
        format!("file://{}", dir.display()),
        "two@0.1".to_owned(),
    ] {
        let launch = package.launch(&format!("cargo run -p {spec}"));
        assert_eq!(words(&launch), ["target/debug/two"], "{spec}");
    }
}

#[test]
fn a_cargo_that_does_not_report_the_launch_is_an_error() {
    // The first wrapper discards what the runner reports, and the second one does not start the runner.
    for on_run in [
        "exec cargo \"$@\" >/dev/null",
        "cargo build --message-format=json; exit 101",
    ] {
        let package = Package::new();
        let cargo = package.script(
            "bin/cargo",
            &format!("#!/bin/sh\nif [ \"$1\" = run ]; then {on_run}; fi\nexec cargo \"$@\"\n"),
        );
        let ran = package.build(&format!("{} run a", cargo.display()));
        let error = ran.launch;
        let error = error.expect_err("a build without a launch must be an error");
        assert!(
            error
                .message()
                .contains("did not report what it would start"),
            "{on_run}: {error}"
        );
        // Following the hint: hotrun knows the build and the program.
        let hint = error.first_hint().expect("there is a hint");
        let line = hint
            .split('`')
            .nth(1)
            .expect("the hint names a command line");
        let words = shlex::split(line).expect("the line can be split");
        let parsed = hotrun::cli::parse(words.into_iter().map(OsString::from).collect::<Vec<_>>());
        let parsed = parsed.expect("the line is valid");
        assert!(parsed.build.is_some() && parsed.command == ["target/debug/NAME"]);
    }
}

#[test]
fn an_environment_that_is_not_utf_8_is_preserved() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"\xff\x01=x".to_vec());
    let output = Command::new(HOTRUN)
        .args([runner::FLAG, "--", "prog"])
        .arg(&odd)
        .env_clear()
        .env("ODD", &odd)
        .output()
        .expect("can run hotrun");
    assert!(output.status.success());
    let package = Package::new();
    let plan = package.plan("cargo run").expect("can plan the build");
    let mut messages = plan.output();
    let line = output.stdout.strip_suffix(b"\n");
    messages.stdout(line.expect("the runner must print a line"));
    let Ok(launch) = plan.launch(&mut messages) else {
        panic!("the runner did not report the launch")
    };
    assert_eq!(launch.argv, [OsString::from("prog"), odd.clone()]);
    assert_eq!(launch.env, [(OsString::from("ODD"), odd)]);
}
