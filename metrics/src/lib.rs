//! Metrics and probes of operator and agent: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet.
//!
//! Names and labels are for the programs to choose; docs/metrics.md lists them. No key, no name of an object and no
//! address is ever a label: their number would grow with the cluster.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
pub use prometheus_client;
use prometheus_client::encoding::text;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

mod collect;

pub use collect::{Sample, Samples, samples};

/// Who scrapes and probes is few.
const CONNECTIONS: usize = 32;
/// A request's head must have come by then; so must the next request's, or the connection ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// What OpenMetrics asks for.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says what is wrong, if anything is.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What is answered.
pub struct Answers {
    /// `/metrics`.
    pub registry: Registry,
    /// `/healthz`: when not, the program is to be started again.
    pub healthy: Probe,
    /// `/readyz`: whether it does what it is there for.
    pub ready: Probe,
}

/// How long things took, in seconds: from 1 ms to 16 s.
pub fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 8))
}

/// Answers at this address from now on, in a task of its own.
///
/// # Errors
/// The address can't be listened at.
pub async fn answer_at(address: SocketAddr, answers: Answers) -> io::Result<()> {
    let listener = listen(address).await?;
    tokio::spawn(serve(listener, answers));
    Ok(())
}

/// Listens. Where the kernel has no IPv6, `[::]` means every IPv4 address.
///
/// # Errors
/// The address can't be listened at.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && lacks_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT`, and `EADDRNOTAVAIL` where only the interfaces lack it.
    const LACKING: [i32; 2] = [97, 99];
    error.raw_os_error().is_some_and(|errno| LACKING.contains(&errno))
}

/// Answers for ever. Failing connections cost nobody but whoever made them.
async fn serve(listener: TcpListener, answers: Answers) {
    let answers = Arc::new(answers);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection for metrics and probes");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answers.to(request.method(), request.uri().path());
                async { Ok::<_, std::convert::Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for metrics or probes failed");
            }
            drop(place);
        });
    }
}

impl Answers {
    fn to(&self, method: &Method, path: &str) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
        }
        match path {
            "/metrics" => {
                let mut text = String::new();
                match text::encode(&mut text, &self.registry) {
                    Ok(()) => answer(StatusCode::OK, METRICS, text),
                    Err(error) => {
                        answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n"))
                    }
                }
            }
            "/healthz" => probed((self.healthy)()),
            "/readyz" => probed((self.ready)()),
            _ => answer(
                StatusCode::NOT_FOUND,
                "text/plain",
                "there are /metrics, /healthz and /readyz\n".to_owned(),
            ),
        }
    }
}

fn probed(result: Result<(), String>) -> Response<String> {
    match result {
        Ok(()) => answer(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        Err(words) => answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{words}\n")),
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests;
