//! Tests the keys that change the share of a new generation.

use super::screen::{Project, Screen};

const RUN: &str = "echo running; exec sleep 1000";

fn with(options: &[&str]) -> (Project, Screen) {
    let project = Project::new("exit 0", RUN);
    let command = project.hotrun(&[&["-l", "127.0.0.1:0"], options].concat());
    let screen = Screen::start(&command, 100, 20);
    screen.until("gen 1 to be live", |text| text.contains("gen 1 live"));
    (project, screen)
}

fn until(screen: &Screen, words: &str) {
    screen.until(words, |text| text.contains(words));
}

#[test]
fn keys_move_the_share_of_a_new_generation_and_give_it_all() {
    let (project, mut screen) = with(&["--share", "10%,60%"]);
    project.write("src/main", "2");
    until(&screen, "gen 2 sharing 10%");
    until(&screen, "gen 1 live");
    screen.press("+");
    until(&screen, "gen 2 sharing 60%");
    screen.press("-");
    until(&screen, "gen 2 sharing 10%");
    screen.press("s");
    until(&screen, "gen 2 live");
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}

#[test]
fn undo_takes_the_share_back() {
    let (project, mut screen) = with(&["--share", "10%"]);
    project.write("src/main", "2");
    until(&screen, "gen 2 sharing 10%");
    screen.press("+");
    until(&screen, "gen 2 sharing 20%");
    screen.press("u");
    screen.until("the share to end", |text| {
        text.contains("gen 1 live") && !text.contains("sharing")
    });
    screen.press("q");
    assert_eq!(screen.ended().code(), Some(0));
}
