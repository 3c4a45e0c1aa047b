use std::time::Duration;

use crate::os::terminal::Size;
use crate::reload::{GenId, GenNotice, Notice};
use crate::ui::live::footer::{self, Frame, rows};
use crate::ui::{Model, Options, Report, UiMode};

const ONE: GenId = GenId::FIRST;

fn shown(model: &Model, columns: u16, now: Duration) -> String {
    let options = Options::of(UiMode::Live);
    let frame = Frame {
        model,
        options: &options,
        size: Size { columns, rows: 24 },
        now,
        help: false,
    };
    rows(&frame).0.join("\n")
}

fn fold(model: &mut Model, notice: Notice) {
    model.fold(&Report::Notice(notice), Duration::ZERO);
}

fn set_status(model: &mut Model, text: &str) {
    let text = text.to_owned();
    model.fold(&Report::Status(ONE, text), Duration::ZERO);
}

/// A new status replaces the old one. A status is shortened or left out if there is no room.
#[test]
fn a_programs_status_is_shown_in_the_row_of_its_generation() {
    let mut model = Model::default();
    let took = Duration::ZERO;
    fold(
        &mut model,
        Notice::Generation(ONE, GenNotice::Live { took }),
    );
    set_status(&mut model, "12 clients");
    assert!(shown(&model, 120, took).contains("12 clients"));
    assert!(!shown(&model, 20, took).contains("12"));
    set_status(&mut model, &"x".repeat(500));
    let text = shown(&model, 120, took);
    assert!(
        text.contains("xxx…") && !text.contains("12 clients"),
        "{text}"
    );
    set_status(&mut model, "");
    assert!(!shown(&model, 120, took).contains('x'));
}

#[test]
fn sources_that_are_down_are_shown_with_the_time() {
    let mut model = Model::default();
    let (minute, why) = (Duration::from_secs(60), Some("exit status 1".to_owned()));
    let mut report = |name: &str, why: &Option<String>, now| {
        model.fold(&Report::Source(name.into(), why.clone()), now);
        shown(&model, 120, 3 * minute)
    };
    assert!(report("cfg", &why, Duration::ZERO).contains("source cfg down   for 3m"));
    assert!(report("cfg", &why, minute).contains("source cfg down   for 3m"));
    assert!(report("flags", &why, minute).contains("2 sources down   for 3m"));
    assert!(report("cfg", &None, minute).contains("source flags down   for 2m"));
    assert!(!report("flags", &None, minute).contains("down"));
    assert_eq!(footer::next_change(&model, minute), None);
    model.fold(&Report::Source("cfg".into(), why), Duration::ZERO);
    assert_eq!(footer::next_change(&model, minute / 2), Some(minute / 2));
}

#[test]
fn an_extended_drain_timeout_counts_down() {
    let mut model = Model::default();
    let second = Duration::from_secs(1);
    let timeout = 10 * second;
    fold(
        &mut model,
        Notice::Generation(ONE, GenNotice::Draining { timeout }),
    );
    let left = 30 * second;
    fold(
        &mut model,
        Notice::Generation(ONE, GenNotice::TimeoutExtended { left }),
    );
    let text = shown(&model, 120, 12 * second);
    assert!(text.contains("18s of 30s left"), "{text}");
}
