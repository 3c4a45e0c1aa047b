//! Checks that the files of a module do not import each other, directly or in a longer cycle.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{Source, rust_files};
use crate::imports::Crate;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The files that can be reached from `from`. They include `from` itself only if it is part of a cycle.
fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(file) = open.pop() {
        for next in graph.get(&file).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

/// The groups of files that import each other, directly or through others.
fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = graph
        .keys()
        .map(|file| (file.clone(), reachable(graph, file)))
        .collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (file, from_here) in &reached {
        let back = |other: &&String| reached.get(*other).is_some_and(|set| set.contains(file));
        let circle: BTreeSet<String> = from_here.iter().filter(back).cloned().collect();
        if !circle.is_empty() && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

/// Maps each file of a module to the files of the same module that it imports.
fn graph(all: &Crate, sources: &[Source], module: &str) -> Graph {
    let inside = sources
        .iter()
        .filter(|source| source.module() == module && !source.is_test());
    let edges = inside.map(|source| {
        let imports = all.imports(source).into_iter();
        let inside = imports.filter(|path| path.first().is_some_and(|first| first == module));
        let files = inside.map(|path| all.file(&path).to_owned());
        (source.name(), files.collect())
    });
    edges.collect()
}

#[test]
fn no_files_of_a_module_import_each_other() {
    let sources = rust_files("src");
    let modules: BTreeSet<_> = sources.iter().map(Source::module).collect();
    let all = Crate::new(&sources);
    let mut found = Vec::new();
    for module in &modules {
        let graph = graph(&all, &sources, module);
        for circle in circles(&graph) {
            let mut lines = vec![format!(
                "{module}: {} files import each other",
                circle.len()
            )];
            for file in &circle {
                let others: Vec<_> = graph[file].intersection(&circle).cloned().collect();
                lines.push(format!("  {file} -> {}", others.join(", ")));
            }
            found.push(lines.join("\n"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let graph = Graph::from([
        ("a".into(), BTreeSet::from(["b".into()])),
        ("b".into(), BTreeSet::from(["c".into()])),
        ("c".into(), BTreeSet::from(["b".into()])),
    ]);
    assert_eq!(
        circles(&graph),
        [BTreeSet::from(["b".to_owned(), "c".to_owned()])]
    );
}
