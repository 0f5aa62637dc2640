//! `lab`: a shell into a running lab.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use esplanade_e2e::guest::{Guest, Program};
use esplanade_e2e::lab::{self, Config, Lab};
use tokio::signal::unix::{SignalKind, signal};

/// Tells `lab node` where the running lab's helper is.
const HELPER: &str = "LAB_HELPER";

/// A cluster in a box: a real control plane, nodes with pods on a kernel with ESP, Esplanade installed.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Nodes: node-a, node-b …
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=26))]
    nodes: u8,
    /// Pods behind each node.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=200))]
    pods: u8,
    /// Don't install the chart.
    #[arg(long)]
    bare: bool,
    /// Run this command instead of a shell.
    #[arg(last = true)]
    run: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a command on a node or in a pod of the lab whose shell this is.
    Node {
        /// node-a, or for its first pod node-a-pod-0.
        name: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        argv: Vec<String>,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Node { name, argv }) => node(name, argv),
        None => {
            let config = Config { nodes: args.nodes, pods: args.pods };
            lab::run(config, async |lab| shell(lab, args.bare, &args.run).await)
        }
    };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}

fn node(name: String, argv: Vec<String>) -> Result<i32> {
    let helper = std::env::var(HELPER).context("not in a shell of the lab: start one with `make lab`")?;
    let helper: SocketAddr = helper.parse().context(HELPER)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut env = BTreeMap::new();
    env.extend(std::env::var("TERM").ok().map(|term| ("TERM".to_owned(), term)));
    let program = Program { namespace: Some(name), argv, env };
    runtime.context("making a runtime")?.block_on(Guest::stream(helper, program))
}

async fn shell(lab: &Lab, bare: bool, run: &[String]) -> Result<i32> {
    // Ctrl-C is for what runs in the shell.
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    if !bare {
        say("installing the chart");
        let chart = esplanade_e2e::controlplane::binaries::workspace().join("charts/esplanade");
        lab.install_chart(&chart, "").await?;
    }
    let tools = tools(lab)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let words = if run.is_empty() { vec![default_shell()] } else { run.to_vec() };
    if run.is_empty() {
        say(&welcome(lab));
    }
    let mut command = tokio::process::Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("PATH", format!("{}:{path}", tools.display()))
        .env("KUBECONFIG", lab.control_plane().kubeconfig("admin", lab.control_plane().admin_token())?)
        .env(HELPER, lab.helper().to_string())
        .kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("starting {}", words[0]))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(esplanade_e2e::outcome::code(status.context("waiting")?)),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => return Ok(128 + 15),
            _ = hangup.recv() => return Ok(128 + 1),
        }
    }
}

fn default_shell() -> String {
    std::env::var("SHELL").unwrap_or_else(|_| "/bin/bash".to_owned())
}

/// A folder with the commands of the lab's shell.
fn tools(lab: &Lab) -> Result<PathBuf> {
    let tools = lab.dir().join("tools");
    std::fs::create_dir_all(&tools).context("making the tools' folder")?;
    let link = |from: &Path, name: &str| {
        std::os::unix::fs::symlink(from, tools.join(name)).with_context(|| format!("linking {name}"))
    };
    let binaries = lab.control_plane().binaries();
    link(&binaries.kubectl, "kubectl")?;
    link(&binaries.helm, "helm")?;
    if let Ok(plugin) = esplanade_e2e::programs::find("kubectl-esplanade", "esplanade-cli") {
        link(&plugin, "kubectl-esplanade")?;
    }
    let own = std::env::current_exe().context("this program's path")?;
    let own = own.to_str().context("this program's path isn't UTF-8")?;
    let script = format!("#!/bin/sh\nexec {} node \"$@\"\n", shell_words::quote(own));
    let node = tools.join("node");
    std::fs::write(&node, script).context("writing the node command")?;
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o755)).context("the node command")?;
    Ok(tools)
}

fn welcome(lab: &Lab) -> String {
    let mut lines = vec!["The lab runs:".to_owned()];
    for node in lab.nodes() {
        let [v4, v6] = node.addresses.both();
        lines.push(format!("  {}  {v4}  {v6}  pods in {}", node.name, node.pod_cidrs.join(" and ")));
    }
    let examples = [
        ("kubectl get nodes,pods --all-namespaces", "you are the cluster's admin"),
        ("node node-a ip xfrm state", "run a command on a node"),
        ("node node-a-pod-0 ping -c1 10.244.2.2", "or in a pod"),
        ("node node-a tcpdump -ni eth0", "look at the wire; Ctrl-C ends it"),
        ("exit", "ends the lab and everything in it"),
    ];
    lines.extend(examples.map(|(command, meaning)| format!("  {command:<42}{meaning}")));
    lines.push(format!("Logs: {}", lab.dir().display()));
    lines.join("\n")
}

#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}
