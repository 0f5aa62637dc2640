//! `esplanade-node-agent`: keeps the kernel's XFRM databases at the node's desired state.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use esplanade_crds::SealingKey;
use esplanade_logging as logging;
use esplanade_node_agent::agent::Agent;
use esplanade_node_agent::mapping::Senders;
use esplanade_node_agent::metrics::Metrics;
use esplanade_node_agent::ports::{Ports, Sockets, holder};
use esplanade_node_agent::settings::Settings;
use esplanade_node_agent::show::{self, MonitorArgs, ShowArgs};
use esplanade_node_agent::status::Identity;
use esplanade_node_agent::worker::{Open, Recorded};
use esplanade_node_agent::{api_server, boot, hidden, host, numbers, sealing_key, wear};
use esplanade_xfrm::{Events, Netlink};
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};

/// Keeps the kernel's IPsec at what the API server says this node should have. Needs CAP_NET_ADMIN, and nothing else.
///
/// Finds the API server like kubectl: by $KUBECONFIG or ~/.kube/config, in a Pod by its ServiceAccount.
#[derive(Debug, Parser)]
#[command(name = "esplanade-node-agent", version)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    agent: Option<AgentArgs>,
    // Not in the agent's: clap doesn't see that arguments are given which have others flattened into them.
    #[command(flatten)]
    log: logging::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print all SAs and policies of this network namespace's kernel, ours and others', with everything but keys.
    Show(ShowArgs),
    /// Print what this network namespace's kernel tells about its SAs and policies, as it happens.
    Monitor(MonitorArgs),
    /// Drop what this node protected before it was rebooted, until its agent has been told what to protect. For the node's
    /// init, before its network. Needs CAP_NET_ADMIN.
    Close(CloseArgs),
    /// Hold the UDP ports for ESP open while agents are restarted, in a process of its own. Needs no rights.
    HoldSockets(HoldArgs),
}

#[derive(Debug, clap::Args)]
struct CloseArgs {
    /// The agent's directory on a disk.
    #[arg(long, default_value = "/var/lib/esplanade")]
    boot_dir: PathBuf,
    #[command(flatten)]
    log: logging::Args,
}

#[derive(Debug, clap::Args)]
struct HoldArgs {
    /// The agents' state directory.
    #[arg(long, default_value = "/run/esplanade")]
    state_dir: PathBuf,
    #[command(flatten)]
    log: logging::Args,
}

#[derive(Debug, clap::Args)]
struct AgentArgs {
    /// Name of the Node that this is.
    #[arg(long, env = "NODE_NAME")]
    node_name: String,
    /// Directory for the key that manual keys are sealed to. Made if need be; best on a tmpfs.
    #[arg(long, default_value = "/run/esplanade")]
    state_dir: PathBuf,
    /// Directory on a disk for the policies without keys that are closed after a reboot, until the agent has been told what to
    /// protect. Made if need be; none, and nothing is closed, unless this is given.
    #[arg(long)]
    boot_dir: Option<PathBuf>,
    /// How often the kernel is compared with what it should hold if nothing happens, e.g. 60s or 5m; at least 1s.
    #[arg(long, default_value = "60s", value_parser = period)]
    resync_period: Duration,
    /// Where /metrics, /healthz and /readyz are answered, e.g. [::]:9811; nowhere unless this is given.
    #[arg(long)]
    metrics_address: Option<SocketAddr>,
    /// What becomes of packets that no policy covers, in every direction.
    #[arg(long, value_enum, default_value = "allow", ignore_case = true)]
    default_action: DefaultAction,
    /// Where else the API server is than the client's configuration and its EndpointSlice say.
    #[arg(long)]
    api_server_address: Vec<SocketAddr>,
    /// Whose databases are kept.
    #[arg(long, value_enum, default_value = "netlink")]
    kernel: KernelChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DefaultAction {
    /// They pass.
    Allow,
    /// They are dropped, but for the API server's, neighbour discovery, and DHCP of the node itself.
    Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KernelChoice {
    /// The kernel's, in this process's network namespace.
    Netlink,
    /// Some in memory: nothing gets protected.
    #[cfg(feature = "fake-kernel")]
    Fake,
}

fn period(text: &str) -> Result<Duration> {
    let span: jiff::SignedDuration = text.parse().context("write a number and a unit, e.g. 60s or 5m")?;
    let period = Duration::try_from(span).context("write a positive duration, e.g. 60s")?;
    anyhow::ensure!(period >= Duration::from_secs(1), "write 1s or more");
    Ok(period)
}

fn main() -> ExitCode {
    let args = Args::parse();
    let run = || -> Result<()> {
        match args {
            Args { command: Some(Command::Show(args)), .. } => look(|out| Ok(show::show(&args, out)?)),
            Args { command: Some(Command::Monitor(args)), .. } => look(|out| Ok(show::monitor(&args, out)?)),
            Args { command: Some(Command::Close(args)), .. } => close(&args),
            Args { command: Some(Command::HoldSockets(args)), .. } => hold(&args),
            Args { agent: Some(agent), log, .. } => keep(&agent, log),
            // clap asks for one of them.
            Args { .. } => anyhow::bail!("--node-name is missing"),
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", logging::in_words(error.chain()));
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

fn look(print: impl FnOnce(&mut std::io::StdoutLock<'_>) -> Result<()>) -> Result<()> {
    logging::init(logging::Format::Text).context("RUST_LOG")?;
    // What the kernel sends has keys in it.
    esplanade_private_memory::keep_memory_private().context("keeping memory from core dumps")?;
    print(&mut std::io::stdout().lock())
}

fn keep(args: &AgentArgs, log: logging::Args) -> Result<()> {
    logging::init(log.log_format).context("RUST_LOG")?;
    esplanade_private_memory::keep_memory_private().context("keeping memory from core dumps")?;
    runtime()?.block_on(run(args))
}

fn close(args: &CloseArgs) -> Result<()> {
    logging::init(args.log.log_format).context("RUST_LOG")?;
    let mut kernel = Netlink::open().context("opening the kernel")?;
    // What passes to the API server is in the record.
    closed(boot::close(&mut kernel, &args.boot_dir, &BTreeSet::new()))
}

fn closed(result: Result<usize, boot::CloseError>) -> Result<()> {
    let policies = result.context("dropping what was protected before")?;
    if policies > 0 {
        tracing::info!(policies, "what was protected before is dropped, until it is known what to protect");
    }
    Ok(())
}

fn hold(args: &HoldArgs) -> Result<()> {
    logging::init(args.log.log_format).context("RUST_LOG")?;
    let directory = args.state_dir.clone();
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: letting go"),
            _ = interrupt.recv() => tracing::info!("SIGINT: letting go"),
            ended = tokio::task::spawn_blocking(move || holder::hold(&directory)) => {
                ended.context("holding sockets")?.context("holding sockets")?;
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    // The thread that holds never ends by itself.
    runtime.shutdown_background();
    Ok(())
}

async fn run(args: &AgentArgs) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let keys = sealing_key::load_or_make(&args.state_dir).context("the sealing key")?;
    let identity = Identity {
        node: args.node_name.clone(),
        sealing_key: SealingKey { id: keys.public().id(), public_key: keys.public().to_base64() },
        boot_id: host::boot_id()?,
        kernel: host::kernel()?,
    };
    let recorded = Recorded {
        worn: wear::load(&args.state_dir, &keys, &identity.boot_id).context("worn out keys")?,
        numbers: numbers::load(&args.state_dir, &keys, &identity.boot_id).context("sequence numbers")?,
        hidden: hidden::load(&args.state_dir, &keys, &identity.boot_id).context("hidden keys")?,
        settings: Settings::load(&args.state_dir, &identity.boot_id).context("the kernel's settings")?,
        senders: Senders::load(&args.state_dir, &identity.boot_id).context("where senders are")?,
        boot: match &args.boot_dir {
            Some(directory) => boot::Record::in_directory(directory).context("what a reboot is to drop")?,
            None => boot::Record::default(),
        },
    };
    tracing::info!(
        node = identity.node,
        sealing_key = identity.sealing_key.id,
        kernel = identity.kernel.release,
        "starting"
    );
    let config = kube::Config::infer().await.context("finding the API server")?;
    let url = &config.cluster_url;
    let found = api_server::addresses(url.host().unwrap_or_default(), url.port_u16()).await;
    let block = args.default_action == DefaultAction::Block;
    let found = match found.context("finding the API server") {
        Err(error) if !block => {
            tracing::warn!(
                error = logging::in_words(error.chain()),
                "connections with it pass only where it says that it is"
            );
            BTreeSet::new()
        }
        found => found?,
    };
    let api_server = found.into_iter().chain(args.api_server_address.iter().copied()).collect();
    let client = Client::try_from(config).context("finding the API server")?;
    let (mut open, ports) = (open(args.kernel), ports(args.kernel, &args.state_dir));
    if let Some(directory) = &args.boot_dir {
        let (mut kernel, _) = open(false).context("opening the kernel")?;
        // Without an agent the node would come to no keys at all.
        if let Err(error) = closed(boot::close(kernel.as_mut(), directory, &api_server)) {
            tracing::error!(
                error = logging::in_words(error.chain()),
                "what this node protected may go in the clear until it is told"
            );
        }
    }
    let metrics = Metrics::default();
    if let Some(address) = args.metrics_address {
        let answers = metrics.answers(args.kernel == KernelChoice::Netlink);
        let answering = esplanade_metrics::answer_at(address, answers).await;
        answering.with_context(|| format!("listening at {address} for metrics"))?;
    }
    let (state_dir, resync) = (&args.state_dir, args.resync_period);
    let mut agent = Agent::start(
        client, identity, keys, recorded, state_dir, open, ports, resync, metrics, api_server, block,
    )
    .context("starting the kernel's thread")?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: ending, the kernel stays as it is"),
        _ = interrupt.recv() => tracing::info!("SIGINT: ending, the kernel stays as it is"),
        ended = agent.run() => return Err(ended.into()),
    }
    agent.finish().await;
    Ok(())
}

fn ports(kernel: KernelChoice, state_dir: &Path) -> Box<dyn Ports> {
    match kernel {
        KernelChoice::Netlink => Box::new(Sockets::new(state_dir)),
        #[cfg(feature = "fake-kernel")]
        KernelChoice::Fake => Box::new(esplanade_node_agent::ports::InMemory),
    }
}

/// Once: the sockets are opened again and again.
fn say_if_unfiltered(watch: &Events) {
    static SAID: Once = Once::new();
    if let Some(error) = watch.unfiltered() {
        SAID.call_once(|| {
            tracing::warn!(
                "the kernel tells the agent of the agent's own changes, which costs time: SO_ATTACH_FILTER: {error}. Raise \
                 the sysctl net.core.optmem_max"
            );
        });
    }
}

fn open(kernel: KernelChoice) -> Open {
    match kernel {
        KernelChoice::Netlink => Box::new(|acquires| {
            let kernel = Netlink::open()?;
            let watch = if acquires { kernel.watch_acquires_too() } else { kernel.watch() }?;
            say_if_unfiltered(&watch);
            Ok((Box::new(kernel), Box::new(watch)))
        }),
        #[cfg(feature = "fake-kernel")]
        KernelChoice::Fake => {
            let kernel = esplanade_xfrm::fake::FakeKernel::new();
            Box::new(move |_| Ok((Box::new(kernel.clone()), Box::new(kernel.watch()?))))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use esplanade_logging::Format;

    use super::{Args, Command};

    #[test]
    fn an_agent_and_what_holds_its_sockets_are_told_how_to_log() {
        let agent = Args::try_parse_from(["agent", "--node-name=a", "--log-format=json"]).unwrap();
        assert_eq!(
            (agent.agent.map(|agent| agent.node_name), agent.log.log_format),
            (Some("a".to_owned()), Format::Json)
        );
        let Some(Command::HoldSockets(holder)) =
            Args::try_parse_from(["agent", "hold-sockets", "--log-format=json"]).unwrap().command
        else {
            unreachable!("another command")
        };
        assert_eq!(holder.log.log_format, Format::Json);
    }
}
