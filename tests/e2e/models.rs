//! Models as files: shards in the safetensors format that arrive one by one, with a manifest as the commit point.

use std::fs;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::adopting::{App, installed_or_skip};
use crate::harness::request_loop::RequestLoop;
use crate::harness::{PYTHON, Project, Run};

/// Loads the shards that the manifest names, and responds with the sum of all numbers. Checks a shard as the safetensors
/// library does: the size of the header, unique names, that the tensors' offsets fit their shapes, leave no gap, do not
/// overlap, and cover the rest of the file. A broken model makes it exit.
const SERVER: &str = r#"
import http.server, json, math, struct, sys
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}

def unique(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)

def shard(path):
    data = memoryview(open(path, "rb").read())
    if len(data) < 8:
        raise ValueError("the header is too short")
    (length,) = struct.unpack("<Q", data[:8])
    if length > 100_000_000 or 8 + length > len(data):
        raise ValueError("the header is too large")
    if data[8:9] != b"{":
        raise ValueError("the header does not begin with a brace")
    header = json.loads(str(data[8:8 + length], "utf-8"), object_pairs_hook=unique)
    notes = header.pop("__metadata__", {})
    if not all(type(note) is str for note in notes.values()):
        raise ValueError("the metadata is no map of strings")
    body, at, tensors = data[8 + length:], 0, {}
    for name, tensor in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"]):
        begin, end = tensor["data_offsets"]
        size = SIZES[tensor["dtype"]] * math.prod(tensor["shape"])
        if begin != at or end < begin or end - begin != size:
            raise ValueError(f"invalid offsets of {name}")
        tensors[name], at = (tensor["dtype"], body[begin:end]), end
    if at != len(body):
        raise ValueError("the tensors do not cover the file")
    return tensors

def model():
    index = json.load(open("weights/model.index.json"))
    shards = {path: shard("weights/" + path) for path in set(index["weight_map"].values())}
    total, size = 0.0, 0
    for name, path in index["weight_map"].items():
        kind, numbers = shards[path][name]
        assert kind == "F32", kind
        total, size = total + sum(numbers.cast("f")), size + len(numbers)
    assert size == index["metadata"]["total_size"], size
    return f"sum {total:.0f}"

try:
    answer = model().encode()
except (ValueError, KeyError, AssertionError) as error:
    sys.exit(f"cannot load the model: {error}")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_): pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", port), Handler).serve_forever()
"#;

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];
/// How many numbers a tensor has. A shard has two tensors.
const COUNT: usize = 50_000;

/// A file in the safetensors format: the length of the header in eight bytes, the header as JSON, padded with spaces to a
/// multiple of eight bytes, and the data.
fn shard(number: usize, value: f32, last_end: usize) -> Vec<u8> {
    let size = COUNT * size_of::<f32>();
    let tensor = |begin, end| json!({ "dtype": "F32", "shape": [COUNT / 100, 100], "data_offsets": [begin, end] });
    let [first, second] = names(number);
    let header = json!({
        "__metadata__": { "format": "pt" },
        first: tensor(0, size),
        second: tensor(size, last_end),
    });
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.extend(value.to_le_bytes().repeat(2 * COUNT));
    file
}

fn intact(number: usize, value: f32) -> Vec<u8> {
    shard(number, value, 2 * COUNT * size_of::<f32>())
}

/// The names of the tensors in a shard.
fn names(number: usize) -> [String; 2] {
    ["q_proj", "k_proj"].map(|part| format!("model.layers.{number}.{part}.weight"))
}

/// Writes a shard as a download does: in place and piece by piece.
fn download(project: &Project, number: usize, bytes: &[u8]) {
    use std::io::Write;
    let path = project.work().join("weights").join(SHARDS[number]);
    let mut file = fs::File::create(path).expect("can create the shard");
    for piece in bytes.chunks(bytes.len().div_ceil(4)) {
        file.write_all(piece).expect("can write the shard");
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// Replaces the manifest. It names a revision, because one that is saved without a change restarts nothing.
fn commit(project: &Project, revision: u64) {
    let map: Map<String, Value> = (0..SHARDS.len())
        .flat_map(|number| names(number).map(|name| (name, SHARDS[number].into())))
        .collect();
    let total = 4 * COUNT * size_of::<f32>();
    let index =
        json!({ "metadata": { "total_size": total, "revision": revision }, "weight_map": map });
    project.save("weights/model.index.json", &index.to_string());
}

fn run(app: &App) -> Run {
    let rules = ["weights/**=ignore", "weights/model.index.json=restart"];
    let run = app.run().args(["--ready", "listen"]);
    run.args(rules.iter().flat_map(|rule| ["--on", rule]))
}

#[test]
#[ignore = "needs python3"]
fn a_manifest_replaces_a_model_once_and_a_broken_shard_leaves_the_old_one_live() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(SERVER);
    let project = &app.project;
    fs::create_dir(project.work().join("weights")).expect("can create the directory");
    (0..2).for_each(|number| download(project, number, &intact(number, 1.0)));
    commit(project, 1);
    let mut run = run(&app).spawn();
    run.live();
    assert_eq!(run.get("/"), "sum 200000");
    let load = RequestLoop::start(app.address());

    // Shards that arrive one by one restart nothing.
    (0..2).for_each(|number| download(project, number, &intact(number, 2.0)));
    run.wait_until_quiet(Duration::from_millis(500));
    run.assert_count("starting", 1);
    commit(project, 2);
    assert_eq!(run.live(), 2);
    assert_eq!(run.get("/"), "sum 400000");
    run.wait_until_gone(1);
    run.assert_count("starting", 2);

    let fine = intact(1, 3.0);
    download(project, 0, &intact(0, 3.0));
    let broken = [
        (
            "the tensors do not cover the file",
            [&fine[..], b"more"].concat(),
        ),
        ("cannot load the model", fine[..fine.len() / 2].to_vec()),
        (
            "invalid offsets",
            shard(1, 3.0, 2 * COUNT * size_of::<f32>() - 4),
        ),
        ("the header is too large", [&[0xff; 7], &fine[7..]].concat()),
    ];
    for (generation, (reason, bytes)) in (3..).zip(&broken) {
        download(project, 1, bytes);
        commit(project, generation);
        let failed = run.expect("failed");
        assert_eq!(failed.generation(), generation);
        assert_eq!(failed.text("reason"), "exited_early");
        run.wait_for_event(reason, |event| {
            event.is("output") && event.generation() == generation && event.mentions(reason)
        });
        assert_eq!(run.get("/"), "sum 400000");
    }
    download(project, 1, &fine);
    run.wait_until_quiet(Duration::from_millis(500));
    run.assert_count("starting", 6);
    commit(project, 7);
    assert_eq!(run.live(), 7);
    assert_eq!(run.get("/"), "sum 600000");
    load.assert_none_lost();
    run.assert_count("starting", 7);
    run.quit();
}
