//! Automatic keys.

use esplanade_crds::{
    AntiReplay, Compression, IpsecPolicySpec, Mode, NodeAutomaticKeying, Protection, Protocol, Suite, seconds,
};

use super::{invalid, rule};
use crate::finding::Finding;

/// How often keys are renewed where nobody says, in seconds.
const ROTATE: u32 = 24 * 3600;
/// A rotation takes its drain time and some round trips: any faster, and one would begin before the last one is over.
const FASTEST: u32 = 30;
/// Half of a key's hard age.
const SLOWEST: u32 = 84 * 3600;

/// What this version can't do with automatic keys.
pub(super) fn unimplemented(spec: &IpsecPolicySpec, protection: &Protection) -> Vec<String> {
    let mut gateways = spec.from.iter().chain(&spec.to).filter_map(|entry| entry.gateway.as_ref());
    let outside = gateways.any(|gateway| gateway.address.is_some());
    let extended = protection.anti_replay.is_none_or(|one| one.extended_sequence_numbers);
    let asked = [
        (
            outside,
            "gateway.address with automatic keying: there is no agent outside the cluster; write gateway: {node: NAME} if a \
             node of the cluster is the gateway, or IpsecSAs, and keying: {manual: {securityAssociations: [NAME, …]}}",
        ),
        (
            !matches!(protection.mode, Mode::Tunnel | Mode::Transport),
            "automatic keying with another mode than Tunnel and Transport: write mode: Tunnel",
        ),
        (protection.protocol != Protocol::ESP, "automatic keying with AH or IPComp: write protocol: ESP"),
        (protection.compression != Compression::None, "automatic keying with compression: leave it out"),
        (!extended, "automatic keying with antiReplay.extendedSequenceNumbers: false: leave it out"),
        (protection.interface_id != 0, "automatic keying with interfaceId: leave it out"),
        (spec.mark.is_some(), "automatic keying with mark: leave it out"),
    ];
    asked.iter().filter(|(asked, _)| *asked).map(|(_, field)| (*field).to_owned()).collect()
}

/// How SAs are made.
pub(super) fn keying(protection: &Protection) -> Result<NodeAutomaticKeying, Finding> {
    let anti_replay =
        protection.anti_replay.unwrap_or(AntiReplay { window: 1024, extended_sequence_numbers: true });
    let suite = protection.suite.unwrap_or_default();
    let encrypts = !matches!(suite, Suite::Sha256 | Suite::Sha512);
    rule(encrypts, "suite: this one doesn't encrypt: with ESP write one that does, e.g. AES-GCM-16-256")?;
    let automatic = protection.keying.automatic.as_ref();
    let every = automatic.and_then(|one| one.rotate_every.as_deref());
    let rotate_seconds = match every.map(|every| seconds(every).and_then(|every| u32::try_from(every).ok())) {
        None => ROTATE,
        Some(Some(every)) if (FASTEST..=SLOWEST).contains(&every) => every,
        Some(_) => {
            return Err(invalid(
                "keying.automatic.rotateEvery: write 30s to 84h: a rotation has to be over before the next one, and \
                 before a key's hard age of 7 days",
            ));
        }
    };
    let on_demand = automatic.is_some_and(|one| one.on_demand);
    let [max_packets, max_bytes] =
        [automatic.and_then(|one| one.max_packets), automatic.and_then(|one| one.max_bytes)];
    let reachable = |limit: Option<i64>| limit.is_none_or(|limit| limit >= 1);
    rule(reachable(max_packets), "keying.automatic.maxPackets: write 1 or more, or leave it out")?;
    rule(reachable(max_bytes), "keying.automatic.maxBytes: write 1 or more, or leave it out")?;
    Ok(NodeAutomaticKeying {
        suite,
        anti_replay,
        rotate_seconds,
        max_packets,
        max_bytes,
        on_demand,
        ppk: None,
    })
}
