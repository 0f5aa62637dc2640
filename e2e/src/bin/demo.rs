//! `demo`: manifests become ESP between two nodes, step by step, on a real API server and a real kernel.
#![allow(clippy::print_stdout)] // what it prints is its result

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::{Capture, Packet};
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::lab::{self, Config, Lab, NAMESPACE};

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    println!("Esplanade: from kubectl apply to ESP on the wire.");
    title("A control plane (etcd, kube-apiserver, controllers) and two nodes with a pod each");
    match lab::run(Config::default(), demo) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}

async fn demo(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    for node in [a, b] {
        println!("   {}  {}  pods in {}", node.name, node.addresses.v4, node.pod_cidrs[0]);
    }
    println!("   kernel {}", a.run(["uname", "-r"]).await?.ok()?.trim());

    title("helm install esplanade charts/esplanade");
    lab.install_esplanade("", SOON).await?;
    kubectl(lab, &["get", "ipsecnodestates"]).await?;

    title("Before: a ping between the pods, and what the wire shows");
    let wire = a.capture().await?;
    ping(lab).await?;
    show(wire).await?;

    title("Keys from /dev/urandom into Secrets, then kubectl apply -f examples/manual");
    for sa in ["a-to-b", "b-to-a"] {
        create_secret(lab, &format!("ipsec-{sa}")).await?;
    }
    let examples = path("examples/manual")?;
    kubectl(lab, &["apply", "-f", &examples]).await?;
    for what in ["ipsecsa/a-to-b", "ipsecsa/b-to-a", "ipsecpolicy/pods"] {
        lab.wait_condition(what, "Programmed", "True", SOON).await?;
    }
    println!();
    kubectl(lab, &["get", "ipsecpolicies,ipsecsas"]).await?;

    title("After: the same ping is ESP, with the SPIs that the manifests ask for (0x1001, 0x1002)");
    let wire = a.capture().await?;
    ping(lab).await?;
    let packets = show(wire).await?;
    let pods = [a.pod(0).addresses.v4, b.pod(0).addresses.v4].map(std::net::IpAddr::from);
    let clear = packets.iter().filter_map(Packet::ip).filter(|ip| pods.contains(&ip.source)).count();
    ensure!(clear == 0, "{clear} packets in clear text");

    title(
        "kubectl delete ipsecsa a-to-b: traffic is dropped, never sent in the clear, and the policy says why",
    );
    kubectl(lab, &["delete", "ipsecsa", "a-to-b"]).await?;
    lab.wait_condition("ipsecpolicy/pods", "ResolvedRefs", "False", SOON).await?;
    lab.wait("the SA to leave the kernel", SOON, async || {
        ensure!(a.xfrm().await?.states.len() == 1, "it is there");
        Ok(())
    })
    .await?;
    let wire = a.capture().await?;
    let answer = a.pod(0).run(["ping", "-c1", "-W1", &b.pod(0).addresses.v4.to_string()]).await?;
    ensure!(!answer.success(), "the ping was answered");
    println!("   ping: no answer");
    show(wire).await?;
    let message = r#"jsonpath={range .status.conditions[?(@.status=="False")]}   {.type}=False {.reason}: {.message}{"\n"}{end}"#;
    print!("{}", lab.control_plane().kubectl(&["get", "ipsecpolicy", "pods", "-o", message]).await?.ok()?);

    title("kubectl delete -f examples/manual: the kernels are as before");
    kubectl(lab, &["delete", "--ignore-not-found", "-f", &examples]).await?;
    lab.wait("empty kernels", SOON, async || {
        for node in [a, b] {
            let xfrm = node.xfrm().await?;
            ensure!(xfrm.states.is_empty() && xfrm.policies.is_empty(), "{xfrm:?}");
        }
        Ok(())
    })
    .await?;
    ping(lab).await?;
    println!("\nmake lab gives you a shell in such a cluster.");
    Ok(())
}

fn title(text: &str) {
    println!("\n── {text}");
}

fn path(below: &str) -> Result<String> {
    let path: PathBuf = workspace().join(below);
    Ok(path.to_str().context("the workspace's path isn't UTF-8")?.to_owned())
}

/// Runs kubectl and shows what it says.
async fn kubectl(lab: &Lab, args: &[&str]) -> Result<()> {
    let output = lab.control_plane().kubectl(args).await?.ok()?;
    for line in output.lines() {
        println!("   {line}");
    }
    Ok(())
}

async fn create_secret(lab: &Lab, name: &str) -> Result<()> {
    let random = |key: &str| -> Result<String> {
        let file = lab.dir().join(key);
        let bytes: Vec<u8> = read_random()?;
        std::fs::write(&file, bytes).context("writing a key")?;
        Ok(format!("--from-file={key}={}", file.display()))
    };
    let (encryption, integrity) = (random("encryption")?, random("integrity")?);
    kubectl(lab, &["-n", NAMESPACE, "create", "secret", "generic", name, &encryption, &integrity]).await
}

fn read_random() -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = vec![0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes)
}

async fn ping(lab: &Lab) -> Result<()> {
    let to = lab.node("node-b").pod(0).addresses.v4.to_string();
    let output = lab.node("node-a").pod(0).run(["ping", "-c2", "-i0.2", &to]).await?.ok()?;
    for line in output.lines().filter(|line| line.contains("packet loss")) {
        println!("   ping {to}: {line}");
    }
    Ok(())
}

/// Ends a capture and shows its IPv4 packets, without the agents' connections.
async fn show(wire: Capture) -> Result<Vec<Packet>> {
    let api = std::net::IpAddr::from(lab::addresses::control_plane().v4);
    let mut packets = wire.stop().await?;
    packets.retain(|packet| {
        packet.ip().is_some_and(|ip| ip.source.is_ipv4() && ip.source != api && ip.destination != api)
    });
    if packets.is_empty() {
        println!("   wire: nothing");
    }
    for packet in &packets {
        println!("   wire: {packet}");
    }
    Ok(packets)
}
