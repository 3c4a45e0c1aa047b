//! Tests the watch with a small etcd in memory, in virtual time.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::source::etcd::Connection;

/// What the small etcd does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Refuses,
    /// Accepts connections, but sends no response.
    Silent,
    /// Ends each watch this long after its creation.
    Serves(Duration),
    /// Has compacted the revision from which to watch.
    Compacts,
    NotHttp,
}

struct Etcd {
    mood: Mood,
    revision: i64,
    value: &'static str,
    /// The watches, and their first revisions.
    watches: Vec<i64>,
    dials: usize,
}

const HOUR: Duration = Duration::from_secs(3600);

fn head(length: &str) -> String {
    format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n{length}\r\n")
}

fn event(revision: i64, value: &str) -> String {
    let value = BASE64_STANDARD.encode(value);
    format!(
        "{{\"result\":{{\"header\":{{\"revision\":\"{revision}\"}},\"events\":[{{\"kv\":{{\"key\":\"L2E=\",\"value\":\"{value}\"}}}}]}}}}\n"
    )
}

async fn serve(etcd: Arc<Mutex<Etcd>>, mut stream: DuplexStream) {
    let mut request = vec![0; 4096];
    let count = stream.read(&mut request).await.unwrap();
    let text = String::from_utf8(request[..count].to_vec()).unwrap();
    let (mood, revision, value) = {
        let etcd = etcd.lock().unwrap();
        (etcd.mood, etcd.revision, BASE64_STANDARD.encode(etcd.value))
    };
    if mood == Mood::Silent {
        return std::future::pending().await;
    }
    if mood == Mood::NotHttp {
        stream.write_all(b"SSH-2.0-x\r\n\r\n").await.unwrap();
        return;
    }
    if text.starts_with("POST /v3/kv/range ") {
        let body = format!(
            "{{\"header\":{{\"revision\":\"{revision}\"}},\"kvs\":[{{\"key\":\"L2E=\",\"value\":\"{value}\"}}]}}"
        );
        stream
            .write_all((head("") + &body).as_bytes())
            .await
            .unwrap();
        return;
    }
    assert!(text.starts_with("POST /v3/watch HTTP/1.0\r\n"), "{text}");
    let start = text.split("\"start_revision\":\"").nth(1).unwrap();
    let start: i64 = start.split('"').next().unwrap().parse().unwrap();
    etcd.lock().unwrap().watches.push(start);
    let mut answer = head("") + "{\"result\":{\"header\":{},\"created\":true}}\n";
    if mood == Mood::Compacts {
        answer += "{\"result\":{\"canceled\":true,\"compact_revision\":\"9\"}}\n";
        return stream.write_all(answer.as_bytes()).await.unwrap();
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    let Mood::Serves(lasts) = mood else { return };
    let end = Instant::now() + lasts;
    let mut seen = start - 1;
    while Instant::now() < end {
        sleep(Duration::from_millis(100).min(lasts)).await;
        let (revision, value) = {
            let etcd = etcd.lock().unwrap();
            (etcd.revision, etcd.value)
        };
        if revision > seen {
            seen = revision;
            stream
                .write_all(event(revision, value).as_bytes())
                .await
                .unwrap();
        }
    }
}

type Events = Arc<Mutex<Vec<EtcdEvent>>>;

/// Starts an etcd with one key, and watches it.
fn start(mood: Mood) -> (Arc<Mutex<Etcd>>, Events) {
    let etcd = Arc::new(Mutex::new(Etcd {
        mood,
        revision: 5,
        value: "one",
        watches: Vec::new(),
        dials: 0,
    }));
    let events = Events::default();
    let (served, seen) = (etcd.clone(), events.clone());
    let dial: Dial = Box::new(move || {
        let etcd = served.clone();
        Box::pin(async move {
            etcd.lock().unwrap().dials += 1;
            if etcd.lock().unwrap().mood == Mood::Refuses {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(64 * 1024);
            tokio::spawn(serve(etcd, theirs));
            Ok(Box::new(ours) as Connection)
        })
    });
    let url = EtcdUrl::parse("etcd://etcd/").unwrap().unwrap();
    let report = move |event| seen.lock().unwrap().push(event);
    tokio::spawn(watch(url, None, dial, report));
    (etcd, events)
}

fn put(etcd: &Arc<Mutex<Etcd>>, value: &'static str) {
    let mut etcd = etcd.lock().unwrap();
    etcd.revision += 1;
    etcd.value = value;
}

fn set(etcd: &Arc<Mutex<Etcd>>, mood: Mood) {
    etcd.lock().unwrap().mood = mood;
}

fn changes(events: &Events) -> usize {
    let events = events.lock().unwrap();
    events
        .iter()
        .filter(|event| **event == EtcdEvent::Changed)
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_different_value_is_a_change_and_the_same_one_is_none() {
    let (etcd, events) = start(Mood::Serves(HOUR));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*events.lock().unwrap(), [EtcdEvent::Up]);
    put(&etcd, "two");
    sleep(Duration::from_secs(1)).await;
    put(&etcd, "two");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*events.lock().unwrap(), [EtcdEvent::Up, EtcdEvent::Changed]);
    assert_eq!(
        etcd.lock().unwrap().watches,
        [6],
        "from the revision after the one that was read"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_while_etcd_is_down_is_reported_once() {
    for back in [Mood::Serves(HOUR), Mood::Compacts] {
        let (etcd, events) = start(Mood::Serves(Duration::from_secs(60)));
        sleep(Duration::from_secs(30)).await;
        set(&etcd, Mood::Refuses);
        sleep(HOUR).await;
        put(&etcd, "two");
        put(&etcd, "three");
        set(&etcd, back);
        sleep(HOUR).await;
        set(&etcd, Mood::Serves(HOUR));
        sleep(HOUR).await;
        assert_eq!(changes(&events), 1, "{back:?}");
        assert_eq!(events.lock().unwrap().last(), Some(&EtcdEvent::Up));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_etcd_with_older_revisions_is_compared() {
    let (etcd, events) = start(Mood::Serves(Duration::from_secs(60)));
    sleep(Duration::from_secs(30)).await;
    etcd.lock().unwrap().revision = 0;
    put(&etcd, "restored");
    set(&etcd, Mood::Serves(HOUR));
    sleep(Duration::from_secs(60)).await;
    put(&etcd, "new");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(changes(&events), 2);
    assert_eq!(etcd.lock().unwrap().watches.last(), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn values_that_come_late_are_a_change() {
    for mood in [Mood::Refuses, Mood::Silent, Mood::NotHttp] {
        let (etcd, events) = start(mood);
        sleep(Duration::from_secs(60)).await;
        assert!(
            matches!(events.lock().unwrap()[0], EtcdEvent::Down(_)),
            "{mood:?}"
        );
        assert_eq!(changes(&events), 0);
        set(&etcd, Mood::Serves(HOUR));
        sleep(Duration::from_secs(60)).await;
        assert_eq!(changes(&events), 1, "{mood:?}");
    }
}

/// Half a minute between attempts is 20,160 attempts in a week.
#[tokio::test(start_paused = true)]
async fn a_week_without_etcd_leaves_nothing() {
    for mood in [Mood::Refuses, Mood::Serves(Duration::from_millis(1))] {
        let (etcd, events) = start(mood);
        sleep(HOUR).await;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        sleep(24 * 7 * HOUR).await;
        let dials = etcd.lock().unwrap().dials;
        assert!((20_000..45_000).contains(&dials), "{dials} connections");
        assert_eq!(changes(&events), 0);
        let after = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert!(after <= tasks + 1, "{after} tasks, {tasks} before");
    }
}
