use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::*;

/// Ends a generation as the driver does: asks it to stop, has its unclaimed connections forwarded, and releases it when
/// it is gone.
async fn retire(sockets: &mut Sockets, number: u32, programs: Vec<Program>) {
    sockets.forward(id(number)).unwrap();
    for program in &programs {
        program.ask_to_stop();
    }
    until("the program exits", || {
        programs.iter().all(Program::is_gone)
    })
    .await;
    sockets.release(id(number)).unwrap();
}

async fn switch_back_and_forth(value: &str, style: Style) {
    let mut sockets = open(&[value]);
    let to = To::Tcp(tcp(&sockets, 0));
    let programs: Vec<_> = (1..=3)
        .flat_map(|number| start(&mut sockets, number, style))
        .collect();
    sockets.switch(id(1)).unwrap();
    let load = Load::start(&to, 2);
    let mut took = Vec::new();
    for flip in 0..150 {
        let live = 1 + flip % 3;
        let begun = Instant::now();
        sockets.switch(id(live)).unwrap();
        took.push(begun.elapsed());
        for _ in 0..20 {
            assert_eq!(to.ask().unwrap(), live, "switch {flip}");
        }
    }
    let answered = load.finish().await;
    took.sort();
    report(&format!(
        "{value}: 150 switches, 3000 + {answered} connections; the median switch took {:?}, the slowest {:?}",
        took[75], took[149]
    ));
    for program in &programs {
        program.ask_to_stop();
    }
}

#[tokio::test]
async fn after_a_switch_every_new_connection_reaches_the_new_generation() {
    switch_back_and_forth("127.0.0.1:0", Style::NonBlocking).await;
}

#[tokio::test]
async fn after_a_switch_every_new_ipv6_connection_reaches_the_new_generation() {
    switch_back_and_forth("[::1]:0", Style::Blocking).await;
}

async fn a_hundred_generations(style: Style) {
    let mut sockets = open(&["127.0.0.1:0", "127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let load = Load::start(&to, 3);
    let mut programs = start(&mut sockets, 1, style);
    sockets.switch(id(1)).unwrap();
    for number in 2..=101 {
        load.more(10).await;
        let next = start(&mut sockets, number, style);
        sockets.switch(id(number)).unwrap();
        let old = std::mem::replace(&mut programs, next);
        retire_or_give_up(&mut sockets, number - 1, old).await;
    }
    load.more(50).await;
    let answered = load.finish().await;
    report(&format!("100 generations, {answered} connections"));
    // A listener that cannot be closed now is closed during a later reload, while the new program starts. Each reload
    // closes at least the listener that has waited longest.
    for number in 102..=120 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if sockets.listener_count() == 2 {
            break;
        }
        let next = start(&mut sockets, number, style);
        tokio::time::sleep(Duration::from_millis(100)).await;
        sockets.switch(id(number)).unwrap();
        let old = std::mem::replace(&mut programs, next);
        retire_or_give_up(&mut sockets, number - 1, old).await;
    }
    until("the other listeners are closed", || {
        sockets.listener_count() == 2
    })
    .await;
    let name = format!("forward {}", tcp(&sockets, 0).port());
    until("all forwarders exit", || threads_named(&name) == 0).await;
    programs.iter().for_each(Program::ask_to_stop);
}

/// Ends a generation whose program may be blocked in `accept`: after a short wait it is released as if it had been
/// killed.
async fn retire_or_give_up(sockets: &mut Sockets, number: u32, programs: Vec<Program>) {
    sockets.forward(id(number)).unwrap();
    programs.iter().for_each(Program::ask_to_stop);
    let begun = Instant::now();
    while !programs.iter().all(Program::is_gone) && begun.elapsed() < Duration::from_millis(20) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sockets.release(id(number)).unwrap();
}

#[tokio::test]
async fn hc28_a_hundred_generations_lose_no_connection() {
    a_hundred_generations(Style::NonBlocking).await;
}

#[tokio::test]
async fn hc28_a_hundred_generations_that_block_in_accept_lose_no_connection() {
    a_hundred_generations(Style::Blocking).await;
}

#[tokio::test]
async fn generations_that_drain_for_a_long_time_do_not_disturb_later_switches() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let load = Load::start(&to, 2);
    let mut draining = vec![start(&mut sockets, 1, Style::NonBlocking)];
    sockets.switch(id(1)).unwrap();
    for number in 2..=8 {
        draining.push(start(&mut sockets, number, Style::NonBlocking));
        sockets.switch(id(number)).unwrap();
        load.more(20).await;
    }
    let last = draining.pop().unwrap();
    for (number, programs) in [(3, 2), (1, 0), (6, 3), (2, 0), (7, 2), (5, 1), (4, 0)]
        .map(|(n, at)| (n, draining.remove(at)))
    {
        retire(&mut sockets, number, programs).await;
        assert_eq!(to.ask().unwrap(), 8);
        load.more(20).await;
    }
    load.finish().await;
    last.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn clients_never_notice_a_generation_that_died_before_it_was_live() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    for number in 2..20 {
        drop(sockets.prepare(id(number)).unwrap());
        assert_eq!(to.ask().unwrap(), 1);
        sockets.release(id(number)).unwrap();
        assert_eq!(to.ask().unwrap(), 1);
        until("the dead generation's listener is closed", || {
            sockets.listener_count() == 1
        })
        .await;
    }
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_listener_that_its_program_shuts_down_disturbs_no_client() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let load = Load::start(&to, 2);
    let first = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    let second = sockets.prepare(id(2)).unwrap().remove(0);
    let listener = socket2::Socket::from(second.fd.try_clone().unwrap());
    let address = sockets.listening()[0].address.clone();
    let second = [Program::start(2, second, &address, Style::NonBlocking)];
    sockets.switch(id(2)).unwrap();
    let third = start(&mut sockets, 3, Style::NonBlocking);
    sockets.switch(id(3)).unwrap();
    load.more(20).await;
    // The order of the members is 1, 2, 3, and 3 is live. When 2 leaves, 3 takes its index, and until hotrun notices
    // this, the kernel chooses between 1 and 3 by a hash. Both respond.
    sockets.forward(id(2)).unwrap();
    listener.shutdown(Shutdown::Both).unwrap();
    until("the listener is removed", || sockets.listener_count() == 2).await;
    load.more(20).await;
    for _ in 0..200 {
        assert_eq!(to.ask().unwrap(), 3);
    }
    retire(&mut sockets, 1, first).await;
    load.finish().await;
    for program in second.iter().chain(&third) {
        program.ask_to_stop();
    }
}

#[tokio::test]
async fn when_the_only_listener_is_shut_down_connections_are_held() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let passed = sockets.prepare(id(1)).unwrap().remove(0);
    sockets.switch(id(1)).unwrap();
    socket2::Socket::from(passed.fd)
        .shutdown(Shutdown::Both)
        .unwrap();
    sockets.hold().unwrap();
    let mut waiting = to.connect().unwrap();
    sockets.release(id(1)).unwrap();
    let programs = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    assert_eq!(answer(&mut *waiting).unwrap(), 2);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_switch_to_an_unprepared_generation_changes_nothing() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    let error = sockets.switch(id(9)).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (
            io::ErrorKind::NotFound,
            "generation 9 is not listening".to_owned()
        )
    );
    assert_eq!(to.ask().unwrap(), 1);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn hc32_several_addresses_are_switched_together() {
    let mut sockets = open(&["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"]);
    let all: Vec<To> = (0..3)
        .map(|index| {
            let mut address = tcp(&sockets, index);
            if index == 2 {
                address.set_ip([127, 0, 0, 1].into());
            }
            To::Tcp(address)
        })
        .collect();
    let mut programs = Vec::new();
    for number in 1..=5 {
        programs.extend(start(&mut sockets, number, Style::NonBlocking));
        sockets.switch(id(number)).unwrap();
        for to in &all {
            assert_eq!(to.ask().unwrap(), number);
        }
    }
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn passed_sockets_have_their_name_address_and_inode_and_are_closed_on_exec() {
    let mut sockets = open(&["web=127.0.0.1:0", "127.0.0.1:0"]);
    let passed = sockets.prepare(id(1)).unwrap();
    let listening = sockets.listening();
    let held = crate::os::socket_holders::sockets_of(std::process::id() as i32);
    let inodes: Vec<u64> = held.unwrap().into_values().collect();
    for (passed, listening) in passed.iter().zip(&listening) {
        assert_eq!(passed.name, listening.name);
        let flags =
            FdFlag::from_bits_truncate(fcntl(passed.fd.as_fd(), FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        let listener = TcpListener::from(passed.fd.try_clone().unwrap());
        assert_eq!(
            Address::Tcp(listener.local_addr().unwrap()),
            listening.address
        );
        assert!(inodes.contains(&passed.inode));
    }
    assert_eq!(listening[0].name, "web");
}

#[tokio::test]
async fn one_shared_socket_is_passed_to_every_generation() {
    let mut sockets = try_open(&["127.0.0.1:0"], Sharing::Shared).unwrap();
    let to = To::Tcp(tcp(&sockets, 0));
    let first = sockets.prepare(id(1)).unwrap().remove(0);
    let second = sockets.prepare(id(2)).unwrap().remove(0);
    assert_eq!(first.inode, second.inode);
    drop(first);
    sockets.switch(id(2)).unwrap();
    sockets.hold().unwrap();
    sockets.forward(id(1)).unwrap();
    sockets.release(id(1)).unwrap();
    let program = Program::start(
        2,
        second,
        &sockets.listening()[0].address,
        Style::NonBlocking,
    );
    assert_eq!(to.ask().unwrap(), 2);
    let route = route(&sockets, 2);
    assert_eq!(dial(&route).await, 2);
    program.ask_to_stop();
}

/// Checks the assumptions of the unit tests' interpreter against the real kernel.
#[test]
fn the_kernel_runs_the_steering_program_as_the_interpreter_does() {
    let member = |address: SocketAddr| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(128).unwrap();
        TcpListener::from(socket)
    };
    let first = member(([127, 0, 0, 1], 0).into());
    let address = first.local_addr().unwrap();
    let members = [first, member(address), member(address), member(address)];
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    client
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let port = client.local_addr().unwrap().as_socket().unwrap().port();
    let steering = table::Steering {
        pool: vec![(100, vec![0, 2])],
        diverted: vec![(port, vec![3])],
    };
    crate::os::steer(&members[1], &steering.program()).unwrap();
    client.connect(&address.into()).unwrap();
    let clients: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let queues = members.map(|member| crate::os::tcp_queue(&member).unwrap().waiting);
    assert_eq!(queues[0] + queues[2], clients.len() as u32, "{queues:?}");
    assert!(queues[0] > 10 && queues[2] > 10, "{queues:?}");
    assert_eq!((queues[1], queues[3]), (0, 1));
}

/// Another process of the same user may bind the address with `SO_REUSEPORT`, and the kernel lets it join the group.
#[tokio::test]
async fn hc29_a_stranger_that_joins_the_group_gets_no_connections() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let to = To::Tcp(tcp(&sockets, 0));
    let mut programs: Vec<_> = (1..=2)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    sockets.switch(id(1)).unwrap();
    let stranger =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    stranger.set_reuse_port(true).unwrap();
    stranger.bind(&tcp(&sockets, 0).into()).unwrap();
    stranger.listen(128).unwrap();
    sockets.switch(id(2)).unwrap();
    sockets.release(id(1)).unwrap();
    let error = sockets.prepare(id(3)).unwrap_err().to_string();
    assert!(
        error.contains("is also listening on") && error.contains("pid"),
        "{error}"
    );
    until("only the stranger prevents closing the listener", || {
        sockets.quiescent_count() == 1
    })
    .await;
    sockets.switch(id(2)).unwrap();
    assert_eq!(
        sockets.listener_count(),
        2,
        "closing the first listener would give its index to the stranger"
    );
    for _ in 0..100 {
        assert_eq!(to.ask().unwrap(), 2);
    }
    drop(stranger);
    programs.extend(start(&mut sockets, 3, Style::NonBlocking));
    sockets.switch(id(3)).unwrap();
    until("the first listener is closed", || {
        sockets.listener_count() == 2
    })
    .await;
    assert_eq!(to.ask().unwrap(), 3);
    programs.iter().for_each(Program::ask_to_stop);
}
