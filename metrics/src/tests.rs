#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Answers, Sample, Samples, listen, samples, serve};

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_probes_are_answered() {
    let mut registry = Registry::with_prefix("esplanade");
    let passes: Counter = Counter::default();
    passes.inc_by(3);
    registry.register("passes", "Passes over the kernel", passes);
    registry.register_collector(samples(|| {
        let sample = |name: &str, value| Sample { labels: vec![("counter", name.to_owned())], value };
        let stat = vec![sample("XfrmInError", 7), sample("XfrmOutError", u64::MAX)];
        vec![
            Samples { name: "xfrm_stat", help: "The kernel's own", counter: true, samples: stat },
            Samples {
                name: "entries",
                help: "Entries",
                counter: false,
                samples: vec![Sample { labels: vec![], value: 2 }],
            },
        ]
    }));
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let answers = Answers {
        registry,
        healthy: Box::new(|| Ok(())),
        ready: Box::new(move || match is_ready.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err("no pass yet".to_owned()),
        }),
    };
    let listener = listen("[::]:0".parse().unwrap()).await.unwrap();
    let address = SocketAddr::new([127, 0, 0, 1].into(), listener.local_addr().unwrap().port());
    tokio::spawn(serve(listener, answers));

    let metrics = ask(address, "GET /metrics").await;
    for line in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        "# HELP esplanade_passes Passes over the kernel.",
        "# TYPE esplanade_passes counter",
        "esplanade_passes_total 3",
        "esplanade_xfrm_stat_total{counter=\"XfrmInError\"} 7",
        "esplanade_xfrm_stat_total{counter=\"XfrmOutError\"} 18446744073709551615",
        "esplanade_entries 2",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} isn't in:\n{metrics}");
    }
    assert!(ask(address, "GET /healthz").await.starts_with("HTTP/1.1 200"));
    let answer = ask(address, "GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("no pass yet\n"), "{answer}");
    ready.store(true, Ordering::Relaxed);
    assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 200"));
    assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
    assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404"));
    assert!(ask(address, "nonsense").await.starts_with("HTTP/1.1 400"));
}

/// Whoever connects and says nothing keeps nobody else out for long.
#[tokio::test]
async fn silent_connections_leave_room() {
    let answers =
        Answers { registry: Registry::default(), healthy: Box::new(|| Ok(())), ready: Box::new(|| Ok(())) };
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, answers));
    let mut silent = Vec::new();
    for _ in 0..crate::CONNECTIONS - 1 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(ask(address, "GET /healthz").await.starts_with("HTTP/1.1 200"));
}
