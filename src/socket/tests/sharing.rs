use super::*;

/// Returns how many of these new connections each of the first two generations gets.
fn spread(to: &To, connections: u32) -> (u32, u32) {
    let second = (0..connections).filter(|_| to.ask().unwrap() == 2).count();
    let second = u32::try_from(second).unwrap();
    (connections - second, second)
}

/// Whether this many of 4000 connections are within 5 standard deviations of a percentage.
fn fits(count: u32, percent: u32) -> bool {
    let (count, share) = (f64::from(count), f64::from(percent) / 100.0);
    (count - 4000.0 * share).abs() < 5.0 * (4000.0 * share * (1.0 - share)).sqrt()
}

async fn shares(value: &str) {
    let mut sockets = open(&[value]);
    let to = To::Tcp(tcp(&sockets, 0));
    let programs: Vec<_> = (1..=2)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    assert!(sockets.share(id(2), 10).is_err(), "no generation is live");
    sockets.switch(id(1)).unwrap();
    assert!(sockets.share(id(3), 10).is_err(), "it does not listen");
    for percent in [10, 50, 1, 99] {
        sockets
            .share(id(2), u8::try_from(percent).unwrap())
            .unwrap();
        let (_, second) = spread(&to, 4000);
        assert!(fits(second, percent), "{percent} % of 4000: {second}");
        report(&format!(
            "{value}: {percent} % of 4000 connections: {second}"
        ));
        assert_eq!(dial(&route(&sockets, 1)).await, 1);
        assert_eq!(dial(&route(&sockets, 2)).await, 2);
    }
    sockets.share(id(2), 0).unwrap();
    assert_eq!(spread(&to, 300), (300, 0));
    sockets.share(id(2), 50).unwrap();
    sockets.switch(id(2)).unwrap();
    assert_eq!(spread(&to, 300), (0, 300));
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_generation_beside_the_live_one_gets_its_share_of_new_connections() {
    shares("127.0.0.1:0").await;
}

#[tokio::test]
async fn a_generation_beside_the_live_one_gets_its_share_of_new_ipv6_connections() {
    shares("[::1]:0").await;
}

/// As when a generation is killed: it accepts nothing any more, and about half of the connections are in its queue.
#[tokio::test]
async fn connections_in_the_queue_of_a_generation_that_has_left_are_forwarded() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    let passed = sockets.prepare(id(2)).unwrap();
    sockets.share(id(2), 50).unwrap();
    let waiting: Vec<_> = (0..60).map(|_| to.connect().unwrap()).collect();
    let queue = crate::os::tcp_queue(&passed[0].fd).unwrap().waiting;
    assert!((5..55).contains(&queue), "{queue} of 60 connections");
    drop(passed);
    sockets.forward(id(2)).unwrap();
    let answered = answers(waiting);
    until("all are answered", || answered.is_finished()).await;
    assert_eq!(answered.join().unwrap(), [1; 60]);
    sockets.release(id(2)).unwrap();
    until("the listener is closed", || sockets.listener_count() == 1).await;
    assert_eq!(spread(&to, 300), (300, 0));
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn the_path_of_a_unix_socket_leads_to_the_live_generation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web");
    let mut sockets = open(&[&format!("unix:{}", path.display())]);
    let to = To::Unix(path);
    let programs: Vec<_> = (1..=2)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    sockets.switch(id(1)).unwrap();
    sockets.share(id(2), 99).unwrap();
    assert_eq!(spread(&to, 100), (100, 0));
    sockets.switch(id(2)).unwrap();
    assert_eq!(spread(&to, 100), (0, 100));
    programs.iter().for_each(Program::ask_to_stop);
}
