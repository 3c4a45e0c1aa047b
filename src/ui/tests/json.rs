use super::*;

pub(super) fn json(reports: &[Report]) -> String {
    let recorder = Recorder::default();
    let mut json = Json::new(&Options::of(UiMode::Json), handles(&recorder, true).stdout);
    for report in reports {
        json.show(report);
    }
    json.finish();
    let all = recorder.all();
    let lines = all.lines().map(|line| match line.split_once(',') {
        Some((time, rest)) if time.starts_with("{\"time\":") => format!("{{{rest}\n"),
        _ => panic!("`time` is not the first field: {line}"),
    });
    lines.collect()
}

#[test]
fn a_json_line_contains_the_time_and_the_event() {
    let recorder = render(Options::of(UiMode::Json), true, &[notice(Notice::Waiting)]);
    let value: serde_json::Value = serde_json::from_str(&recorder.all()).unwrap();
    assert_eq!(value["event"], "waiting");
    let time = value["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 24, "{time}");
}

fn output(bytes: &[u8]) -> Report {
    Report::Output(ONE, OutputStream::Stdout, bytes.to_vec())
}

/// Reports that result in most of the events.
fn everything() -> Vec<Report> {
    let reports = [
        vec![
            Report::Listening {
                name: "http".into(),
                address: "127.0.0.1:3000".into(),
                by: None,
                first: true,
            },
            Report::Watching(3),
            Report::Changed(vec!["/app/src/a.rs".into()]),
        ],
        begin(TWO, Cause::Change),
        go_live(TWO),
        drain(ONE),
        vec![
            Report::Diagnostic {
                level: Level::Warning,
                id: TWO,
                rendered: "\u{1b}[31merror\u{1b}[0m".into(),
            },
            notice(Notice::Generation(
                ONE,
                GenNotice::Killing {
                    why: Stopped::TimedOut,
                    after: ms(12_500),
                },
            )),
            notice(Notice::Generation(
                ONE,
                GenNotice::Gone {
                    how: Stopped::Drained,
                    in_use: Some(1),
                    took: ms(1500),
                },
            )),
            notice(Notice::Generation(ONE, GenNotice::BuildCancelled)),
            notice(Notice::Generation(ONE, GenNotice::Outdated)),
            notice(Notice::Generation(
                TWO,
                GenNotice::Failed {
                    failure: GenFailure::Crashed(Ended::Signal(9)),
                    live: None,
                },
            )),
            notice(Notice::Generation(
                TWO,
                GenNotice::Failed {
                    failure: GenFailure::ExitedEarly(Ended::Code(1)),
                    live: Some(ONE),
                },
            )),
            notice(Notice::Generation(TWO, GenNotice::Unchanged { like: ONE })),
            notice(Notice::Generation(
                ONE,
                GenNotice::ReloadSignalSent { signal: 1 },
            )),
            notice(Notice::Generation(
                ONE,
                GenNotice::ReloadSignalUnhandled { signal: 1 },
            )),
            notice(Notice::Waiting),
            notice(Notice::Quitting {
                timeout: Duration::from_micros(1_500),
            }),
            Report::Message {
                level: Level::Error,
                text: "no".into(),
                hint: Some("do".into()),
            },
        ],
    ];
    reports.concat()
}

#[test]
fn a_reload_in_json() {
    assert_eq!(
        json(&everything()),
        r#"{"event":"listening","name":"http","address":"127.0.0.1:3000"}
{"event":"watching","directories":3}
{"event":"changed","paths":["/app/src/a.rs"]}
{"event":"building","generation":2,"cause":"change"}
{"event":"build_output","generation":2,"text":"   Compiling app v0.1.0"}
{"event":"built","generation":2,"took_ms":1040.0}
{"event":"starting","generation":2,"cause":"change"}
{"event":"spawned","generation":2,"pid":4242,"program":"api"}
{"event":"ready","generation":2,"took_ms":31.0}
{"event":"live","generation":2,"took_ms":1.0}
{"event":"draining","generation":1,"timeout_ms":10000.0}
{"event":"gone","generation":1,"outcome":"drained","took_ms":120.0}
{"event":"diagnostic","generation":2,"level":"warning","rendered":"error"}
{"event":"killing","generation":1,"reason":"timed_out","after_ms":12500.0}
{"event":"gone","generation":1,"outcome":"unfinished","took_ms":1500.0,"connections_in_use":1}
{"event":"build_cancelled","generation":1}
{"event":"discarded","generation":1}
{"event":"failed","generation":2,"reason":"crashed","text":"crashed (signal 9)","live":null,"signal":9}
{"event":"failed","generation":2,"reason":"exited_early","text":"exited before it was ready (exit status 1)","live":1,"exit_code":1}
{"event":"unchanged","generation":2,"same_as":1}
{"event":"reload_signal_sent","generation":1,"signal":1}
{"event":"reload_signal_unhandled","generation":1,"signal":1}
{"event":"waiting"}
{"event":"quitting","timeout_ms":1.5}
{"event":"message","level":"error","text":"no","hint":"do"}
"#
    );
}

#[test]
fn output_in_json_is_split_into_lines() {
    let bytes = |bytes: &[u8]| Report::Output(ONE, OutputStream::Stderr, bytes.to_vec());
    assert_eq!(
        json(&[out(ONE, "one\ntw"), bytes(b"caf\xff\n"), out(ONE, "o\nend")]),
        r#"{"event":"output","generation":1,"stream":"stdout","text":"one"}
{"event":"output","generation":1,"stream":"stderr","text":"caf�","lossy":true}
{"event":"output","generation":1,"stream":"stdout","text":"two"}
{"event":"output","generation":1,"stream":"stdout","text":"end","partial":true}
"#
    );
}

/// The line is split between characters, and invalid bytes are marked.
#[test]
fn a_long_line_in_json_loses_no_character() {
    let text = "\u{65e5}".repeat(30_000);
    let pieces = text.as_bytes().chunks(16_384);
    let mut reports: Vec<Report> = pieces.map(output).collect();
    reports.push(output(b"\xe6\n"));
    let lines = json(&reports);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let found: Vec<_> = lines
        .map(|line| {
            (
                line["text"].as_str().unwrap().to_owned(),
                line["lossy"] == true,
            )
        })
        .collect();
    let [(first, false), (rest, true)] = &found[..] else {
        panic!("expected two lines, found {}", found.len());
    };
    assert!(first.len() > 64 * 1024 && first.clone() + rest == text + "\u{fffd}");
}

/// The guide's description of an event.
fn documentation(event: &str) -> &'static str {
    let mut items = include_str!("../../guide/json.md").split("\n- ");
    let is_it = |item: &&str| item.starts_with(&format!("`{event}`"));
    items
        .find(is_it)
        .unwrap_or_else(|| panic!("`{event}` is not documented"))
}

#[test]
fn every_cause_is_documented() {
    let docs = documentation("building");
    for cause in [
        Cause::Begin,
        Cause::Change,
        Cause::Request,
        Cause::Undo,
        Cause::InheritFds,
        Cause::RollBack,
        Cause::Crash,
    ] {
        let line = json(&[notice(Notice::Generation(
            ONE,
            GenNotice::Building { cause },
        ))]);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let name = event["cause"].as_str().unwrap();
        assert!(
            docs.contains(&format!("`{name}`")),
            "`{name}` is not documented"
        );
    }
}

#[test]
fn every_json_event_and_field_is_documented() {
    let more = vec![
        output(&[255]),
        notice(Notice::Generation(
            ONE,
            GenNotice::Restored {
                cause: Cause::Crash,
            },
        )),
        notice(Notice::Generation(ONE, GenNotice::NotReplaced)),
        notice(Notice::Generation(
            ONE,
            GenNotice::RestartScheduled { after: ms(1) },
        )),
        kept(),
        makes_room(),
        kept_ended(),
    ];
    for line in json(&[everything(), notify::everything(), more].concat()).lines() {
        let event: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
        let name = event["event"].as_str().unwrap();
        let docs = documentation(name);
        let common = ["event", "generation"];
        for field in event
            .keys()
            .filter(|field| !common.contains(&field.as_str()))
        {
            assert!(
                docs.contains(&format!("`{field}`")),
                "`{field}` of `{name}` is not documented"
            );
        }
    }
}

#[test]
fn an_instance_in_json() {
    let cause = Cause::Follow;
    let starting = notice(Notice::Generation(TWO, GenNotice::Starting { cause }));
    assert_eq!(
        json(&[starting, Report::Instance(TWO, 1)]),
        r#"{"event":"starting","generation":2,"cause":"follow"}
{"event":"instance","generation":2,"number":1}
"#
    );
}
