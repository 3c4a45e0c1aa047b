//! The rows for live, starting and draining generations.

use std::time::Duration;

use console::truncate_str;

use super::row::{BAD, BUSY, DIM, Frame, GOOD, Segments, left, running, up};
use crate::reload::{GenId, Phase};
use crate::ui::model::ShownGeneration;
use crate::ui::{Human, text};

const MINUTE: u64 = 60;
/// The maximum number of draining generations with a row of their own.
const MAX_DRAINING: usize = 3;
/// The maximum number of live generations with a row of their own.
const MAX_LIVE: usize = 4;
/// If a program has more addresses than this, only the first is named.
const MAX_ADDRESSES: usize = 3;

/// The rows of the live and starting generations, and as many rows of draining ones as fit into `max_rows`.
pub(super) fn rows(frame: &Frame<'_>, max_rows: usize) -> Vec<String> {
    let (mut live, mut starting, mut draining) = (Vec::new(), Vec::new(), Vec::new());
    for (id, generation) in &frame.model.generations {
        match generation.phase {
            Phase::Live => live.push(live_row(frame, *id, generation)),
            Phase::Starting | Phase::Ready => starting.push(starting_row(frame, *id, generation)),
            Phase::Sharing => starting.push(sharing_row(frame, *id, generation)),
            Phase::Kept | Phase::Draining => draining.push((*id, generation)),
            Phase::Building | Phase::Gone => {}
        }
    }
    if live.is_empty() {
        live.extend(nothing_live(frame));
    }
    let more = live.len().saturating_sub(MAX_LIVE);
    if more > 0 {
        live.truncate(MAX_LIVE);
        live.push(frame.paint(&DIM, format!("   and {more} more live")));
    }
    live.append(&mut starting);
    let room = max_rows.saturating_sub(live.len());
    live.extend(draining_rows(frame, &draining, room));
    live
}

/// A row for each of the newest draining generations, newest first, and a row with the number of the others.
fn draining_rows(frame: &Frame<'_>, all: &[(GenId, &ShownGeneration)], room: usize) -> Vec<String> {
    let shown = match all.len() <= room.min(MAX_DRAINING) {
        true => all.len(),
        false => room.saturating_sub(1).min(MAX_DRAINING),
    };
    let newest = all.iter().rev().take(shown);
    let mut rows: Vec<String> = newest
        .map(|(id, one)| match one.phase == Phase::Kept {
            true => kept_row(frame, *id, one),
            false => draining_row(frame, *id, one),
        })
        .collect();
    match all.len() - shown {
        more if room == 0 || more == 0 => {}
        more if shown > 0 => rows.push(frame.paint(&DIM, format!("   and {more} more"))),
        more => {
            let row = Segments::titled(frame, &BUSY, "◐", &format!("{more} draining"));
            rows.push(row.fit(0));
        }
    }
    rows
}

fn live_row(frame: &Frame<'_>, id: GenId, live: &ShownGeneration) -> String {
    let mut row = Segments::titled(frame, &GOOD, "●", &format!("gen {id} live"));
    row.add(2, instance(live));
    row.add(3, text::text(&live.program));
    row.add(5, pid(live));
    row.add(6, format!("up {}", up(frame.age(live.since))));
    let listening = frame.model.listening.iter().map(|(_, address)| address);
    let own = live.addresses.iter();
    // The program may open an address of `--listen` itself.
    let own = own.filter(|address| !listening.clone().any(|known| known == *address));
    let addresses: Vec<&String> = listening.clone().chain(own).collect();
    let named = match addresses.len() {
        count @ ..=MAX_ADDRESSES => count,
        _ => 1,
    };
    for address in &addresses[..named] {
        row.add(2, text::text(address));
    }
    if named < addresses.len() {
        let more = addresses.len() - named;
        row.add(2, format!("{more} more addresses"));
    }
    row.add(1, connections(live));
    row.add(4, status(live));
    row.fit(frame.columns())
}

fn nothing_live(frame: &Frame<'_>) -> Option<String> {
    let address = text::text(frame.model.waits_at()?);
    let mut row = Segments::titled(frame, &DIM, "○", "nothing live");
    if frame.model.waiting && frame.options.error_page {
        row.add(2, address);
        row.add(1, "HTTP requests get 503 with the error");
        row.add(3, "other connections wait");
    } else {
        row.add(1, format!("connections to {address} wait"));
    }
    Some(row.fit(frame.columns()))
}

fn starting_row(frame: &Frame<'_>, id: GenId, starting: &ShownGeneration) -> String {
    let mut row = Segments::titled(frame, &BUSY, "◔", &format!("gen {id} starting"));
    row.add(2, instance(starting));
    row.add(3, text::text(&starting.program));
    row.add(2, pid(starting));
    row.add(1, running(frame.age(starting.since)));
    row.add(1, status(starting));
    row.fit(frame.columns())
}

fn sharing_row(frame: &Frame<'_>, id: GenId, sharing: &ShownGeneration) -> String {
    let share = sharing.share.unwrap_or_default();
    let mut row = Segments::titled(frame, &BUSY, "◑", &format!("gen {id} sharing {share}%"));
    row.add(3, text::text(&sharing.program));
    row.add(5, pid(sharing));
    row.add(6, format!("up {}", up(frame.age(sharing.since))));
    row.add(1, connections(sharing));
    row.add(4, status(sharing));
    row.fit(frame.columns())
}

fn draining_row(frame: &Frame<'_>, id: GenId, draining: &ShownGeneration) -> String {
    let state = match (draining.killed, draining.failed) {
        (true, _) => "being killed",
        (false, true) => "stopping",
        (false, false) => "draining",
    };
    let mut row = Segments::titled(frame, &BUSY, "◐", &format!("gen {id} {state}"));
    if !draining.killed {
        row.add(1, waits_for(draining));
    }
    if let Some(timeout) = draining.drain.filter(|_| !draining.killed) {
        row.add(2, time_left(frame.age(draining.since), timeout));
    }
    row.add(3, status(draining));
    row.add(3, frame.paint(&DIM, pid(draining)));
    row.fit(frame.columns())
}

fn kept_row(frame: &Frame<'_>, id: GenId, kept: &ShownGeneration) -> String {
    let mut row = Segments::titled(frame, &DIM, "◌", &format!("gen {id} kept"));
    let time = kept.drain.unwrap_or_default();
    let age = frame.age(kept.since);
    row.add(2, format!("{} left", kept_left(age, time)));
    row.add(1, connections(kept));
    row.add(3, frame.paint(&DIM, pid(kept)));
    row.fit(frame.columns())
}

/// The rest of the time for which a generation is kept: in minutes, rounded up, or in seconds if it is at most one minute.
/// Times are coarse, because each visible change costs a write to the terminal.
fn kept_left(age: Duration, time: Duration) -> String {
    let seconds = time.saturating_sub(age).as_secs_f64().ceil() as u64;
    match seconds {
        ..=MINUTE => format!("{seconds}s"),
        _ => format!("{}m", seconds.div_ceil(MINUTE)),
    }
}

/// How long until the row of a kept generation changes.
pub(super) fn kept_changes(kept: &ShownGeneration, now: Duration) -> Duration {
    let age = now.saturating_sub(kept.since);
    let left = kept.drain.unwrap_or_default().saturating_sub(age);
    match left.as_secs() {
        ..=MINUTE => Duration::from_millis(500),
        seconds => left - Duration::from_secs((seconds - 1) / MINUTE * MINUTE),
    }
}

/// The row for the sources that are down.
pub(super) fn sources_down(frame: &Frame<'_>) -> Option<String> {
    let down = &frame.model.sources_down;
    let (first, since) = down.iter().min_by_key(|(_, since)| **since)?;
    let title = match down.len() {
        1 => format!("source {first} down"),
        count => format!("{count} sources down"),
    };
    let mut row = Segments::titled(frame, &BAD, "✘", &title);
    row.add(1, format!("for {}", up(frame.age(*since))));
    Some(row.fit(frame.columns()))
}

fn instance(generation: &ShownGeneration) -> String {
    let number = generation.instance;
    number.map_or_else(String::new, |number| format!("instance {number}"))
}

fn pid(generation: &ShownGeneration) -> String {
    let pid = generation.pid.map(|pid| format!("pid {pid}"));
    pid.unwrap_or_default()
}

fn connections(generation: &ShownGeneration) -> String {
    match generation.connections {
        None => String::new(),
        Some(1) => "1 conn".into(),
        Some(count) => format!("{count} conns"),
    }
}

/// The status that the program reports, shortened to leave room for the rest of the row.
fn status(generation: &ShownGeneration) -> String {
    const MAX_COLUMNS: usize = 40;
    truncate_str(&text::text(&generation.status), MAX_COLUMNS, "…").into_owned()
}

/// The time left until a timeout. A generation that gets the stop signal only at its timeout may exceed the timeout a
/// little.
pub(super) fn time_left(age: Duration, timeout: Duration) -> String {
    match timeout.saturating_sub(age) {
        Duration::ZERO => format!("{} timeout exceeded", Human(timeout)),
        _ => format!("{} of {} left", left(age, timeout), Human(timeout)),
    }
}

/// What the generation must wait for before it can exit.
fn waits_for(draining: &ShownGeneration) -> String {
    match draining.connections {
        Some(0) if !draining.failed => "no conns, shutting down".into(),
        Some(0) | None => String::new(),
        Some(_) => connections(draining),
    }
}
