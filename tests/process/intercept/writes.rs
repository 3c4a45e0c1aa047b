//! Tests the interception of calls that write files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::mpsc;

use hotrun::os::seccomp::{self, Reply, Syscall};

use super::*;
use crate::support::*;

/// Only reads `read`.
const WRITES: &str = "import os
here = os.open('.', os.O_RDONLY)
open('read').close()
os.chdir('sub')
open('opened', 'w').close()
os.close(os.open('relative', os.O_RDWR | os.O_CREAT, dir_fd=here))
open(os.path.abspath('absolute'), 'a').close()
open('link', 'a').close()
os.rename('from', 'to')
os.replace('../from', '../to')
os.rename('again', 'dir', src_dir_fd=here, dst_dir_fd=here)
os.unlink('removed')
os.unlink('removed', dir_fd=here)
try:
    open('x' * 5000, 'w')
except OSError as e:
    print('errno', e.errno)
";

#[tokio::test]
async fn a_program_reports_the_files_that_it_is_about_to_write() {
    if !python_or_skip() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().canonicalize().unwrap();
    fs::create_dir(work.join("sub")).unwrap();
    let files = [
        "read",
        "target",
        "from",
        "again",
        "removed",
        "sub/from",
        "sub/removed",
    ];
    for name in files {
        fs::write(work.join(name), "").unwrap();
    }
    symlink("../target", work.join("sub/link")).unwrap();
    let mark = Mark::new();
    let mut spec = python_spec(&mark, WRITES);
    spec.workdir.clone_from(&work);
    spec.reports_writes = true;
    let (mut running, calls) = start(spec).await;
    let (sender, paths) = mpsc::channel();
    let replier = Replier::start(calls, move |_, call| {
        let Syscall::Write(files) = call.syscall else {
            panic!("{call:?}");
        };
        for file in files.into_iter().flatten() {
            let path = seccomp::file_of(call.thread, file);
            path.into_iter().for_each(|path| sender.send(path).unwrap());
        }
        Reply::Continue
    });
    let errno = format!("errno {}", libc::ENAMETOOLONG);
    assert_eq!(running.rest().await, [errno]);
    replier.ended().await;
    let written = [
        "sub/opened",
        "relative",
        "sub/absolute",
        "target",
        "sub/from",
        "sub/to",
        "from",
        "to",
        "again",
        "dir",
        "sub/removed",
        "removed",
    ];
    let written = BTreeSet::from(written.map(|name| work.join(name)));
    // Python may write its caches.
    let paths: BTreeSet<PathBuf> = paths
        .iter()
        .filter(|path| path.starts_with(&work))
        .collect();
    assert_eq!(paths, written);
}
