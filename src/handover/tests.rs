use super::control::{self, Reply, Request};
use super::new::take_offer;
use super::wire::Channel;
use super::*;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn channels() -> (Channel, Channel) {
    let (a, b) = UnixStream::pair().unwrap();
    (Channel::new(a), Channel::new(b))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn sockets_arrive_open_and_each_is_taken_by_whom_it_is_for() {
    let (old, new) = channels();
    let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let wildcard = "127.0.0.1:0".parse().unwrap();
    let at = |n: usize| listeners[n].local_addr().unwrap();
    let labels = vec![
        Label { role: Role::Listener, address: Some(at(0)) },
        Label { role: Role::Admin, address: Some(wildcard) },
        Label { role: Role::Listener, address: Some(wildcard) },
    ];
    let descriptors: Vec<_> = listeners.iter().map(|l| l.as_fd()).collect();
    old.send(&Message::Offer { version: VERSION, sockets: labels }, &descriptors, soon()).unwrap();
    let (_predecessor, mut sockets) = take_offer(new).unwrap();
    let local = |socket: Option<OwnedFd>| std::net::TcpListener::from(socket.unwrap()).local_addr().unwrap();
    assert_eq!(local(sockets.take(Role::Admin, Some(wildcard))), at(1));
    assert_eq!(local(sockets.take(Role::Listener, Some(wildcard))), at(2));
    assert!(sockets.take(Role::Listener, Some(wildcard)).is_none() && sockets.take(Role::Admin, Some(at(0))).is_none());
    assert_eq!(sockets.left(), [at(0).to_string()]);
}

#[test]
fn another_version_is_refused_in_words_and_one_that_ends_is_noticed() {
    let (old, new) = channels();
    old.send(&Message::Offer { version: 99, sockets: vec![] }, &[], soon()).unwrap();
    assert!(take_offer(new).is_err());
    let (answer, _) = old.receive::<Message>(soon()).unwrap();
    let Message::Failed { why } = answer else { panic!("{answer:?}") };
    assert!(why.contains("99"), "{why}");
    assert!(old.stirs(Duration::from_secs(20)).unwrap());
    assert_eq!(old.receive::<Message>(soon()).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);

    // One that ends without having read what it was sent.
    let (old, new) = channels();
    old.send(&Message::Ready, &[], soon()).unwrap();
    drop(new);
    assert!(old.stirs(Duration::from_secs(20)).unwrap());

    let (quiet, _other) = channels();
    let late = quiet.receive::<Message>(Instant::now() + Duration::from_millis(20)).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
    assert!(!quiet.stirs(Duration::from_millis(1)).unwrap());
}

#[test]
fn a_message_may_not_be_larger_than_its_bound() {
    let (old, new) = channels();
    let why = "x".repeat(2 << 20);
    assert!(old.send(&Message::Failed { why }, &[], soon()).is_err());
    old.write(&u32::MAX.to_be_bytes(), soon()).unwrap();
    assert_eq!(new.receive::<Message>(soon()).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_is_private_answers_and_replaces_a_dead_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let listener = control::bind(dir.path()).unwrap();
    let mode = std::fs::metadata(control::path(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(control::bind(dir.path()).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    let served = tokio::spawn(control::serve(listener, |request: Request| async move {
        (Reply::Failed { why: request.config.display().to_string() }, ())
    }));
    let request = Request { config: "a.toml".into(), binary: None };
    let ask = || {
        let (path, request) = (dir.path().to_owned(), request.clone());
        tokio::task::spawn_blocking(move || control::ask(&path, &request, Duration::from_secs(20)))
    };
    assert_eq!(ask().await.unwrap().unwrap(), Reply::Failed { why: "a.toml".into() });
    served.abort();
    assert!(served.await.unwrap_err().is_cancelled());
    assert!(ask().await.unwrap().is_err());
    control::bind(dir.path()).unwrap();
}
