use super::*;
use crate::reload::{GenNotice, Notice};
use crate::ui::{Mode, Report};

const ONE: GenId = GenId::FIRST;

fn shown(model: &Model, columns: u16, now: Duration) -> String {
    let options = Options::of(Mode::Live);
    let frame = Frame {
        model,
        options: &options,
        size: Size { columns, rows: 24 },
        now,
        help: false,
    };
    let rows = frame.rows();
    let texts = rows.iter().map(|row| row.render(columns.into(), false));
    texts.collect::<Vec<_>>().join("\n")
}

fn fold(model: &mut Model, notice: Notice) {
    model.fold(&Report::Notice(notice), Duration::ZERO);
}

fn says(model: &mut Model, text: &str) {
    let text = text.to_owned();
    model.fold(&Report::Status { id: ONE, text }, Duration::ZERO);
}

/// In the row of its generation, as far as there is room, until it says something else.
#[test]
fn what_a_program_says_is_beside_it() {
    let mut model = Model::default();
    let took = Duration::ZERO;
    fold(
        &mut model,
        Notice::Generation(ONE, GenNotice::Live { took }),
    );
    says(&mut model, "12 clients");
    assert!(shown(&model, 120, took).contains("12 clients"));
    assert!(!shown(&model, 20, took).contains("12"));
    says(&mut model, &"x".repeat(500));
    let text = shown(&model, 120, took);
    assert!(
        text.contains("xxx…") && !text.contains("12 clients"),
        "{text}"
    );
    says(&mut model, "");
    assert!(!shown(&model, 120, took).contains('x'));
}

/// The time that is left is the one that was granted.
#[test]
fn an_end_that_was_extended_counts_down_from_there() {
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
