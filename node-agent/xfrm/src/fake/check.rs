//! What the kernel refuses, in its words (`net/xfrm/xfrm_user.c`, `net/xfrm/xfrm_state.c`).

use std::collections::BTreeSet;

use esplanade_model::{
    Capability, Crypto, Direction, Mode, Policy, Protocol, Refusal, ReplayState, Sa, SaDirection, Selector,
    Thresholds,
};

use crate::wire::replay;

/// CPUs that there can be (`num_possible_cpus`).
const CPUS: u32 = 4;
/// About what IPTFS has of a packet for itself.
const IPTFS_HEADERS: u32 = 64;
/// A policy's templates (`XFRM_MAX_DEPTH`).
const MAX_TEMPLATES: usize = 6;

pub(super) fn refusal(errno: i32, message: Option<&str>) -> Refusal {
    Refusal { errno, message: message.map(str::to_owned) }
}

fn invalid(message: &str) -> Refusal {
    refusal(libc::EINVAL, Some(message))
}

/// `xfrm_set_spdinfo`.
pub(super) fn thresholds(Thresholds { v4, v6 }: Thresholds) -> Result<(), Refusal> {
    let fit = |one: esplanade_model::Threshold, most| one.local <= most && one.remote <= most;
    if !fit(v4, 32) {
        return Err(invalid("Invalid hash threshold (must be <= 32 for IPv4)"));
    }
    if !fit(v6, 128) {
        return Err(invalid("Invalid hash threshold (must be <= 128 for IPv6)"));
    }
    Ok(())
}

/// `verify_newsa_info`, then `xfrm_state_construct`.
pub(super) fn sa(
    sa: &Sa,
    state: Option<&ReplayState>,
    missing: &BTreeSet<Capability>,
) -> Result<(), Refusal> {
    let window = sa.replay.window;
    let extended = sa.replay.extended_sequence_numbers;
    let (sent, received) = state.map_or((0, 0), |state| (state.sent, state.received));
    match sa.direction {
        Some(SaDirection::Out) if sa.icmp_errors => {
            return Err(invalid("Flag ICMP not allowed for output SA"));
        }
        Some(SaDirection::Out) if window != 0 => {
            return Err(invalid("Replay window should be 0 for output SA"));
        }
        Some(SaDirection::Out) if received != 0 => {
            return Err(invalid("Replay seq and seq_hi should be 0 for output SA"));
        }
        // With 32-bit numbers nobody looks (`xfrm_update_ae_params`).
        Some(SaDirection::Out) if extended && sent == u64::MAX => {
            return Err(invalid("Replay oseq should be less than its maximum for output SA"));
        }
        Some(SaDirection::In) if extended && sent != 0 => {
            return Err(invalid("Replay oseq and oseq_hi should be 0 for input SA"));
        }
        _ => {}
    }
    if sa.replay.window > replay::MAX_WINDOW {
        return Err(invalid("ESN bitmap length must be <= 128"));
    }
    let missing = |capability: Capability, kind: &str| match missing.contains(&capability) {
        true => Err(refusal(libc::ENOSYS, Some(&format!("Requested {kind} algorithm not found")))),
        false => Ok(()),
    };
    match &sa.crypto {
        Crypto::Aead(aead, _) => missing(Capability::Aead(*aead), "AEAD")?,
        Crypto::Deflate => missing(Capability::CompressionDeflate, "COMP")?,
        Crypto::Authenticate(authentication, _) => {
            missing(Capability::Authentication(*authentication), "AUTH_TRUNC")?;
        }
        Crypto::EncryptThenAuthenticate { cipher, authentication, .. } => {
            missing(Capability::Authentication(*authentication), "AUTH_TRUNC")?;
            missing(Capability::Cipher(*cipher), "CRYPT")?;
        }
    }
    // `__xfrm_init_state`
    let foreign = |packets: &Selector| packets.source().addr().is_ipv4() != sa.destination.is_ipv4();
    if sa.mode == Mode::Transport && sa.selector.as_ref().is_some_and(foreign) {
        let words = "Only tunnel modes can accommodate a change of family";
        return Err(refusal(libc::EPROTONOSUPPORT, Some(words)));
    }
    if sa.mode == Mode::Iptfs {
        let esp = sa.crypto.protocol() == Protocol::Esp;
        let words = match (esp, sa.direction) {
            (false, _) => Some("IP-TFS mode only supported with ESP"),
            (_, None) => Some("IP-TFS mode requires in or out direction attribute"),
            // `iptfs_user_init`: the lengths of outer header, ESP and its own header together.
            _ if (1..IPTFS_HEADERS).contains(&sa.iptfs.packet_size) => {
                Some("Packet size must be 0 or greater than IPTFS/ESP header length")
            }
            _ => None,
        };
        if let Some(words) = words {
            return Err(invalid(words));
        }
    }
    // `xfrm_state_construct`
    if sa.cpu.is_some() && sa.direction.is_none() {
        return Err(invalid("SA_PCPU only supported with SA_DIR"));
    }
    if sa.cpu.is_some_and(|cpu| cpu >= CPUS) {
        return Err(refusal(libc::ERANGE, Some("pCPU number too big")));
    }
    // `verify_newsa_info`, `ipcomp4_init_state`, `ipcomp_init_state`
    if sa.crypto == Crypto::Deflate {
        if sa.spi.get() > 0xffff {
            return Err(invalid("SPI is too large for COMP (must be < 0x10000)"));
        }
        if sa.mode == Mode::Beet {
            return Err(invalid("Unsupported XFRM mode for IPcomp"));
        }
        if sa.encapsulation.is_some() {
            return Err(invalid("IPComp is not compatible with encapsulation"));
        }
    }
    // `ah_init_state`
    if matches!(sa.crypto, Crypto::Authenticate(..)) && sa.encapsulation.is_some() {
        return Err(invalid("AH is not compatible with encapsulation"));
    }
    // `xfrm_init_replay`
    if extended && window == 0 && sa.direction != Some(SaDirection::Out) {
        return Err(invalid("ESN replay window must be > 0"));
    }
    Ok(())
}

/// `verify_newpolicy_info`.
pub(super) fn index(index: u32, direction: Direction) -> Result<(), Refusal> {
    if index != 0 && index & 7 != direction.kernel() {
        return Err(invalid("Policy index doesn't match direction"));
    }
    Ok(())
}

/// `verify_newpolicy_info`, then `copy_from_user_tmpl`.
pub(super) fn policy(policy: &Policy, wanted_index: u32) -> Result<(), Refusal> {
    index(wanted_index, policy.direction)?;
    if policy.templates.len() > MAX_TEMPLATES {
        return Err(invalid("Template count must be <= XFRM_MAX_DEPTH (6)"));
    }
    let optional_tunnel =
        |template: &esplanade_model::Template| template.mode.is_tunnel() && template.optional;
    if policy.direction == Direction::Out && policy.templates.iter().any(optional_tunnel) {
        return Err(invalid("Mode in optional template not allowed in outbound policy"));
    }
    Ok(())
}
