//! `esplanade-operator`: turns IpsecPolicies and IpsecSAs into one desired state per node.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use esplanade_logging as logging;
use esplanade_operator::controller::Controller;
use esplanade_operator::lease::{Config, Elector};
use esplanade_operator::metrics::Metrics;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::signal::unix::{SignalKind, signal};

/// Turns IpsecPolicies and IpsecSAs into one desired state per node.
///
/// Finds the API server like kubectl: by $KUBECONFIG or ~/.kube/config, in a Pod by its ServiceAccount.
#[derive(Debug, Parser)]
#[command(name = "esplanade-operator", version)]
struct Args {
    /// Namespace of the Secrets that IpsecSAs name, and of the Lease.
    #[arg(long, env = "POD_NAMESPACE")]
    namespace: String,
    /// Name of the Lease by which one of several operators leads.
    #[arg(long, default_value = "esplanade-operator")]
    lease_name: String,
    /// Who claims the Lease: unique among the operators.
    #[arg(long, env = "POD_NAME")]
    pod_name: String,
    /// Seconds after which a leader that went silent is replaced.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease_duration: u64,
    /// Where /metrics, /healthz and /readyz are answered, e.g. [::]:9810; nowhere unless this is given.
    #[arg(long)]
    metrics_address: Option<SocketAddr>,
    #[command(flatten)]
    log: logging::Args,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let run = || -> Result<()> {
        logging::init(args.log.log_format).context("RUST_LOG")?;
        esplanade_private_memory::keep_memory_private().context("keeping memory from core dumps")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.context("starting the runtime")?.block_on(run(&args))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", logging::in_words(error.chain()));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let client = Client::try_default().await.context("finding the API server")?;
    let mut elector = Elector::new(
        client.clone(),
        Config {
            namespace: args.namespace.clone(),
            name: args.lease_name.clone(),
            identity: args.pod_name.clone(),
            duration: Duration::from_secs(args.lease_duration),
        },
    );
    let metrics = Metrics::default();
    if let Some(address) = args.metrics_address {
        let answering = esplanade_metrics::answer_at(address, metrics.answers(elector.leadership())).await;
        answering.with_context(|| format!("listening at {address} for metrics"))?;
    }
    let recorder = recorder(&client, args);
    let mut controller =
        Controller::new(client.clone(), &args.namespace, elector.leadership(), metrics, recorder.clone());
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending"),
        result = work(&mut elector, &mut controller, announce(&recorder, args)) => return result,
    }
    // No write of ours comes after this.
    drop(controller);
    elector.release().await;
    Ok(())
}

/// Stands by, then leads. Returns only when it can't go on: a new process starts from what is true.
async fn work(
    elector: &mut Elector,
    controller: &mut Controller,
    announcement: impl Future<Output = ()>,
) -> Result<()> {
    tokio::select! {
        () = elector.acquire() => {}
        ended = controller.stand_by() => return Err(ended.into()),
    }
    let announced = async {
        announcement.await;
        std::future::pending().await
    };
    tokio::select! {
        lost = elector.keep() => Err(lost.into()),
        ended = controller.lead() => Err(ended.into()),
        never = announced => never,
    }
}

/// What makes Events, in this Pod's name.
fn recorder(client: &Client, args: &Args) -> Recorder {
    let instance = Some(args.pod_name.clone());
    Recorder::new(client.clone(), Reporter { controller: "esplanade-operator".to_owned(), instance })
}

/// An event at the Lease, as other leader-elected controllers make it.
async fn announce(recorder: &Recorder, args: &Args) {
    let event = Event {
        type_: EventType::Normal,
        reason: "LeaderElection".to_owned(),
        note: Some(format!("{} became leader", args.pod_name)),
        action: "Lead".to_owned(),
        secondary: None,
    };
    let lease = ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        name: Some(args.lease_name.clone()),
        namespace: Some(args.namespace.clone()),
        ..ObjectReference::default()
    };
    if let Err(error) = recorder.publish(&event, &lease).await {
        tracing::warn!(%error, "can't announce the leader");
    }
}
