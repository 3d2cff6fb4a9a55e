use super::*;
use crate::audio::Law;
use crate::media::{LegConfig, MediaSource, Passage, Play};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn start(config: Config) -> (RelayHandle, queue::Receiver<Event>) {
    Relay::start(config, Random::from_number(1)).unwrap()
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind((HOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2000];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

fn towards(peer: &UdpSocket) -> Box<LegConfig> {
    let remote = peer.local_addr().unwrap();
    Box::new(LegConfig {
        remote_rtp: remote,
        remote_rtcp: remote,
        rtcp_mux: true,
        crypto: None,
        source: MediaSource::Strict,
        passage: Arc::new(Passage::unchanged()),
        inactivity: None,
        receive: true,
        send: true,
    })
}

/// Opens the leg at a free pair of ports, of which the first is returned.
fn open(handle: &RelayHandle, events: &mut queue::Receiver<Event>, leg: LegId) -> u16 {
    open_at(handle, events, leg, HOST)
}

fn open_at(
    handle: &RelayHandle,
    events: &mut queue::Receiver<Event>,
    leg: LegId,
    address: IpAddr,
) -> u16 {
    for _ in 0..50 {
        let free = UdpSocket::bind((address, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            & !1;
        handle
            .command(Command::Open {
                leg,
                address,
                port: free,
            })
            .unwrap();
        // The second fails in any case; its reason, or the first one's, says whether the first is open.
        handle
            .command(Command::Open {
                leg,
                address,
                port: free,
            })
            .unwrap();
        let Some(Event::Failed { reason, .. }) = events.blocking_recv() else {
            panic!("the second cannot be opened")
        };
        if reason.contains("is open") {
            return free;
        }
        events.blocking_recv();
    }
    panic!("no free pair of ports")
}

fn free_port() -> u16 {
    peer().local_addr().unwrap().port() & !1
}

/// Two legs that are connected, and the ports at which they receive.
fn call(
    handle: &RelayHandle,
    events: &mut queue::Receiver<Event>,
    legs: [(LegId, &UdpSocket); 2],
) -> [u16; 2] {
    let ports = legs.map(|(leg, _)| open(handle, events, leg));
    for (leg, peer) in legs {
        let config = towards(peer);
        handle.command(Command::Configure { leg, config }).unwrap();
    }
    let [(leg, _), (with, _)] = legs;
    let with = Some(with);
    handle.command(Command::Connect { leg, with }).unwrap();
    ports
}

/// Asks for counts of the leg until they are as wanted, or much time has passed; the last ones.
fn counted(
    handle: &RelayHandle,
    events: &mut queue::Receiver<Event>,
    leg: LegId,
    wanted: impl Fn(&crate::media::LegReport) -> bool,
) -> crate::media::LegReport {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        handle.command(Command::Count { leg }).unwrap();
        let report = loop {
            match events.blocking_recv().unwrap() {
                Event::Counted { leg: of, report } if of == leg => break *report,
                _ => {}
            }
        };
        if wanted(&report) || Instant::now() > deadline {
            return report;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until it is so, for as long as a busy machine may need.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn voice(n: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 8, 0, n, 0, 0, 0, n, 0, 0, 0, 9];
    packet.resize(172, 0xd5);
    packet
}

/// Two peers hear each other through sockets; music takes over at a packet each 20 ms, and closing reports.
#[test]
fn two_peers_hear_each_other() {
    let (handle, mut events) = start(Config::default());
    let (alice, bob) = (peer(), peer());
    let (a, b) = (LegId(1), LegId(2));
    let (port_a, port_b) = (open(&handle, &mut events, a), open(&handle, &mut events, b));
    handle
        .command(Command::Configure {
            leg: a,
            config: towards(&alice),
        })
        .unwrap();
    handle
        .command(Command::Configure {
            leg: b,
            config: towards(&bob),
        })
        .unwrap();
    handle
        .command(Command::Connect {
            leg: a,
            with: Some(b),
        })
        .unwrap();
    for n in 0..10 {
        // Until the commands have taken effect packets are lost; nothing says when.
        let deadline = Instant::now() + Duration::from_secs(10);
        while n == 0 && handle.counters().sent.get() == 0 && Instant::now() < deadline {
            alice.send_to(&voice(0), (HOST, port_a)).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        alice.send_to(&voice(n), (HOST, port_a)).unwrap();
        while heard(&bob) != (voice(n), (HOST, port_b).into()) {}
        bob.send_to(&voice(n), (HOST, port_b)).unwrap();
        assert_eq!(heard(&alice), (voice(n), (HOST, port_a).into()));
    }
    handle
        .command(Command::Play {
            leg: b,
            play: Some(Play::music(Law::Mu, 0)),
        })
        .unwrap();
    let music: Vec<_> = std::iter::repeat_with(|| heard(&bob).0)
        .filter(|packet| packet[1] & 0x7f == 0)
        .take(5)
        .collect();
    assert!(
        music
            .windows(2)
            .all(|two| two[1][3] == two[0][3].wrapping_add(1))
    );

    handle.command(Command::Close { leg: a }).unwrap();
    let closed = std::iter::from_fn(|| events.blocking_recv()).find_map(|event| match event {
        Event::Closed { leg, report } => Some((leg, report.sent)),
        _ => None,
    });
    assert_eq!(closed, Some((a, 10)));
    UdpSocket::bind((HOST, port_a)).expect("its port is free again");
}

/// A port in use is told, with the system's words, and the leg is not there.
#[test]
fn a_port_in_use_is_told() {
    let (handle, mut events) = start(Config::default());
    let taken = peer();
    let port = taken.local_addr().unwrap().port();
    handle
        .command(Command::Open {
            leg: LegId(7),
            address: HOST,
            port,
        })
        .unwrap();
    let Some(Event::Failed { leg, reason }) = events.blocking_recv() else {
        panic!("it cannot be opened")
    };
    assert!(leg == LegId(7) && reason.contains("in use"), "{reason}");
}

/// A leg above the limit fails and leaves no socket behind.
#[test]
fn legs_are_bounded() {
    let (handle, mut events) = start(Config {
        legs: 0,
        ..Config::default()
    });
    let port = free_port();
    handle
        .command(Command::Open {
            leg: LegId(1),
            address: HOST,
            port,
        })
        .unwrap();
    assert!(matches!(
        events.blocking_recv(),
        Some(Event::Failed { leg: LegId(1), .. })
    ));
}

/// More commands than the queue holds are refused and counted; the thread ends with its handle and nothing blocks.
#[test]
fn a_full_queue_is_told() {
    let (handle, mut events) = start(Config {
        commands: 1,
        ..Config::default()
    });
    let port = free_port();
    let open = Command::Open {
        leg: LegId(1),
        address: HOST,
        port,
    };
    handle.command(open).unwrap();
    let refused = (0..100_000)
        .filter(|_| handle.command(Command::Count { leg: LegId(1) }).is_err())
        .count();
    assert!(refused > 0);
    assert_eq!(refused as u64, handle.commands_lost());
    drop(handle);
    while events.blocking_recv().is_some() {}
}

/// Events for which the queue has no room are told later, in order, without anything else happening.
#[test]
fn events_wait_for_their_turn() {
    let (handle, mut events) = start(Config {
        events: 1,
        ..Config::default()
    });
    let taken = peer();
    let port = taken.local_addr().unwrap().port();
    for n in 0..20 {
        handle
            .command(Command::Open {
                leg: LegId(n),
                address: HOST,
                port,
            })
            .unwrap();
    }
    for n in 0..20 {
        assert!(
            matches!(events.blocking_recv(), Some(Event::Failed { leg, .. }) if leg == LegId(n))
        );
    }
}

/// With four threads legs are spread; the two legs of each call end up on one thread wherever they were opened, keep what
/// they had, and hear each other. What all threads count is one sum.
#[test]
fn both_legs_of_a_call_are_on_one_thread() {
    let (handle, mut events) = start(Config {
        threads: 4,
        ..Config::default()
    });
    let peers: Vec<_> = (0..40).map(|_| peer()).collect();
    let legs: Vec<_> = (1..).map(LegId).zip(&peers).collect();
    // All first legs before all second ones, so that most pairs begin on two threads.
    let ports: Vec<_> = legs
        .iter()
        .map(|(leg, _)| open(&handle, &mut events, *leg))
        .collect();
    let apart = |handle: &RelayHandle| {
        let routes = lock(&handle.0.routes);
        let is_apart = |n: &usize| routes.of(legs[*n].0) != routes.of(legs[n + 20].0);
        (0..20).filter(is_apart).count()
    };
    assert!(apart(&handle) > 0, "the test shows nothing");
    for (n, (leg, peer)) in legs.iter().enumerate() {
        let (leg, config) = (*leg, towards(peer));
        handle.command(Command::Configure { leg, config }).unwrap();
        if n >= 20 {
            let with = Some(legs[n - 20].0);
            handle.command(Command::Connect { leg, with }).unwrap();
        }
    }
    assert_eq!(apart(&handle), 0);
    // Until the commands have taken effect packets are lost; who has counted has obeyed all before.
    for (leg, _) in &legs {
        counted(&handle, &mut events, *leg, |_| true);
    }
    for call in 0..20 {
        for (from, to) in [(call, call + 20), (call + 20, call)] {
            peers[from]
                .send_to(&voice(from as u8), (HOST, ports[from]))
                .unwrap();
            assert_eq!(
                heard(&peers[to]),
                (voice(from as u8), (HOST, ports[to]).into())
            );
        }
    }
    assert_eq!(handle.counters().sent.get(), 40);
    assert_eq!(handle.legs_by_thread().iter().sum::<u64>(), 40);
    for (leg, _) in &legs {
        handle.command(Command::Close { leg: *leg }).unwrap();
    }
    eventually("all legs close", || handle.counters().legs.get() == 0);
    assert_eq!(lock(&handle.0.routes).of(LegId(1)), None);
}

/// A leg that moves from call to call between threads, many times in a row, loses no command: each is obeyed in its order.
#[test]
fn moves_keep_the_order_of_commands() {
    let (handle, mut events) = start(Config {
        threads: 3,
        ..Config::default()
    });
    let (alice, others) = (peer(), [peer(), peer(), peer()]);
    let a = LegId(1);
    let port = open(&handle, &mut events, a);
    let legs = [2, 3, 4].map(LegId);
    let ports = legs.map(|leg| open(&handle, &mut events, leg));
    {
        let mut routes = lock(&handle.0.routes);
        assert_eq!(routes.of(a), routes.of(legs[0]), "as opened");
        drop(routes);
        // Each of the others has a thread of its own.
        for (to, leg) in legs.iter().enumerate() {
            routes = lock(&handle.0.routes);
            let from = routes.of(*leg).unwrap();
            if from != to {
                handle.0.move_leg(*leg, from, to).unwrap();
                routes.moved(*leg, to);
            }
            drop(routes);
        }
    }
    for (leg, peer) in [a]
        .iter()
        .chain(&legs)
        .zip([&alice].into_iter().chain(&others))
    {
        let (leg, config) = (*leg, towards(peer));
        handle.command(Command::Configure { leg, config }).unwrap();
    }
    for turn in 0..60u8 {
        let n = usize::from(turn % 3);
        let with = Some(legs[n]);
        handle.command(Command::Connect { leg: a, with }).unwrap();
        let routes = lock(&handle.0.routes);
        assert_eq!(routes.of(a), routes.of(legs[n]));
        drop(routes);
        // Counting asks the thread that has the leg, after it has been connected.
        counted(&handle, &mut events, a, |_| true);
        alice.send_to(&voice(turn), (HOST, port)).unwrap();
        assert_eq!(heard(&others[n]), (voice(turn), (HOST, ports[n]).into()));
    }
    assert_eq!(counted(&handle, &mut events, a, |_| true).received, 60);
}

/// A burst arrives whole and in order, as long as it is no longer than what is kept.
#[test]
fn a_burst_is_forwarded_whole() {
    let (handle, mut events) = start(Config::default());
    let (alice, bob) = (peer(), peer());
    let legs = [(LegId(1), &alice), (LegId(2), &bob)];
    let [port, _] = call(&handle, &mut events, legs);
    counted(&handle, &mut events, LegId(1), |_| true);
    for round in 0..5u8 {
        let burst: Vec<_> = (0..batch::KEPT as u8)
            .map(|n| voice(20 * round + n))
            .collect();
        for packet in &burst {
            alice.send_to(packet, (HOST, port)).unwrap();
        }
        for packet in &burst {
            assert_eq!(heard(&bob).0, *packet);
        }
    }
    assert_eq!(handle.counters().stale.get(), 0);
}

/// Legs of the two families of addresses meet on one thread, and each is heard from where it is.
#[test]
fn the_two_families_meet() {
    let (handle, mut events) = start(Config::default());
    let alice = peer();
    let bob = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    bob.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let a = open(&handle, &mut events, LegId(1));
    let b = open_at(&handle, &mut events, LegId(2), Ipv6Addr::LOCALHOST.into());
    for (leg, peer) in [(LegId(1), &alice), (LegId(2), &bob)] {
        let config = towards(peer);
        handle.command(Command::Configure { leg, config }).unwrap();
    }
    let (leg, with) = (LegId(1), Some(LegId(2)));
    handle.command(Command::Connect { leg, with }).unwrap();
    counted(&handle, &mut events, LegId(1), |_| true);
    for n in 0..20 {
        alice.send_to(&voice(n), (HOST, a)).unwrap();
        assert_eq!(heard(&bob), (voice(n), (Ipv6Addr::LOCALHOST, b).into()));
        bob.send_to(&voice(n), (Ipv6Addr::LOCALHOST, b)).unwrap();
        assert_eq!(heard(&alice), (voice(n), (HOST, a).into()));
    }
    assert_eq!(handle.counters().wrong_source.get(), 0);
}

/// A flood on one leg neither keeps commands from being obeyed nor other legs from being heard.
#[test]
fn a_flood_stalls_nobody() {
    let (handle, mut events) = start(Config::default());
    let (alice, bob) = (peer(), peer());
    let legs = [(LegId(1), &alice), (LegId(2), &bob)];
    let [port, _] = call(&handle, &mut events, legs);
    let flooded = open(&handle, &mut events, LegId(3));
    counted(&handle, &mut events, LegId(1), |_| true);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flood = peer();
            while !over.load(Ordering::Relaxed) {
                flood.send_to(&voice(0), (HOST, flooded)).unwrap();
            }
        });
        for n in 0..50 {
            alice.send_to(&voice(n), (HOST, port)).unwrap();
            assert_eq!(heard(&bob).0, voice(n));
            counted(&handle, &mut events, LegId(3), |_| true);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        counted(&handle, &mut events, LegId(1), |_| true).received,
        50
    );
}

/// What one socket of a batch cannot send hurts no other packet, and is counted.
#[test]
fn a_refused_packet_is_left_out() {
    let (handle, mut events) = start(Config::default());
    let (alice, bob) = (peer(), peer());
    let legs = [(LegId(1), &alice), (LegId(2), &bob)];
    let [port, _] = call(&handle, &mut events, legs);
    // No packet leaves loopback for another network.
    let mut config = towards(&bob);
    config.remote_rtp = "192.0.2.1:9".parse().unwrap();
    let leg = LegId(2);
    handle.command(Command::Configure { leg, config }).unwrap();
    counted(&handle, &mut events, leg, |_| true);
    for n in 0..5 {
        alice.send_to(&voice(n), (HOST, port)).unwrap();
    }
    eventually("refusals are counted", || {
        handle.counters().send_failures.get() == 5
    });
    let config = towards(&bob);
    handle.command(Command::Configure { leg, config }).unwrap();
    counted(&handle, &mut events, leg, |_| true);
    alice.send_to(&voice(9), (HOST, port)).unwrap();
    assert_eq!(heard(&bob).0, voice(9));
}

/// The system says what it keeps of a socket.
#[test]
fn the_receive_buffer_is_told() {
    let (handle, _events) = start(Config {
        receive_buffer: 16 << 10,
        ..Config::default()
    });
    assert_eq!(handle.receive_buffer(), 16 << 10);
}

/// `pin`: each thread of the relay keeps to one of the processors that the process may use, and two threads to two of them
/// if there are two. The others in this process are not pinned.
#[test]
fn pinned_threads_keep_to_a_processor_each() {
    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;
    // None: a thread of another test that has just ended.
    let processors = |thread: i32| -> Option<Vec<usize>> {
        let set = sched_getaffinity(Pid::from_raw(thread)).ok()?;
        let all = 0..CpuSet::count();
        Some(all.filter(|n| set.is_set(*n).unwrap_or(false)).collect())
    };
    let usable = processors(0).unwrap();
    let config = Config {
        threads: 2,
        pin: true,
        ..Config::default()
    };
    let (_handle, _events) = start(config);
    let pinned = || -> Vec<(String, Vec<usize>)> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let tasks = tasks.filter_map(|task| {
            let task = task.ok()?.path();
            let name = std::fs::read_to_string(task.join("comm")).ok()?;
            let thread = task.file_name()?.to_str()?.parse().ok()?;
            let name = name.trim().to_owned();
            name.starts_with("relay-")
                .then(|| Some((name, processors(thread)?)))?
        });
        tasks.filter(|(_, on)| on.len() == 1).collect()
    };
    for number in 0..2 {
        let expected = (
            format!("relay-{number}"),
            vec![usable[number % usable.len()]],
        );
        // A thread pins itself once it runs, and gives up nothing by that.
        let mut turns = 0..1000;
        while !pinned().contains(&expected) {
            assert!(turns.next().is_some(), "{expected:?} in {:?}", pinned());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
