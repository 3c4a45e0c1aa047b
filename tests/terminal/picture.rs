//! The picture in the README, from the real program.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::screen::{Project, Screen, usual};

/// A server and its errors, as somebody sees them who has just mistyped something.
const BUILD: &str = r#"
[ "$(cat src/main)" = broken ] || exit 0
printf '\033[1m\033[91merror[E0425]\033[0m\033[1m: cannot find value `usr` in this scope\033[0m\n' >&2
printf '  \033[1m\033[94m-->\033[0m src/routes.rs:14:20\n' >&2
printf '   \033[1m\033[94m|\033[0m\n\033[1m\033[94m14 |\033[0m     Json(greeting(&usr))\n' >&2
printf '   \033[1m\033[94m|\033[0m                    \033[1m\033[91m^^^ help: a local variable exists: `user`\033[0m\n' >&2
exit 1
"#;
const RUN: &str = r#"
printf '\033[2m12:04:31\033[0m \033[32m INFO\033[0m api: listening on \033[1m127.0.0.1:3000\033[0m\n'
printf '\033[2m12:04:33\033[0m \033[32m INFO\033[0m api: GET /users/7 200 in 1.2ms\n'
printf '\033[2m12:04:38\033[0m \033[33m WARN\033[0m api: slow query, 212ms\n'
exec sleep 1000
"#;

#[test]
fn the_picture_in_the_readme_is_current() {
    let project = Project::new(BUILD, RUN);
    let mut screen = Screen::start(&project.hotrun(&["-l", "api=127.0.0.1:0"]), 92, 14);
    screen.until("gen 1", |text| {
        text.contains("slow query") && text.contains("0 conns")
    });
    project.write("src/main", "broken");
    screen.until("the failure", |text| text.contains("does not build"));
    let made = screen.parsed(|parser| svg(parser.screen()));
    screen.press("q");
    screen.ended();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal/screen.svg");
    if std::env::var_os("UPDATE_PICTURE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let run = "run `UPDATE_PICTURE=1 cargo test --test terminal picture`";
    assert_eq!(words(&kept), words(&made), "{run}");
}

/// What is to be read, without numbers that differ from run to run.
fn words(picture: &str) -> Vec<String> {
    let text = Regex::new(">([^<]+)</text>").unwrap();
    let number = Regex::new(r"\d{3,}").unwrap();
    let all = text.captures_iter(picture).map(|found| usual(&found[1]));
    all.map(|word| number.replace_all(&word, "N").into_owned())
        .collect()
}

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

/// Neighbours that look alike.
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
