//! IpsecPolicies by themselves.

use std::collections::BTreeSet;

use esplanade_crds::{
    Action, Compression, EncapsulationType, IpsecPolicySpec, Mode, NodeAutomaticKeying, Offload, Protection,
    Protocol, SecretVersion,
};
use sha2::{Digest as _, Sha256};

use super::{PolicyIntent, Protect, automatic, endpoints, invalid, mark, not_implemented, rule, traffic};
use crate::finding::Finding;

/// What the IpsecPolicy asks for.
pub(crate) fn policy(spec: &IpsecPolicySpec) -> Result<PolicyIntent, Finding> {
    not_implemented(&unimplemented(spec))?;
    rule(spec.priority <= 1000, "priority: write 0 to 1000")?;
    rule(!spec.from.is_empty(), "from: write at least one entry, e.g. {podCIDRs: {}}")?;
    traffic::check(&spec.traffic)?;
    mark::check("mark", spec.mark)?;
    let parse = |side, entries: &[esplanade_crds::Endpoints]| {
        entries.iter().map(|entry| endpoints::parse(side, entry, spec.action)).collect::<Result<Vec<_>, _>>()
    };
    let from = parse("from", &spec.from)?;
    let to = if spec.to.is_empty() { None } else { Some(parse("to", &spec.to)?) };
    let protect = match (spec.action, &spec.protection) {
        (Action::Protect, Some(protection)) => Some(protect(spec, protection)?),
        (Action::Protect, None) => Some(protect(spec, &Protection::default())?),
        (_, None) => None,
        (_, Some(_)) => {
            return Err(invalid(
                "protection is for action: Protect; remove protection, or write action: Protect",
            ));
        }
    };
    Ok(PolicyIntent {
        revision: revision(spec, protect.as_ref().and_then(|protect| protect.automatic.as_ref())),
        priority: spec.priority,
        action: spec.action,
        from,
        to,
        traffic: spec.traffic.clone(),
        mark: spec.mark,
        protect,
    })
}

fn unimplemented(spec: &IpsecPolicySpec) -> Vec<String> {
    let mut fields = Vec::new();
    for (side, entries) in [("from", &spec.from), ("to", &spec.to)] {
        if entries.iter().any(|entry| entry.pods.is_some()) {
            fields.push(format!("pods in {side}: write podCIDRs, nodes, or cidrs"));
        }
    }
    if spec.action != Action::Protect {
        return fields;
    }
    let protection = spec.protection.clone().unwrap_or_default();
    let udp = protection.encapsulation.is_some_and(|one| one.type_ == EncapsulationType::UDP);
    let asked = [
        (udp, "encapsulation: {type: UDP}: leave it out"),
        (protection.per_cpu && protection.keying.manual.is_none(), "perCPU: leave it out"),
        (
            protection.offload == Offload::Crypto && protection.keying.manual.is_none(),
            "offload with automatic keys: leave it out",
        ),
        (protection.offload == Offload::Packet, "offload: Packet: write offload: Crypto, or leave it out"),
    ];
    fields.extend(asked.iter().filter(|(asked, _)| *asked).map(|(_, field)| (*field).to_owned()));
    if protection.keying.manual.is_none() {
        fields.extend(automatic::unimplemented(spec, &protection));
    }
    fields
}

fn protect(spec: &IpsecPolicySpec, protection: &Protection) -> Result<Protect, Finding> {
    let compressed = protection.compression != Compression::None;
    rule(
        !compressed || protection.protocol == Protocol::ESP,
        "compression goes before ESP: write protocol: ESP, or remove compression",
    )?;
    rule(
        protection.mode != Mode::BEET || !(compressed || protection.protocol == Protocol::IPComp),
        "IPComp has no mode BEET: write mode: Tunnel or Transport, or protocol: ESP without compression",
    )?;
    rule(
        protection.mode != Mode::BEET || protection.protocol == Protocol::ESP,
        "mode: BEET is ESP's (draft-nikander-esp-beet-mode): write protocol: ESP, or mode: Tunnel",
    )?;
    rule(
        protection.mode != Mode::IPTFS || protection.protocol == Protocol::ESP,
        "mode: IPTFS is ESP's (RFC 9347): write protocol: ESP, or mode: Tunnel",
    )?;
    // The tunnel would be IPComp's, which has no such mode.
    rule(
        protection.mode != Mode::IPTFS || !compressed,
        "IPComp has no mode IPTFS: write mode: Tunnel, or remove compression",
    )?;
    rule(
        protection.offload == Offload::None || protection.protocol == Protocol::ESP,
        "devices take only ESP's work: write protocol: ESP, or remove offload",
    )?;
    let mut sides = spec.from.iter().chain(&spec.to);
    rule(
        protection.mode != Mode::Transport || sides.all(|entry| entry.nodes.is_some()),
        "mode: Transport protects traffic between the nodes' own addresses: write from: [{nodes: {}}], or \
         mode: Tunnel",
    )?;
    let keying = &protection.keying;
    rule(
        keying.automatic.is_none() || keying.manual.is_none(),
        "keys are either automatic or manual: remove one of keying.automatic and keying.manual",
    )?;
    let automatic = keying.manual.is_none().then(|| automatic::keying(protection)).transpose()?;
    rule(
        automatic.is_some() || !protection.per_cpu,
        "with keying.manual there is an IpsecSA for each CPU: remove perCPU here, and write IpsecSAs with cpu: 0, cpu: 1 \
         and so on beside those without",
    )?;
    rule(
        automatic.is_some()
            || protection.suite.is_none()
                && protection.anti_replay.is_none()
                && protection.encapsulation.is_none(),
        "with keying.manual the IpsecSAs say suite, antiReplay and encapsulation: remove them here",
    )?;
    let named: Vec<String> =
        keying.manual.iter().flat_map(|manual| manual.security_associations.iter().cloned()).collect();
    rule(
        automatic.is_some() || !named.is_empty(),
        "keying.manual.securityAssociations: write the name of at least one IpsecSA",
    )?;
    let mut seen = BTreeSet::new();
    let security_associations = named.into_iter().filter(|name| seen.insert(name.clone())).collect();
    Ok(Protect {
        mode: protection.mode,
        protocol: protection.protocol,
        compression: protection.compression,
        enforcement: protection.enforcement,
        interface_id: protection.interface_id,
        icmp_errors: protection.icmp_errors,
        offload: protection.offload,
        local_override: protection.local_override,
        security_associations,
        automatic,
        ppk: keying.automatic.as_ref().and_then(|automatic| automatic.ppk_secret_ref.clone()),
    })
}

/// The revision of a policy of this one with a PPK of this version: nothing in it says what the PPK is, and of one version
/// there is one PPK only.
pub(crate) fn revision_with_ppk(revision: &str, ppk: &SecretVersion) -> String {
    let SecretVersion { uid, resource_version, key } = ppk;
    let parts = [revision, uid, resource_version, key].map(|part| [part.as_bytes(), &[0]].concat());
    in_short(parts.concat())
}

/// The first 16 hex digits of SHA-256 over what says which traffic is treated how.
fn revision(spec: &IpsecPolicySpec, automatic: Option<&NodeAutomaticKeying>) -> String {
    // What is left out is what it is by default.
    let default = (spec.action == Action::Protect).then(Protection::default);
    let protection = spec.protection.as_ref().or(default.as_ref()).map(|one| (one.mode, one.protocol));
    // Not there without one, as before there were any.
    let interface = spec.protection.as_ref().map(|one| one.interface_id).filter(|id| *id != 0);
    let compression = spec.protection.as_ref().map(|one| one.compression);
    let compressed = compression.is_some_and(|one| one != Compression::None);
    let defining = (spec.action, &spec.from, &spec.to, &spec.traffic, protection);
    // Only maps with keys that aren't text can't be JSON; there are none.
    let mut bytes = serde_json::to_vec(&defining).unwrap_or_default();
    bytes.extend(compressed.then_some(b"Deflate").into_iter().flatten());
    bytes.extend(interface.map(u32::to_be_bytes).into_iter().flatten());
    bytes.extend(spec.mark.iter().flat_map(|mark| [mark.value, mark.mask]).flat_map(u32::to_be_bytes));
    // How often keys are renewed changes nothing of the SAs.
    let keying = automatic.map(|one| (one.suite, one.anti_replay));
    bytes.extend(keying.into_iter().flat_map(|keying| serde_json::to_vec(&keying).unwrap_or_default()));
    in_short(bytes)
}

fn in_short(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
