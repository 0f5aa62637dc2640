//! Protocols, modes, families and algorithms, each with traffic over the real kernel.

use std::net::IpAddr;

use anyhow::Result;
use esplanade_e2e::lab::{Config, Lab};

use crate::cluster::{SOON, remove, secret, with_esplanade};
use crate::wire::{clear_echoes, lengths, ping_nodes, ping_pods, sequence};

/// What is protected.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Between {
    Pods,
    Nodes,
}

pub(crate) struct Variant {
    pub(crate) name: &'static str,
    mode: &'static str,
    protocol: &'static str,
    family: &'static str,
    algorithms: &'static str,
    /// Lengths of the Secret's keys, in bytes.
    encryption: usize,
    integrity: usize,
    between: Between,
}

const CBC: &str = "encryption: {algorithm: AES-CBC-128, keySecretRef: {name: keys, key: encryption}}\n  \
                   integrity: {algorithm: HMAC-SHA2-512-256, keySecretRef: {name: keys, key: integrity}}";
const NULL: &str = "encryption: {algorithm: 'NULL'}\n  \
                    integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: keys, key: integrity}}";
const GCM: &str = "encryption: {algorithm: AES-GCM-16-256, keySecretRef: {name: keys, key: encryption}}\n  \
                   allowInsecureManualAead: true";
const AH: &str = "integrity: {algorithm: HMAC-SHA2-384-192, keySecretRef: {name: keys, key: integrity}}";
const WINDOW: &str = "encryption: {algorithm: AES-CBC-256, keySecretRef: {name: keys, key: encryption}}\n  \
                      integrity: {algorithm: HMAC-SHA2-256-128, keySecretRef: {name: keys, key: integrity}}\n  \
                      antiReplay: {window: 128, extendedSequenceNumbers: true}";

#[rustfmt::skip]
pub(crate) const VARIANTS: &[Variant] = &[
    Variant { name: "tunnel-v6", mode: "Tunnel", protocol: "ESP", family: "IPv6", algorithms: CBC, encryption: 16, integrity: 64, between: Between::Pods },
    Variant { name: "tunnel-gcm", mode: "Tunnel", protocol: "ESP", family: "IPv4", algorithms: GCM, encryption: 36, integrity: 1, between: Between::Pods },
    Variant { name: "tunnel-null", mode: "Tunnel", protocol: "ESP", family: "IPv4", algorithms: NULL, encryption: 1, integrity: 32, between: Between::Pods },
    Variant { name: "tunnel-esn", mode: "Tunnel", protocol: "ESP", family: "IPv4", algorithms: WINDOW, encryption: 32, integrity: 32, between: Between::Pods },
    Variant { name: "tunnel-ah", mode: "Tunnel", protocol: "AH", family: "IPv4", algorithms: AH, encryption: 1, integrity: 48, between: Between::Pods },
    Variant { name: "transport-v4", mode: "Transport", protocol: "ESP", family: "IPv4", algorithms: CBC, encryption: 16, integrity: 64, between: Between::Nodes },
    Variant { name: "transport-v6", mode: "Transport", protocol: "ESP", family: "IPv6", algorithms: CBC, encryption: 16, integrity: 64, between: Between::Nodes },
    Variant { name: "transport-ah", mode: "Transport", protocol: "AH", family: "IPv4", algorithms: AH, encryption: 1, integrity: 48, between: Between::Nodes },
];

impl Variant {
    fn v4(&self) -> bool {
        self.family == "IPv4"
    }

    /// Only pings, so that the agents reach the API server whatever happens.
    pub(crate) fn manifests(&self) -> String {
        let Self { name, mode, protocol, family, algorithms, .. } = self;
        let side = if self.between == Between::Pods { "podCIDRs" } else { "nodes" };
        let traffic = match (self.between, self.v4()) {
            (Between::Pods, _) => "[]",
            (Between::Nodes, true) => "[{protocol: ICMP}]",
            (Between::Nodes, false) => "[{protocol: ICMPv6}]",
        };
        let sa = |sa: &str, source: &str, destination: &str, spi: u32| {
            format!(
                "---\napiVersion: esplanade.dev/v1alpha1\nkind: IpsecSA\nmetadata: {{name: {name}-{sa}}}\nspec:\n  \
                 source: {{node: {source}}}\n  destination: {{node: {destination}}}\n  ipFamily: {family}\n  \
                 spi: {spi}\n  mode: {mode}\n  protocol: {protocol}\n  {algorithms}\n"
            )
        };
        format!(
            "apiVersion: esplanade.dev/v1alpha1\nkind: IpsecPolicy\nmetadata: {{name: {name}}}\nspec:\n  \
             from: [{{{side}: {{}}}}]\n  traffic: {traffic}\n  protection:\n    mode: {mode}\n    \
             protocol: {protocol}\n    \
             keying: {{manual: {{securityAssociations: [{name}-ab, {name}-ba]}}}}\n{}{}",
            sa("ab", "node-a", "node-b", AB),
            sa("ba", "node-b", "node-a", BA),
        )
    }

    async fn check(&self, lab: &Lab) -> Result<()> {
        self.carries(lab).await?;
        remove(lab, &self.manifests()).await
    }

    pub(crate) async fn carries(&self, lab: &Lab) -> Result<()> {
        let (a, b) = (lab.node("node-a"), lab.node("node-b"));
        secret(lab, "keys", &[("encryption", self.encryption), ("integrity", self.integrity)]).await?;
        lab.apply(&self.manifests()).await?;
        lab.wait_condition(&format!("ipsecpolicy/{}", self.name), "Programmed", "True", SOON).await?;
        let wire = a.capture().await?;
        let pings = match self.between {
            Between::Pods => {
                ping_pods(lab).await?;
                12
            }
            Between::Nodes => {
                ping_nodes(lab, self.v4()).await?;
                6
            }
        };
        let packets = wire.stop().await?;
        assert_eq!(clear_echoes(&packets), [] as [&_; 0], "{}", self.name);
        let address =
            |node: &esplanade_e2e::lab::Node| -> IpAddr { node.addresses.both()[usize::from(!self.v4())] };
        for (source, destination, spi) in [(a, b, AB), (b, a, BA)] {
            let numbers = sequence(&packets, address(source), address(destination), spi);
            assert!(numbers.len() >= pings, "{}: {} of {pings} packets", self.name, numbers.len());
            assert!(numbers.is_sorted_by(|x, y| x < y), "{}: {numbers:?}", self.name);
            // A tunnel of either family carries both (4-in-4 and 6-in-4, 4-in-6 and 6-in-6): the inner headers differ.
            let inside = lengths(&packets, address(source), address(destination), spi);
            let families = if self.between == Between::Pods { 2 } else { 1 };
            assert_eq!(inside.len(), families, "{}: packets by length {inside:?}", self.name);
            assert!(inside.values().all(|count| *count >= 6), "{}: {inside:?}", self.name);
        }
        Ok(())
    }
}

const AB: u32 = 0x1_0001;
const BA: u32 = 0xffff_fff1;

#[test]
fn every_protocol_mode_and_family_protects_what_it_should() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        for variant in VARIANTS {
            variant.check(lab).await.map_err(|error| error.context(variant.name))?;
        }
        crate::selectors::check(lab).await.map_err(|error| error.context("selectors"))
    })
}

#[test]
fn sas_wear_out_and_make_room_for_others() -> Result<()> {
    with_esplanade(Config::default(), async |lab| {
        crate::lifetimes::check(lab).await.map_err(|error| error.context("lifetimes"))?;
        crate::handover::check(lab).await.map_err(|error| error.context("handover"))
    })
}
