use std::borrow::Cow;

use serde::Serialize;

use super::names::{cause_name, ms, stopped_name};
use crate::reload::{Ended, Failure, GenId, GenNotice, Notice};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    Watching {
        directories: usize,
    },
    Listening {
        name: &'a str,
        address: &'a str,
    },
    Changed {
        paths: Vec<Cow<'a, str>>,
    },
    Building {
        generation: u32,
        cause: &'static str,
    },
    BuildOutput {
        generation: u32,
        text: Cow<'a, str>,
    },
    Diagnostic {
        generation: u32,
        level: &'static str,
        rendered: Cow<'a, str>,
    },
    Progress {
        generation: u32,
        done: usize,
        all: usize,
    },
    BuildCancelled {
        generation: u32,
    },
    Built {
        generation: u32,
        took_ms: f64,
    },
    Outdated {
        generation: u32,
    },
    Unchanged {
        generation: u32,
        like: u32,
    },
    Signalled {
        generation: u32,
        signal: i32,
    },
    Unhandled {
        generation: u32,
        signal: i32,
    },
    Starting {
        generation: u32,
        cause: &'static str,
    },
    Spawned {
        generation: u32,
        pid: i32,
        program: &'a str,
    },
    MainProcess {
        generation: u32,
        pid: i32,
    },
    Status {
        generation: u32,
        text: &'a str,
    },
    Stores {
        generation: u32,
    },
    Extended {
        generation: u32,
        left_ms: f64,
    },
    Restored {
        generation: u32,
    },
    Again {
        generation: u32,
        after_ms: f64,
    },
    Aborting {
        generation: u32,
        after_ms: Option<f64>,
    },
    Ready {
        generation: u32,
        took_ms: f64,
    },
    Live {
        generation: u32,
        took_ms: f64,
    },
    Superseded {
        generation: u32,
    },
    Draining {
        generation: u32,
        timeout_ms: f64,
    },
    Killing {
        generation: u32,
        why: &'static str,
        after_ms: f64,
    },
    Gone {
        generation: u32,
        how: &'static str,
        took_ms: f64,
    },
    Failed(Failed),
    Paused,
    Resumed,
    NothingToUndo,
    Waiting,
    Quitting {
        timeout_ms: f64,
    },
    Output(Output<'a>),
    Message(Message<'a>),
}

#[derive(Serialize)]
pub(super) struct Failed {
    generation: u32,
    reason: &'static str,
    text: String,
    live: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
}

#[derive(Serialize)]
pub(super) struct Output<'a> {
    pub(super) generation: u32,
    pub(super) stream: &'static str,
    pub(super) text: Cow<'a, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) lossy: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) partial: bool,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) level: &'static str,
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<&'a str>,
}

pub(super) fn notice_event(notice: &Notice) -> Event<'static> {
    match notice {
        Notice::Generation(id, GenNotice::Building { cause }) => Event::Building {
            generation: id.get(),
            cause: cause_name(*cause),
        },
        Notice::Generation(id, GenNotice::BuildCancelled) => Event::BuildCancelled {
            generation: id.get(),
        },
        Notice::Generation(id, GenNotice::Built { took }) => Event::Built {
            generation: id.get(),
            took_ms: ms(*took),
        },
        Notice::Generation(id, GenNotice::Outdated) => Event::Outdated {
            generation: id.get(),
        },
        Notice::Generation(id, GenNotice::Unchanged { like }) => Event::Unchanged {
            generation: id.get(),
            like: like.get(),
        },
        Notice::Generation(id, GenNotice::ReloadSignalSent { signal }) => Event::Signalled {
            generation: id.get(),
            signal: *signal,
        },
        Notice::Generation(id, GenNotice::ReloadSignalUnhandled { signal }) => Event::Unhandled {
            generation: id.get(),
            signal: *signal,
        },
        Notice::Generation(id, GenNotice::Starting { cause }) => Event::Starting {
            generation: id.get(),
            cause: cause_name(*cause),
        },
        Notice::Generation(id, GenNotice::Ready { took }) => Event::Ready {
            generation: id.get(),
            took_ms: ms(*took),
        },
        Notice::Generation(id, GenNotice::Live { took }) => Event::Live {
            generation: id.get(),
            took_ms: ms(*took),
        },
        Notice::Generation(id, GenNotice::Superseded) => Event::Superseded {
            generation: id.get(),
        },
        Notice::Generation(id, GenNotice::Draining { timeout }) => Event::Draining {
            generation: id.get(),
            timeout_ms: ms(*timeout),
        },
        Notice::Generation(id, GenNotice::TimeoutExtended { left }) => Event::Extended {
            generation: id.get(),
            left_ms: ms(*left),
        },
        Notice::Generation(id, GenNotice::StoredFds) => Event::Stores {
            generation: id.get(),
        },
        Notice::Generation(id, GenNotice::Restored) => Event::Restored {
            generation: id.get(),
        },
        Notice::Generation(id, GenNotice::RestartScheduled { after }) => Event::Again {
            generation: id.get(),
            after_ms: ms(*after),
        },
        Notice::Generation(id, GenNotice::Aborting { after }) => Event::Aborting {
            generation: id.get(),
            after_ms: after.map(ms),
        },
        Notice::Generation(id, GenNotice::Killing { why, after }) => Event::Killing {
            generation: id.get(),
            why: stopped_name(*why),
            after_ms: ms(*after),
        },
        Notice::Generation(id, GenNotice::Gone { how, took }) => Event::Gone {
            generation: id.get(),
            how: stopped_name(*how),
            took_ms: ms(*took),
        },
        Notice::Generation(id, GenNotice::Failed { failure, live }) => {
            Event::Failed(failed(*id, *failure, *live))
        }
        Notice::Paused => Event::Paused,
        Notice::Resumed => Event::Resumed,
        Notice::NothingToUndo => Event::NothingToUndo,
        Notice::Waiting => Event::Waiting,
        Notice::Quitting { timeout } => Event::Quitting {
            timeout_ms: ms(*timeout),
        },
    }
}

fn failed(id: GenId, failure: Failure, live: Option<GenId>) -> Failed {
    let (reason, ended) = match failure {
        Failure::Build => ("build", None),
        Failure::Start => ("start", None),
        Failure::ExitedEarly(ended) => ("ended_early", Some(ended)),
        Failure::ReadyTimeout => ("ready_timeout", None),
        Failure::Switch => ("switch", None),
        Failure::Crashed(ended) => ("crashed", Some(ended)),
        Failure::Vanished => ("lost", None),
    };
    let (exit_code, signal) = match ended {
        Some(Ended::Code(code)) => (Some(code), None),
        Some(Ended::Signal(number)) => (None, Some(number)),
        None => (None, None),
    };
    Failed {
        generation: id.get(),
        reason,
        text: failure.to_string(),
        live: live.map(GenId::get),
        exit_code,
        signal,
    }
}
