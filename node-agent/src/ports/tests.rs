use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use esplanade_model::UdpPort;
use esplanade_xfrm::udp;

use super::holder::{Holder, SOCKET, hold};
use super::{Ports, Sockets};

/// A holder for the directory, which lives as long as the test.
fn start_holder(directory: &Path) {
    let path = directory.to_owned();
    std::thread::spawn(move || hold(&path));
    let mut holder = Holder::new(directory);
    while holder.take().is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ports that were free a moment ago.
fn free<const N: usize>() -> [UdpPort; N] {
    let sockets: [_; N] = std::array::from_fn(|_| std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
    sockets.map(|socket| UdpPort { v6: false, number: socket.local_addr().unwrap().port() })
}

fn held(directory: &Path) -> BTreeSet<UdpPort> {
    let sockets = Holder::new(directory).take().unwrap();
    sockets.iter().map(|socket| udp::port(socket).unwrap()).collect()
}

fn none() -> Vec<(UdpPort, ErrorKind)> {
    Vec::new()
}

fn open(sockets: &mut Sockets, ports: &[UdpPort]) -> Vec<(UdpPort, ErrorKind)> {
    let failed = sockets.open(&ports.iter().copied().collect());
    failed.into_iter().map(|(port, error)| (port, error.kind())).collect()
}

#[test]
fn ports_outlive_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    start_holder(directory.path());
    let [one, other] = free();
    let mut agent = Sockets::new(directory.path());
    assert_eq!(open(&mut agent, &[one, other]), none());
    drop(agent);
    // Still taken, and not by the new agent.
    assert_eq!(udp::open(one).unwrap_err().kind(), ErrorKind::AddrInUse);
    let mut agent = Sockets::new(directory.path());
    assert_eq!(open(&mut agent, &[one, other]), none());
    assert_eq!(held(directory.path()), [one, other].into());
    agent.close_others(&[other].into());
    assert_eq!(held(directory.path()), [other].into());
    udp::open(one).unwrap();
}

#[test]
fn without_a_holder_the_agent_has_them() {
    let directory = tempfile::tempdir().unwrap();
    let [port] = free();
    let mut agent = Sockets::new(directory.path());
    assert_eq!(open(&mut agent, &[port]), none());
    assert_eq!(open(&mut Sockets::new(directory.path()), &[port]), [(port, ErrorKind::AddrInUse)]);
    // A holder that comes later gets them at the next occasion, as does one that comes after another.
    start_holder(directory.path());
    assert_eq!(open(&mut agent, &[port]), none());
    assert_eq!(held(directory.path()), [port].into());
}

#[test]
fn a_new_holder_takes_over_from_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    start_holder(directory.path());
    let [port] = free();
    let mut before = Holder::new(directory.path());
    before.keep(&[udp::open(port).unwrap().as_fd()]).unwrap();
    let place = || std::fs::metadata(directory.path().join(SOCKET)).unwrap().ino();
    let old = place();
    let path = directory.path().to_owned();
    std::thread::spawn(move || hold(&path));
    while place() == old {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The old one lets go: whoever comes by the directory asks the new one.
    before.keep(&[]).unwrap();
    assert_eq!(held(directory.path()), [port].into());
}
