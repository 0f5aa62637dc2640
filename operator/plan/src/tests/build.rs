//! Objects as users write them.

use std::collections::BTreeMap;

use esplanade_crds::{
    Encryption, Endpoints, Integrity, IpsecPolicy, IpsecPolicySpec, IpsecSA, IpsecSASpec, Keying,
    ManualKeying, Mode, Protection, SaEndpoint, SecretKeyRef,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;
use zeroize::Zeroizing;

use crate::{NodeView, SecretView};

pub(super) const ENCRYPTION_KEY: &[u8; 32] = b"this 32-byte key is for AES-CBC!";
pub(super) const INTEGRITY_KEY: &[u8; 32] = b"this 32-byte key is for HMAC-256";

pub(super) fn at(second: i64) -> Time {
    Time(Timestamp::from_second(1_700_000_000 + second).unwrap())
}

pub(super) fn mk_node(name: &str, addresses: &[&str], pod_cidrs: &[&str]) -> NodeView {
    NodeView {
        name: name.into(),
        uid: format!("uid-of-{name}"),
        labels: BTreeMap::from([("kubernetes.io/hostname".into(), name.into())]),
        addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
        pod_cidrs: pod_cidrs.iter().map(|one| one.parse().unwrap()).collect(),
        not_ready_since: None,
    }
}

pub(super) fn mk_secret(data: &[(&str, &[u8])]) -> SecretView {
    SecretView {
        uid: "uid-of-keys".into(),
        resource_version: "7".into(),
        data: data.iter().map(|(key, value)| ((*key).into(), Zeroizing::new(value.to_vec()))).collect(),
    }
}

pub(super) fn node_end(name: &str) -> SaEndpoint {
    SaEndpoint { node: Some(name.into()), address: None }
}

pub(super) fn address_end(address: &str) -> SaEndpoint {
    SaEndpoint { node: None, address: Some(address.into()) }
}

pub(super) fn key(name: &str, key: &str) -> SecretKeyRef {
    SecretKeyRef { name: name.into(), key: key.into() }
}

pub(super) fn encryption(algorithm: &str) -> Option<Encryption> {
    Some(Encryption { algorithm: algorithm.into(), key_secret_ref: Some(key("keys", "enc")) })
}

pub(super) fn integrity(algorithm: &str) -> Option<Integrity> {
    Some(Integrity { algorithm: algorithm.into(), key_secret_ref: key("keys", "auth") })
}

/// ESP in tunnel mode with AES-CBC-256 and HMAC-SHA2-256-128, keys in Secret `keys`.
pub(super) fn mk_sa(name: &str, source: &str, destination: &str, spi: u32) -> IpsecSA {
    let spec = IpsecSASpec {
        source: node_end(source),
        destination: node_end(destination),
        ip_family: None,
        spi: Some(spi),
        protocol: esplanade_crds::Protocol::ESP,
        mode: Mode::Tunnel,
        encryption: encryption("AES-CBC-256"),
        integrity: integrity("HMAC-SHA2-256-128"),
        allow_insecure_manual_aead: false,
        anti_replay: None,
        lifetime: None,
        encapsulation: None,
        selector: None,
        mark: None,
        output_mark: None,
        interface_id: 0,
        cpu: None,
        iptfs: None,
        reqid: None,
    };
    let mut sa = IpsecSA::new(name, spec);
    sa.metadata.uid = Some(format!("uid-of-{name}"));
    sa.metadata.generation = Some(1);
    sa.metadata.creation_timestamp = Some(at(0));
    sa
}

/// All pod traffic between nodes, ESP in tunnel mode with these IpsecSAs.
pub(super) fn mk_policy(name: &str, sas: &[&str]) -> IpsecPolicy {
    let manual = ManualKeying { security_associations: sas.iter().map(|sa| (*sa).to_owned()).collect() };
    let protection =
        Protection { keying: Keying { automatic: None, manual: Some(manual) }, ..Default::default() };
    let spec = IpsecPolicySpec {
        priority: 500,
        action: esplanade_crds::Action::Protect,
        from: vec![pod_cidrs()],
        to: Vec::new(),
        traffic: Vec::new(),
        mark: None,
        protection: Some(protection),
    };
    let mut policy = IpsecPolicy::new(name, spec);
    policy.metadata.uid = Some(format!("uid-of-{name}"));
    policy.metadata.generation = Some(1);
    policy.metadata.creation_timestamp = Some(at(0));
    policy
}

pub(super) fn pod_cidrs() -> Endpoints {
    Endpoints { pod_cidrs: Some(LabelSelector::default()), ..Default::default() }
}

pub(super) fn nodes() -> Endpoints {
    Endpoints { nodes: Some(LabelSelector::default()), ..Default::default() }
}

pub(super) fn node(name: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([("kubernetes.io/hostname".into(), name.into())])),
        match_expressions: None,
    }
}
