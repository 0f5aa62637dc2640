//! deploy/boot/esplanade-boot.service on machines that Debian's systemd boots. On each, something sends from the first moment
//! on, to another node and to somebody whom no policy is about.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use esplanade_e2e::capture::{Ip, Packet, Payload};
use esplanade_e2e::controlplane::binaries::workspace;
use esplanade_e2e::lab::Config;
use esplanade_e2e::lab::addresses::{self, Addresses};
use esplanade_e2e::lab::system::{self, Setup, System};
use esplanade_e2e::programs;

use crate::automatic::ready;
use crate::cluster::with_esplanade;

const POLICY: &str = "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {name: nodes}\nspec:\n  \
                      from: [{nodes: {}}]\n  protection: {mode: Transport}\n";
/// Where the lab's nodes have it.
const RECORD: &str = "/mnt/esplanade/policies-at-boot";
const UNIT: &str = "esplanade-boot.service";
/// So many packets to somebody whom no policy is about: so often the sender tried everybody.
const ROUNDS: usize = 20;

/// Without systemd-network-generator, which asks for network-pre.target as well: beside other programs that bring up networks
/// nobody does but our unit.
const SET_UP: &str =
    "systemctl enable systemd-networkd sender before after\nsystemctl mask systemd-network-generator\n";

fn own() -> Addresses {
    addresses::node(1)
}

fn peer() -> Addresses {
    addresses::node(0)
}

/// node-b as its image has it: with systemd-networkd, with what this test looks at, with the record on a disk if there is one.
fn node(record: Option<&str>) -> Setup<'static> {
    let mut network = include_str!("boot_unit/wire.network").to_owned();
    for address in addresses::wire_prefixes(own()) {
        network.push_str(&format!("[Address]\nAddress={address}\nDuplicateAddressDetection=none\n"));
    }
    let peers = [peer(), addresses::control_plane()].into_iter().flat_map(Addresses::both);
    let mut files = vec![
        ("etc/systemd/network/wire.network", network),
        ("etc/peers", peers.map(|peer| format!("{peer}\n")).collect()),
    ];
    files.extend(
        [
            ("etc/systemd/system/sender.service", include_str!("boot_unit/sender.service")),
            ("usr/local/bin/sender", include_str!("boot_unit/sender.sh")),
            ("etc/systemd/system/before.service", include_str!("boot_unit/before.service")),
            ("etc/systemd/system/after.service", include_str!("boot_unit/after.service")),
            ("usr/local/bin/report", include_str!("boot_unit/report.sh")),
        ]
        .map(|(path, text)| (path, text.to_owned())),
    );
    if let Some(record) = record {
        let late = include_str!("boot_unit/late-disk.service").to_owned();
        files.push(("etc/systemd/system/late-disk.service", late));
        files.push(("etc/fstab", include_str!("boot_unit/fstab").to_owned()));
        files.push(("disk/policies-at-boot", record.to_owned()));
    }
    Setup { files, script: SET_UP.to_owned(), peers: vec![peer()], ..Setup::default() }
}

/// Adds the unit just as it says itself.
fn with_unit(mut setup: Setup<'static>) -> Result<Setup<'static>> {
    let unit = workspace().join("deploy/boot").join(UNIT);
    let text = std::fs::read_to_string(&unit).with_context(|| unit.display().to_string())?;
    let commands: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#     ")).collect();
    ensure!(commands.len() == 3, "not the commands that install it: {commands:?}");
    setup.script.push_str(&commands.join("\n"));
    setup.install = vec![programs::find("esplanade-node-agent", "esplanade-node-agent")?, unit];
    Ok(setup)
}

/// What was seen of a boot.
struct Seen {
    /// Packets from this node to the other, for each family.
    clear: [usize; 2],
    /// Interfaces but loopback that had an address before the network was to come up.
    addresses: Vec<String>,
    /// The kernel's policies at that time, as `ip xfrm policy` prints them.
    policies: String,
    /// What systemd says of the unit and of its network daemon.
    unit: BTreeMap<String, String>,
    networkd: BTreeMap<String, String>,
    /// What the unit logged.
    said: String,
}

/// Boots it, and waits until the sender has tried everybody so often.
fn boot(setup: &Setup<'_>) -> Result<Seen> {
    system::run(setup, async |system| {
        let clear = system
            .wait("the node to come up and send", async |system| {
                ensure!(system.dir().join("reported").exists(), "systemd hasn't come as far");
                let others = sent(system, addresses::control_plane()).await?;
                ensure!(others.iter().all(|sent| *sent >= ROUNDS), "{others:?} were sent where no policy is");
                sent(system, peer()).await
            })
            .await?;
        let read = |name: &str| {
            std::fs::read_to_string(system.dir().join(name))
                .with_context(|| format!("what the node says: {name}"))
        };
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let properties =
            |text: String| text.lines().filter_map(|line| line.split_once('=')).map(own).collect();
        let addresses = read("addresses")?;
        Ok(Seen {
            clear,
            addresses: addresses.lines().filter(|line| !line.contains(": lo ")).map(str::to_owned).collect(),
            policies: read("policies")?,
            unit: properties(read("esplanade-boot")?),
            networkd: properties(read("systemd-networkd")?),
            said: read("said")?,
        })
    })
}

/// How many packets the wire has seen from this node, for each family; neighbour discovery is no policy's.
async fn sent(system: &System, to: Addresses) -> Result<[usize; 2]> {
    let packets = system.packets().await?;
    let count = |from: IpAddr, to: IpAddr| {
        let discovery = |ip: &Ip| from.is_ipv6() && matches!(ip.payload, Payload::Icmp { kind: 133..=137 });
        let of_ours = |ip: &&Ip| ip.source == from && ip.destination == to && !discovery(ip);
        packets.iter().filter_map(Packet::ip).filter(of_ours).count()
    };
    Ok([count(own().v4.into(), to.v4.into()), count(own().v6.into(), to.v6.into())])
}

impl Seen {
    fn unit(&self, property: &str) -> &str {
        self.unit.get(property).map_or("", String::as_str)
    }

    fn states(&self) -> [&str; 3] {
        ["ActiveState", "SubState", "Result"].map(|name| self.unit(name))
    }

    fn succeeded_before_the_network(&self) -> Result<()> {
        assert_eq!(self.states(), ["active", "exited", "success"], "{}", self.said);
        self.was_before_the_network()
    }

    /// Fails unless the unit ended before systemd-networkd began.
    fn was_before_the_network(&self) -> Result<()> {
        let time = |unit: &BTreeMap<String, String>, property: &str| -> Result<u64> {
            let text = unit.get(property).with_context(|| format!("no {property}"))?;
            let time = text.parse().with_context(|| format!("{property}={text}"))?;
            ensure!(time > 0, "{property}: never");
            Ok(time)
        };
        let ended = time(&self.unit, "ExecMainExitTimestampMonotonic")?;
        let began = time(&self.networkd, "ExecMainStartTimestampMonotonic")?;
        ensure!(
            ended <= began,
            "the unit ended {ended} µs after the boot, systemd-networkd began at {began}"
        );
        ensure!(self.addresses.is_empty(), "before the network: {:?}", self.addresses);
        Ok(())
    }

    fn is_open(&self) -> Result<()> {
        ensure!(self.clear.iter().all(|sent| *sent > 0), "{:?} packets in the clear", self.clear);
        assert_eq!(self.policies, "");
        Ok(())
    }
}

#[test]
fn a_unit_of_systemd_closes_a_node_before_its_network_is_up() -> Result<()> {
    let mut record = String::new();
    with_esplanade(Config::default(), async |lab| {
        lab.apply(POLICY).await?;
        ready(lab, "nodes").await?;
        record = lab.node("node-b").run(["cat", RECORD]).await?.ok()?;
        Ok(())
    })?;
    let blocked = record.matches("\"Block\"").count();
    ensure!(blocked > 0, "nothing is to be blocked: {record}");

    // Without the unit all goes in the clear.
    let open = boot(&node(Some(&record)))?;
    open.is_open()?;
    assert_eq!(open.unit("LoadState"), "not-found");

    let closed = boot(&with_unit(node(Some(&record)))?)?;
    assert_eq!(closed.clear, [0, 0], "{}", closed.said);
    closed.succeeded_before_the_network()?;
    assert_eq!(closed.policies.matches("action block").count(), blocked, "{}", closed.policies);
    assert_eq!(closed.policies.matches("dir ").count(), record.lines().count(), "{}", closed.policies);
    Ok(())
}

#[test]
fn the_unit_leaves_a_node_open_without_a_record_and_fails_with_a_bad_one() -> Result<()> {
    let first = boot(&with_unit(node(None))?)?;
    first.is_open()?;
    first.succeeded_before_the_network()?;

    let bad = boot(&with_unit(node(Some("{\"direction\":\"Out\",\"sour")))?)?;
    bad.is_open()?;
    assert_eq!(bad.states(), ["failed", "failed", "exit-code"]);
    bad.was_before_the_network()?;
    ensure!(bad.said.contains("/var/lib/esplanade/policies-at-boot, line 1: not a policy"), "{}", bad.said);
    Ok(())
}
