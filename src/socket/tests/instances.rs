use std::collections::BTreeMap;

use super::*;

/// Returns how many of 3000 new connections each generation gets.
fn spread(to: &To) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..3000 {
        *counts.entry(to.ask().unwrap()).or_default() += 1;
    }
    counts
}

/// Checks that exactly these generations get the connections, and that they get equal parts. For three of them, chi-squared
/// is above 28 once in a million runs.
fn assert_even(counts: &BTreeMap<u32, u32>, generations: &[u32]) {
    let expected = 3000.0 / f64::from(u32::try_from(generations.len()).unwrap());
    let deviation = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
    let chi_squared: f64 = counts.values().map(deviation).sum();
    assert!(
        counts.keys().eq(generations) && chi_squared < 28.0,
        "{counts:?}"
    );
    report(&format!("{counts:?}: chi-squared {chi_squared:.1}"));
}

#[tokio::test]
async fn instances_get_equal_parts_of_the_new_connections() {
    for value in ["127.0.0.1:0", "[::1]:0"] {
        let mut sockets = open(&[value]);
        let to = To::Tcp(tcp(&sockets, 0));
        let programs: Vec<_> = (1..=4)
            .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
            .collect();
        sockets.switch(id(1)).unwrap();
        sockets.switch_beside(id(2), vec![id(1)]).unwrap();
        sockets.switch_beside(id(3), vec![id(1), id(2)]).unwrap();
        assert_even(&spread(&to), &[1, 2, 3]);
        for number in 1..=4 {
            assert_eq!(dial(&route(&sockets, number)).await, number);
        }
        // The second instance is replaced.
        sockets.switch_beside(id(4), vec![id(1), id(3)]).unwrap();
        assert_even(&spread(&to), &[1, 3, 4]);
        // The newest one ends.
        sockets.forward(id(4)).unwrap();
        assert_even(&spread(&to), &[1, 3]);
        programs.iter().for_each(Program::ask_to_stop);
    }
}

/// As when an instance is killed: about a third of the connections are in its queue.
#[tokio::test]
async fn connections_in_the_queue_of_an_instance_that_has_ended_are_forwarded_to_the_others() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let programs: Vec<_> = (1..=2)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    sockets.switch(id(1)).unwrap();
    sockets.switch_beside(id(2), vec![id(1)]).unwrap();
    let passed = sockets.prepare(id(3)).unwrap();
    sockets.switch_beside(id(3), vec![id(1), id(2)]).unwrap();
    let waiting: Vec<_> = (0..60).map(|_| to.connect().unwrap()).collect();
    let queue = crate::os::tcp_queue(&passed[0].fd).unwrap().waiting;
    assert!((3..45).contains(&queue), "{queue} of 60 connections");
    drop(passed);
    sockets.forward(id(3)).unwrap();
    let answered = answers(waiting);
    until("all are answered", || answered.is_finished()).await;
    assert!(
        answered
            .join()
            .unwrap()
            .iter()
            .all(|number| [1, 2].contains(number))
    );
    sockets.release(id(3)).unwrap();
    until("the listener is closed", || sockets.listener_count() == 2).await;
    assert_even(&spread(&to), &[1, 2]);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn the_path_of_a_unix_socket_leads_to_one_instance_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web");
    let mut sockets = open(&[&format!("unix:{}", path.display())]);
    let to = To::Unix(path);
    let programs: Vec<_> = (1..=2)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    sockets.switch(id(1)).unwrap();
    sockets.switch_beside(id(2), vec![id(1)]).unwrap();
    assert_even(&spread(&to), &[2]);
    sockets.forward(id(2)).unwrap();
    assert_even(&spread(&to), &[1]);
    programs.iter().for_each(Program::ask_to_stop);
}
