//! What is programmed: a node with many peers.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use esplanade_diff::diff;
use esplanade_model::{
    Action, Aead, Crypto, Direction, InboundSa, Key, Mode, Observed, ObservedPolicy, ObservedSa, Op,
    OutboundSa, Policy, Protocol, ReplayProtection, ReplayState, Reqid, Sa, Selector, Spi, Template, Used,
    Wanted, WantedSa,
};
use ipnet::{IpNet, Ipv4Net};

/// The most SAs of a world: each pair of them has a /24 of 10.0.0.0/8.
pub const MOST: u32 = 100_000;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const WINDOW: u32 = 32;

/// A node with `n` SAs: one each way for every peer (AES-GCM-16-256, tunnel mode), and for every peer an outbound, an
/// inbound and a forward policy between the /24s of the two.
///
/// # Errors
/// `n` is 0 or more than [`MOST`].
pub fn wanted(n: u32) -> Result<Wanted> {
    ensure!((1..=MOST).contains(&n), "{n} SAs: between 1 and {MOST} can be measured");
    let mut wanted = Wanted::default();
    for peer in 0..n.div_ceil(2) {
        let there = Ipv4Addr::from_bits(0xac10_0000 + peer).into();
        let outbound = sa(peer, HERE, there, 0)?;
        let inbound = sa(peer, there, HERE, 1)?;
        wanted.policies.extend(policies(peer, &outbound, &inbound)?);
        wanted.sas.push((format!("to-{peer}"), WantedSa::Outbound(OutboundSa(outbound))));
        wanted.sas.push((format!("from-{peer}"), WantedSa::Inbound(InboundSa(inbound))));
    }
    wanted.sas.truncate(n as usize);
    Ok(wanted)
}

fn sa(peer: u32, source: IpAddr, destination: IpAddr, way: u32) -> Result<Sa> {
    let number = 2 * peer + way;
    Ok(Sa {
        replay: ReplayProtection { window: WINDOW, extended_sequence_numbers: false },
        ..Sa::tunnel(
            source,
            destination,
            Spi::new(0x1000_0000 + number).context("an SPI")?,
            Reqid::from_hash(mix(number)),
            crypto(number)?,
        )
    })
}

/// Keys of their own for every number.
///
/// # Errors
/// None: the length is right.
pub fn crypto(number: u32) -> Result<Crypto> {
    let words = (0..9).flat_map(|word| mix(number.wrapping_mul(9).wrapping_add(word)).to_ne_bytes());
    Ok(Crypto::aead(Aead::AesGcm256, Key::from(words.collect::<Vec<_>>().as_slice()))?)
}

/// Scatters numbers (the finish of MurmurHash3, a bijection).
fn mix(number: u32) -> u32 {
    let mut mixed = number.wrapping_add(0x9e37_79b9);
    mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x85eb_ca6b);
    mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
    mixed ^ (mixed >> 16)
}

fn policies(peer: u32, outbound: &Sa, inbound: &Sa) -> Result<[(String, Policy); 3]> {
    let network =
        |number: u32| Ipv4Net::new(Ipv4Addr::from_bits(0x0a00_0000 + (number << 8)), 24).map(IpNet::V4);
    let leaving = Selector::new(network(0)?, network(peer + 1)?)?;
    let policy = |direction, selector, sa: &Sa| Policy {
        templates: vec![Template {
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            reqid: Some(sa.reqid),
            tunnel: Some((sa.source, sa.destination)),
            optional: false,
        }],
        ..Policy::new(direction, selector, 1000, Action::Allow)
    };
    let name = || format!("peer-{peer}");
    Ok([
        (name(), policy(Direction::Out, leaving, outbound)),
        (name(), policy(Direction::In, leaving.reversed(), inbound)),
        (name(), policy(Direction::Forward, leaving.reversed(), inbound)),
    ])
}

/// One of the SAs, in the middle, with other keys for each number; with the name of its object.
///
/// # Errors
/// `wanted` has no SAs.
pub fn one_changed(wanted: &Wanted, number: u32) -> Result<(String, WantedSa)> {
    let (name, mut one) = wanted.sas.get(wanted.sas.len() / 2).context("no SAs")?.clone();
    match &mut one {
        WantedSa::Inbound(InboundSa(sa)) | WantedSa::Outbound(OutboundSa(sa)) => {
            sa.crypto = crypto(number.wrapping_add(0x4000_0000))?;
        }
    }
    Ok((name, one))
}

/// The same with [`one_changed`].
///
/// # Errors
/// `wanted` has no SAs.
pub fn with_one_changed(mut wanted: Wanted, number: u32) -> Result<Wanted> {
    let changed = one_changed(&wanted, number)?;
    let middle = wanted.sas.len() / 2;
    if let Some(one) = wanted.sas.get_mut(middle) {
        *one = changed;
    }
    Ok(wanted)
}

/// The operations that put it into an empty kernel.
pub fn from_nothing(wanted: &Wanted) -> Vec<Op> {
    diff(wanted, &Observed::default()).steps.into_iter().map(|step| step.op).collect()
}

/// What a kernel shows after these operations, on SAs and policies that were not there before.
pub fn shown(ops: &[Op]) -> Observed {
    let mut observed = Observed::default();
    for op in ops {
        match op {
            Op::AddInbound { sa: InboundSa(sa), .. } => observed.sas.push(idle(sa.clone())),
            Op::AddOutbound { sa: OutboundSa(sa), .. } => {
                let replay = ReplayProtection { window: 0, ..sa.replay };
                observed.sas.push(idle(Sa { replay, ..sa.clone() }));
            }
            Op::AddPolicy { policy, index } => {
                observed.taken_indexes.insert(index.get());
                let key = policy.key();
                observed.policies.push(ObservedPolicy { index: *index, key, policy: Some(policy.clone()) });
            }
            // Nothing that an empty kernel has to do with.
            _ => {}
        }
    }
    observed
}

fn idle(sa: Sa) -> ObservedSa {
    let (state, used) = (ReplayState::default(), Used::default());
    ObservedSa { id: sa.id(), mark: sa.mark, sa: Some(sa), state, used }
}

#[cfg(test)]
mod tests {
    use esplanade_diff::diff;

    use super::{from_nothing, shown, wanted, with_one_changed};

    #[test]
    fn what_is_shown_is_what_was_wanted() {
        let world = wanted(100).unwrap();
        assert_eq!((world.sas.len(), world.policies.len()), (100, 150));
        let ops = from_nothing(&world);
        assert_eq!(ops.len(), 250);
        assert!(diff(&world, &shown(&ops)).is_empty());
        let changed = with_one_changed(world, 1).unwrap();
        assert_eq!(diff(&changed, &shown(&ops)).steps.len(), 2);
    }

    #[test]
    fn the_size_is_bounded() {
        assert!(wanted(0).is_err());
        assert!(wanted(super::MOST + 1).is_err());
        assert_eq!(wanted(3).unwrap().sas.len(), 3);
    }
}
