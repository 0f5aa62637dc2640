//! Installing the chart, and running the real programs that its Pods ask for.
//!
//! There is no scheduler, no kubelet and no image: the lab binds the Pods and starts the programs as built by cargo,
//! each with the arguments, environment, capabilities and bound token that its Pod has. The operator runs beside the
//! control plane, an agent in its node.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use super::invocation::invocation;
use super::wait::LONG;
use super::{Lab, Node, pods};
use crate::controlplane::binaries::workspace;
use crate::guest::{Process, Program};
use crate::logs;
use crate::process::Supervised;

/// The namespace that the lab installs the chart in.
pub const NAMESPACE: &str = "esplanade-system";
/// Lines of each log in an error.
const TAIL: usize = 15;
/// On the nodes' disks.
const BOOT_DIR: &str = "nodeAgent.bootDir=/mnt/esplanade";

/// The program of one Pod.
#[derive(Debug)]
pub(super) struct Running {
    container: String,
    node: String,
    log: PathBuf,
    start: Start,
    process: Option<Handle>,
}

/// How it is started.
#[derive(Debug, Clone)]
enum Start {
    Here { argv: Vec<String>, env: Vec<(String, String)> },
    OnNode(Program),
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) container: String,
    pub(super) node: String,
    pub(super) how: String,
}

#[derive(Debug)]
enum Handle {
    Here(Supervised),
    OnNode(Process),
}

impl Running {
    pub(super) fn log_tail(&self) -> String {
        logs::tail(&self.log, TAIL)
    }
}

impl Lab {
    /// Installs a chart with helm into `esplanade-system`, binds its Pods and starts their programs: containers named
    /// `operator`, `node-agent` and `socket-holder`. `values` is YAML as in a values file.
    ///
    /// # Errors
    /// helm refuses it, a Pod doesn't appear, or a program isn't built.
    pub async fn install_chart(&self, chart: &Path, values: &str) -> Result<()> {
        let file = self.dir().join("values.yaml");
        std::fs::write(&file, values).context("writing the values")?;
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path isn't UTF-8");
        let (chart, file) = (path(chart)?, path(&file)?);
        let install = ["install", "esplanade", &chart, "--create-namespace", "--namespace", NAMESPACE];
        let lab = ["--set", BOOT_DIR, "--values", &file];
        let args: Vec<&str> = install.into_iter().chain(lab).collect();
        self.control_plane().helm(&args).await?.ok()?;
        let pods = self.wait("the chart's Pods", LONG, async || self.expected_pods().await).await?;
        for pod in pods {
            let (pod, node) = self.bind(&pod).await?;
            self.run_pod(&pod, node).await?;
        }
        Ok(())
    }

    /// Installs Esplanade's own chart and waits until every node's agent is ready.
    ///
    /// # Errors
    /// As for [`Lab::install_chart`], or an agent isn't ready in time.
    pub async fn install_esplanade(&self, values: &str, deadline: Duration) -> Result<()> {
        self.install_chart(&workspace().join("charts/esplanade"), values).await?;
        for node in self.nodes() {
            let state = format!("ipsecnodestate/{}", node.name);
            self.wait(&format!("{state} to exist"), deadline, async || self.get(&state).await).await?;
            self.wait_condition(&state, "Ready", "True", deadline).await?;
        }
        Ok(())
    }

    /// The Pods, once there are as many as the chart's workloads want.
    async fn expected_pods(&self) -> Result<Vec<Pod>> {
        let all = ListParams::default();
        let deployments: Api<Deployment> = Api::namespaced(self.client(), NAMESPACE);
        let sets: Api<DaemonSet> = Api::namespaced(self.client(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        let mut wanted = 0;
        for deployment in deployments.list(&all).await? {
            wanted += deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        }
        for set in sets.list(&all).await? {
            let status = set.status.unwrap_or_default();
            let seen = status.observed_generation == set.metadata.generation;
            ensure!(seen, "the DaemonSet controller hasn't looked yet");
            wanted += status.desired_number_scheduled;
        }
        let pods = pods.list(&all).await?.items;
        ensure!(wanted > 0, "the chart has no Deployment or DaemonSet that wants Pods");
        ensure!(usize::try_from(wanted) == Ok(pods.len()), "{} Pods instead of {wanted}", pods.len());
        Ok(pods)
    }

    /// Deletes the Pods of a node that is gone, as nobody there can say that they have ended.
    pub(super) async fn forget_pods(&self, node: &str) -> Result<()> {
        self.programs.borrow_mut().retain(|running| running.container == "operator" || running.node != node);
        let api: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        let all = api.list(&ListParams::default()).await?.items;
        for name in
            all.iter().filter(|pod| pods::is_of(pod, node)).filter_map(|pod| pod.metadata.name.as_ref())
        {
            // The garbage collector may have been first.
            if let Err(error) = api.delete(name, &DeleteParams::default().grace_period(0)).await {
                ensure!(error.to_string().contains("not found"), "deleting Pod {name}: {error}");
            }
        }
        Ok(())
    }

    /// Starts the Pods of a node that has joined.
    pub(super) async fn start_pods(&self, node: &str) -> Result<()> {
        let pods =
            self.wait(&format!("the Pods of {node}"), LONG, async || self.expected_pods().await).await?;
        for pod in pods.iter().filter(|pod| pods::is_of(pod, node)) {
            let (pod, node) = self.bind(pod).await?;
            self.run_pod(&pod, node).await?;
        }
        Ok(())
    }

    async fn run_pod(&self, pod: &Pod, node: &Node) -> Result<()> {
        let name = pod.metadata.name.clone().context("a Pod's name")?;
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let [container] = containers else { anyhow::bail!("Pod {name} hasn't just one container") };
        let package = match container.name.as_str() {
            "operator" => "esplanade-operator",
            "node-agent" | "socket-holder" => "esplanade-node-agent",
            other => anyhow::bail!("Pod {name}: the lab has no program for a container {other}"),
        };
        let entrypoint = || crate::programs::find(package, package);
        let (argv, mut env) = invocation(container, entrypoint, |path| pods::field(pod, node, path))?;
        let start = if container.name == "socket-holder" {
            Start::OnNode(Program { env, ..node.program(argv) })
        } else if container.name == "operator" {
            let token = self.token_for_pod(NAMESPACE, &name).await?;
            let kubeconfig = self.control_plane().kubeconfig(&name, &token)?;
            let kubeconfig = kubeconfig.to_str().context("the lab's folder isn't UTF-8")?.to_owned();
            env.insert("KUBECONFIG".to_owned(), kubeconfig);
            Start::Here { argv, env: env.into_iter().collect() }
        } else {
            let token = self.token_for_pod(NAMESPACE, &name).await?;
            let kubeconfig = format!("/run/lab/{name}.kubeconfig");
            let text = self.control_plane().kubeconfig_text_at(&self.api_server.borrow(), &token);
            let write = ["sh", "-c", "umask 077; cat >\"$1\"", "sh", &kubeconfig];
            node.run_with(write, &text).await?.ok()?;
            env.insert("KUBECONFIG".to_owned(), kubeconfig);
            Start::OnNode(Program { env, ..node.program(argv) })
        };
        let mut running = Running {
            container: container.name.clone(),
            node: node.name.clone(),
            log: self.dir().join(format!("{name}.log")),
            start,
            process: None,
        };
        running.start(node).await?;
        self.programs.borrow_mut().push(running);
        self.mark_running(pod, node).await
    }

    /// The programs that have ended, in words.
    pub(super) async fn ended(&self) -> String {
        let ended = self.have_ended().await;
        ended.iter().fold(String::new(), |mut words, Ended { container, node, how }| {
            let _ = writeln!(words, "the {container} of {node} has ended: {how}");
            words
        })
    }

    /// The programs that have ended, as long as they aren't started again.
    pub(super) async fn have_ended(&self) -> Vec<Ended> {
        let mut all = Vec::new();
        let mut on_nodes = Vec::new();
        for running in self.programs.borrow_mut().iter_mut() {
            let ended = |how| Ended { container: running.container.clone(), node: running.node.clone(), how };
            match &mut running.process {
                Some(Handle::Here(process)) => {
                    if let Ok(Some(status)) = process.try_wait() {
                        all.push(ended(status.to_string()));
                    }
                }
                Some(Handle::OnNode(process)) => on_nodes.push((ended(String::new()), process.clone())),
                None => {}
            }
        }
        for (ended, process) in on_nodes {
            if let Ok(Some(code)) = process.status().await {
                all.push(Ended { how: format!("exit code {code}"), ..ended });
            }
        }
        all
    }

    /// SIGTERM for the node's agent; its exit code.
    pub async fn stop_agent(&self, node: &str) -> Result<i32> {
        let process = self.agent(node)?;
        process.stop().await
    }

    /// Starts the node's agent again, as the kubelet would: the same Pod, the same token.
    pub async fn start_agent(&self, node: &str) -> Result<Process> {
        let place = self.node(node);
        let (Start::OnNode(program), log) =
            self.program("node-agent", Some(node), |r| (r.start.clone(), r.log.clone()))?
        else {
            anyhow::bail!("the agent isn't on a node")
        };
        let process = place.guest.spawn(program, &log).await?;
        self.program("node-agent", Some(node), |r| r.process = Some(Handle::OnNode(process.clone())))?;
        Ok(process)
    }

    /// From its next start on, the node's agent has this argument in place of the one that begins with the same option.
    pub fn change_agent(&self, node: &str, argument: &str) -> Result<()> {
        let option = argument.split_inclusive('=').next().unwrap_or(argument);
        self.program("node-agent", Some(node), |running| {
            if let Start::OnNode(program) = &mut running.start {
                let there = program.argv.iter_mut().find(|one| one.starts_with(option));
                there.context("its Pod has no such argument")?.clone_from(&argument.to_owned());
            }
            Ok(())
        })?
    }

    /// The node's socket holder is replaced as by a rolling update: the new one runs before the old one is stopped.
    pub async fn replace_socket_holder(&self, node: &str) -> Result<()> {
        let (Start::OnNode(program), log, Some(Handle::OnNode(old))) =
            self.program("socket-holder", Some(node), |r| {
                (r.start.clone(), r.log.clone(), r.process.take())
            })?
        else {
            anyhow::bail!("the socket holder doesn't run on a node")
        };
        let process = self.node(node).guest.spawn(program, &log).await?;
        self.program("socket-holder", Some(node), |r| r.process = Some(Handle::OnNode(process.clone())))?;
        self.wait("the new socket holder", LONG, async || {
            ensure!(process.log().matches("holding sockets").count() > 1, "{}", process.log());
            Ok(())
        })
        .await?;
        old.stop().await.map(drop)
    }

    /// The node's agent.
    pub fn agent(&self, node: &str) -> Result<Process> {
        self.program("node-agent", Some(node), |running| match &running.process {
            Some(Handle::OnNode(process)) => Some(process.clone()),
            _ => None,
        })?
        .context("the agent isn't on a node")
    }

    /// SIGTERM for the operator (the first, if there are more), SIGKILL 5 s later.
    pub fn stop_operator(&self) -> Result<()> {
        self.program("operator", None, |running| running.process = None)
    }

    /// Starts the operator again.
    pub fn start_operator(&self) -> Result<()> {
        self.program("operator", None, Running::start_here)?
    }

    /// What the operators have logged so far.
    pub fn operator_log(&self) -> String {
        let programs = self.programs.borrow();
        let operators = programs.iter().filter(|running| running.container == "operator");
        operators
            .map(|r| String::from_utf8_lossy(&std::fs::read(&r.log).unwrap_or_default()).into_owned())
            .collect()
    }

    fn program<T>(
        &self,
        container: &str,
        node: Option<&str>,
        act: impl FnOnce(&mut Running) -> T,
    ) -> Result<T> {
        let mut programs = self.programs.borrow_mut();
        let found = programs
            .iter_mut()
            .find(|running| running.container == container && node.is_none_or(|node| running.node == node));
        found.map(act).with_context(|| format!("no {container} runs: install the chart first"))
    }
}

impl Running {
    async fn start(&mut self, node: &Node) -> Result<()> {
        match self.start.clone() {
            Start::Here { .. } => self.start_here(),
            Start::OnNode(program) => {
                self.process = Some(Handle::OnNode(node.guest.spawn(program, &self.log).await?));
                Ok(())
            }
        }
    }

    fn start_here(&mut self) -> Result<()> {
        let Start::Here { argv, env } = &self.start else {
            anyhow::bail!("{} isn't beside it", self.container)
        };
        let (program, args) = argv.split_first().context("an empty command")?;
        let file = std::fs::File::options().create(true).append(true).open(&self.log).context("the log")?;
        let second = file.try_clone().context("the log")?;
        let mut command = Command::new(program);
        command.args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().cloned());
        command.stdin(Stdio::null()).stdout(file).stderr(second).current_dir("/");
        // The one before ends first.
        self.process = None;
        self.process = Some(Handle::Here(Supervised::spawn(&self.container, command)?));
        Ok(())
    }
}
