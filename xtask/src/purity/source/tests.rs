use super::read;

fn found(text: &str) -> Vec<String> {
    read(text).unwrap().violations.into_iter().map(|v| format!("{}: {}", v.line, v.what)).collect()
}

#[test]
fn each_impure_thing_is_found_at_its_line() {
    let table = [
        // Waiting.
        ("async fn f() {}", "1: `async fn`"),
        ("trait T { async fn f(); }", "1: `async fn`"),
        ("struct S;\nimpl S {\n    async fn f() {}\n}", "3: `async fn`"),
        ("fn f() { let _ = async { 1 }; }", "1: `async block`"),
        ("fn f() { let _ = async |x: u8| x; }", "1: `async closure`"),
        ("async fn f() {\n    g()\n    .await\n}", "3: `.await`"),
        ("fn f() { block_on!(g().await) }", "1: `await`"),
        ("fn f() { tokio::spawn(g()); }", "1: `tokio`"),
        ("fn f() { tokio::select! {} }", "1: `tokio`"),
        ("fn f(_: impl futures::Stream) {}", "1: `futures`"),
        // Clocks.
        ("\nfn f() { let _ = std::time::Instant::now(); }", "2: `Instant`"),
        ("use std::time::SystemTime;", "1: `SystemTime`"),
        ("use std::time::UNIX_EPOCH as E;", "1: `UNIX_EPOCH`"),
        ("fn f() { let _ = jiff::Timestamp::now(); }", "1: `*::now`"),
        ("fn f(t: Option<Zoned>) { t.unwrap_or_else(Zoned::now); }", "1: `*::now`"),
        ("fn f() { let _ = chrono::Utc::now(); }", "1: `*::now`"),
        ("fn f() { let _ = vec![1, Timestamp::now()]; }", "1: `*::now`"),
        ("fn f() { let _ = jiff::tz::TimeZone::system(); }", "1: `TimeZone::system`"),
        // Sockets and system calls.
        ("fn f(_: std::net::UdpSocket) {}", "1: `UdpSocket`"),
        ("use std::net::{IpAddr,\n    TcpStream};", "2: `TcpStream`"),
        ("struct S { listener: std::net::TcpListener }", "1: `TcpListener`"),
        ("use std::os::unix::net::UnixStream;", "1: `UnixStream`"),
        ("use netlink_sys::Socket;", "1: `netlink_sys`"),
        ("const X: libc::c_int = 0;", "1: `libc`"),
        // Files, streams, the process, threads.
        ("use std::{collections::BTreeMap, fs};", "1: `std::fs`"),
        ("use std::fs as files;", "1: `std::fs`"),
        ("use std::fs::*;", "1: `std::fs`"),
        ("use std::io::{self, stdout};", "1: `io::stdout`"),
        ("use std::io;\nfn f() { io::stderr().flush().ok(); }", "2: `io::stderr`"),
        ("fn f() { std::io::stdin().lines(); }", "1: `io::stdin`"),
        ("use std::io::*;", "1: `std::io`"),
        ("use std::io as i;", "1: `std::io`"),
        ("fn f() { println!(\"x\"); }", "1: `println!`"),
        ("fn f() { assert!(::std::fs::exists(\"x\").is_ok()); }", "1: `std::fs`"),
        ("macro_rules! m { () => { std::fs::read(\"x\") } }", "1: `std::fs`"),
        ("fn f() { std::env::var(\"X\").ok(); }", "1: `std::env`"),
        ("fn f() { std::process::exit(1) }", "1: `std::process`"),
        ("mod inner { use std::thread; }", "1: `std::thread`"),
        ("use std as s;", "1: `std`"),
        ("use std::*;", "1: `std`"),
        ("include!(\"x.rs\");", "1: `include!`"),
        // Randomness.
        ("fn f() { let _ = rand::rng(); }", "1: `rand::rng`"),
        ("fn f() { let _: u8 = rand::random(); }", "1: `rand::random`"),
        ("use rand_core::OsRng;", "1: `OsRng`"),
        ("fn f() { let _ = rand::thread_rng(); }", "1: `thread_rng`"),
        ("fn f(b: &mut [u8]) { getrandom::fill(b).ok(); }", "1: `getrandom`"),
        ("fn f() { StdRng::from_os_rng(); }", "1: `from_os_rng`"),
        ("fn f() { std::hash::RandomState::new(); }", "1: `RandomState`"),
        // Clients.
        ("fn f(_: kube::Client) {}", "1: `kube::Client`"),
        ("use kube::{Api, Resource};", "1: `kube::Api`"),
        ("use kube::runtime::watcher;", "1: `kube::runtime`"),
    ];
    for (text, expected) in table {
        let found = found(text);
        assert!(found.iter().any(|f| f.starts_with(&format!("{expected}: "))), "{text}: found {found:?}");
    }
}

#[test]
fn what_is_found_comes_with_what_to_do() {
    let found = found("use std::time::Instant;");
    assert_eq!(found, ["1: `Instant`: a pure crate has no clock: take the time as an argument"]);
}

#[test]
fn what_is_pure_passes() {
    let table = [
        "// async fn, .await and std::fs in a comment\nfn f() {}",
        "/// Never calls `std::fs::read` or `tokio::spawn`.\nfn f() {}",
        "fn f() -> &'static str { \"tokio::spawn(async {}).await\" }",
        "fn f() -> String { format!(\"std::fs {}\", 1) }",
        "use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};",
        "use std::time::Duration;",
        "fn f(errno: i32) -> String { std::io::Error::from_raw_os_error(errno).to_string() }",
        "use std::collections::{BTreeMap, HashMap};",
        "fn f(now: jiff::Timestamp, rng: &mut impl rand_core::CryptoRng) { g(now, rng) }",
        // A field or a variable may well be called `now`.
        "struct S { now: Timestamp } fn f(s: &S) { g(s.now); h!(s.now, x: 1); }",
        "use kube::{CustomResource, ResourceExt};",
        "const V: &str = env!(\"CARGO_PKG_VERSION\"); const W: &str = std::env!(\"X\");",
        "const T: &str = include_str!(\"t.yaml\");",
        "mod process {} use crate::process; fn f() { process::g() }",
    ];
    for text in table {
        let found = found(text);
        assert_eq!(found, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn tests_of_a_pure_crate_may_read_fixtures() {
    let excused = [
        "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; async fn g() {} }",
        "#[cfg(all(test, unix))] mod tests { use std::fs; }",
        "#[cfg(test)] use std::fs;",
        "#[cfg(test)] fn f() { std::fs::read(\"x\"); }",
        "#[test] fn f() { std::fs::read(\"x\"); }",
        "struct S; impl S { #[cfg(test)] fn f() { std::fs::read(\"x\"); } }",
        "#![cfg(test)]\nuse std::fs;",
    ];
    for text in excused {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
    let not_excused = [
        "#[cfg(feature = \"test\")] mod tests { use std::fs; }",
        "#[cfg(not(test))] mod real { use std::fs; }",
        "#[cfg(any(test, feature = \"testing\"))] mod tests { use std::fs; }",
    ];
    for text in not_excused {
        assert_eq!(found(text).len(), 1, "{text}");
    }
}

#[test]
fn text_that_is_not_rust_is_an_error() {
    assert!(read("fn (").is_err());
}
