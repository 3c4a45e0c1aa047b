//! Checks that the picture in the README shows what hotrun prints.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use regex::Regex;

use super::screen::{Project, Screen, normalize};

/// A program that logs like a server, with fixed times.
const MAIN: &str = r#"
mod routes;

fn main() {
    let (dim, bold, green, yellow, off) = ("\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[0m");
    println!("{dim}12:04:31{off} {green} INFO{off} api: listening on {bold}127.0.0.1:3000{off}");
    println!("{dim}12:04:33{off} {green} INFO{off} api: GET /users/7 200 in 1.2ms");
    println!("{dim}12:04:38{off} {yellow} WARN{off} api: slow query, 212ms");
    while routes::greeting("you").len() > 1 {
        std::thread::park();
    }
}
"#;
const ROUTES: &str =
    "pub fn greeting(user: &str) -> String {\n    format!(\"hello, {}\", user)\n}\n";
const MISTYPED: &str =
    "pub fn greeting(user: &str) -> String {\n    format!(\"hello, {}\", usr)\n}\n";
const MANIFEST: &str = "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";

#[test]
fn the_picture_in_the_readme_is_current() {
    let project = Project::new("", "");
    // The package is in a subdirectory, so that hotrun does not watch the directory where the compiler puts its temporary
    // files.
    fs::create_dir_all(project.path("api/src")).unwrap();
    project.write("api/Cargo.toml", MANIFEST);
    project.write("api/src/main.rs", MAIN);
    project.write("api/src/routes.rs", ROUTES);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotrun"));
    command.args([
        "-l",
        "api=127.0.0.1:0",
        "--ready",
        "log:slow",
        "--",
        "cargo",
        "run",
    ]);
    project.set_interactive(&mut command);
    command.current_dir(project.path("api"));
    command.env("CARGO_TARGET_DIR", project.path("target"));
    let mut screen = Screen::start(&command, 92, 16);
    screen.within(BUILD, "gen 1 to be live", |text| {
        text.contains("slow query") && text.contains("0 conns")
    });
    project.write("api/src/routes.rs", MISTYPED);
    screen.within(BUILD, "the failure", |text| {
        text.contains("failed to build")
    });
    let made = screen.parsed(|parser| svg(parser.screen()));
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal/screen.svg");
    if std::env::var_os("UPDATE_PICTURE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let run = "run `UPDATE_PICTURE=1 cargo test --test terminal picture`";
    let (kept, made) = (words(&kept), words(&made));
    assert_eq!(ours(&kept), ours(&made), "{run}");
    assert!(made.contains(&"error[EN]".to_owned()), "{made:?}");
}

/// The words without the compiler's message, which differs between compiler versions.
fn ours(words: &[String]) -> Vec<&String> {
    let is_error = |word: &String| word.starts_with("error[");
    let before = words.iter().take_while(|word| !is_error(word));
    let after = words.iter().skip_while(|word| !word.contains("●"));
    before.chain(after).collect()
}

/// The picture's words, without numbers that differ from run to run.
fn words(picture: &str) -> Vec<String> {
    let text = Regex::new(">([^<]+)</text>").unwrap();
    let number = Regex::new(r"\d{3,}").unwrap();
    let all = text
        .captures_iter(picture)
        .map(|found| normalize(&found[1]));
    all.map(|word| number.replace_all(&word, "N").into_owned())
        .collect()
}

/// How long cargo may take.
const BUILD: Duration = Duration::from_secs(60);

const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;

fn svg(screen: &vt100::Screen) -> String {
    let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
    let (width, height) = (
        f32::from(columns) * WIDTH + 24.0,
        f32::from(rows) * HEIGHT + 24.0,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1d2027\"/>\n"
    );
    for row in 0..rows {
        let y = 12.0 + HEIGHT * (f32::from(row) + 0.75);
        for (column, run, style) in runs(screen, row, columns) {
            let x = 12.0 + WIDTH * f32::from(column);
            let length = WIDTH * run.chars().count() as f32;
            let run = run
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let _ = writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" {style}>{run}</text>"
            );
        }
    }
    text + "</svg>\n"
}

/// Groups adjacent cells with the same style.
fn runs(screen: &vt100::Screen, row: u16, columns: u16) -> Vec<(u16, String, String)> {
    let mut runs: Vec<(u16, String, String)> = Vec::new();
    let mut gap = true;
    for column in 0..columns {
        let Some(cell) = screen
            .cell(row, column)
            .filter(|cell| cell.has_contents() && cell.contents() != " ")
        else {
            gap = true;
            continue;
        };
        let style = style(cell);
        match runs.last_mut() {
            Some((_, run, known)) if !gap && *known == style => run.push_str(cell.contents()),
            Some(_) | None => runs.push((column, cell.contents().to_owned(), style)),
        }
        gap = false;
    }
    runs
}

fn style(cell: &vt100::Cell) -> String {
    let colour = match cell.fgcolor() {
        vt100::Color::Default => "#d5d9e0",
        vt100::Color::Idx(1 | 9) => "#e8707a",
        vt100::Color::Idx(2 | 10) => "#8fc97a",
        vt100::Color::Idx(3 | 11) => "#e0b35e",
        vt100::Color::Idx(4 | 12) => "#6fb1f2",
        vt100::Color::Idx(_) | vt100::Color::Rgb(..) => "#5fc4cf",
    };
    let bold = if cell.bold() {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let dim = if cell.dim() { " opacity=\"0.6\"" } else { "" };
    format!("fill=\"{colour}\"{bold}{dim}")
}
