use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Tools that only run another command again when files change.
const TOOLS: [&str; 6] = [
    "air",
    "cargo-watch",
    "entr",
    "nodemon",
    "reflex",
    "watchexec",
];

/// Says how to turn off the command's own reloader, if it has one.
pub fn without_reloader(command: &[OsString]) -> Option<String> {
    let words: Vec<&str> = command.iter().filter_map(|word| word.to_str()).collect();
    let is = |word: &str, name: &str| Path::new(word).file_name() == Some(OsStr::new(name));
    let runs = |name: &str| words.iter().any(|word| is(word, name));
    let has = |option: &str| words.contains(&option);
    let first = words.first()?;
    if let Some(tool) = TOOLS.iter().find(|tool| is(first, tool)) {
        return Some(format!("instead of `{tool}`, use the command that it runs"));
    }
    Some(match words[..] {
        [cargo, "watch", ..] if is(cargo, "cargo") => "use `hotrun -- cargo run ...`".into(),
        _ if has("--reload") => "leave out `--reload`".into(),
        _ if has("--watch") && ["bun", "deno", "node"].iter().any(|name| is(first, name)) => {
            "leave out `--watch`".into()
        }
        _ if runs("fastapi") && has("dev") => "use `fastapi run`".into(),
        _ if runs("flask") && has("--debug") && !has("--no-reload") => "add `--no-reload`".into(),
        _ if runs("manage.py") && has("runserver") && !has("--noreload") => {
            "add `--noreload`".into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reloader_in_the_command_is_recognized() {
        for (command, expected) in [
            ("uvicorn app:app --reload", Some("leave out `--reload`")),
            ("python3 -m uvicorn app:app", None),
            (
                "python -m flask --app x run --debug",
                Some("add `--no-reload`"),
            ),
            ("flask run --debug --no-reload", None),
            ("flask run", None),
            ("python manage.py runserver", Some("add `--noreload`")),
            ("./manage.py runserver --noreload", None),
            ("./manage.py migrate", None),
            ("fastapi dev app.py", Some("use `fastapi run`")),
            (
                "/usr/bin/nodemon x.js",
                Some("instead of `nodemon`, use the command that it runs"),
            ),
            ("cargo watch -x run", Some("use `hotrun -- cargo run ...`")),
            ("node --watch x.js", Some("leave out `--watch`")),
            ("./server --watch", None),
            ("cargo run", None),
        ] {
            let words: Vec<_> = command.split(' ').map(OsString::from).collect();
            assert_eq!(without_reloader(&words).as_deref(), expected, "{command}");
        }
    }
}
