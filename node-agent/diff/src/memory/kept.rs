//! An SA in little room.

use std::net::IpAddr;

use esplanade_model::{
    Crypto, Iptfs, Lifetime, Limits, Mark, Mode, ReplayProtection, Reqid, Sa, SaDirection, SaId,
};

/// An SA but for its name. Most have nothing but what every SA has, and take a third of the room of one with all that one
/// can have.
#[derive(Debug)]
pub(super) enum Kept {
    Plain {
        source: IpAddr,
        mode: Mode,
        reqid: Reqid,
        crypto: Crypto,
        replay: ReplayProtection,
        direction: Option<SaDirection>,
    },
    Other(Box<Sa>),
}

impl Kept {
    pub(super) fn new(sa: Sa) -> Self {
        if !is_plain(&sa) {
            return Self::Other(Box::new(sa));
        }
        let Sa { source, mode, reqid, crypto, replay, direction, .. } = sa;
        Self::Plain { source, mode, reqid, crypto, replay, direction }
    }

    /// With its name again.
    pub(super) fn sa(&self, id: SaId) -> Sa {
        match self {
            Self::Plain { source, mode, reqid, crypto, replay, direction } => Sa {
                mode: *mode,
                replay: *replay,
                direction: *direction,
                ..Sa::tunnel(*source, id.destination, id.spi, *reqid, crypto.clone())
            },
            Self::Other(sa) => (**sa).clone(),
        }
    }

    pub(super) fn source(&self) -> IpAddr {
        match self {
            Self::Plain { source, .. } => *source,
            Self::Other(sa) => sa.source,
        }
    }

    pub(super) fn crypto(&self) -> &Crypto {
        match self {
            Self::Plain { crypto, .. } => crypto,
            Self::Other(sa) => &sa.crypto,
        }
    }

    /// Its hard lifetime.
    pub(super) fn hard(&self) -> Limits {
        match self {
            Self::Plain { .. } => Limits::default(),
            Self::Other(sa) => sa.lifetime.hard,
        }
    }
}

/// It has nothing but what [`Kept::Plain`] has.
fn is_plain(sa: &Sa) -> bool {
    let Sa {
        source: _,
        destination: _,
        spi: _,
        mode: _,
        reqid: _,
        crypto: _,
        replay: _,
        direction: _,
        selector,
        interface_id,
        lifetime,
        mark,
        output_mark,
        icmp_errors,
        cpu,
        iptfs,
        encapsulation,
        keepalive,
        offload,
    } = sa;
    selector.is_none()
        && *interface_id == 0
        && *lifetime == Lifetime::default()
        && [*mark, *output_mark] == [Mark::NONE; 2]
        && !icmp_errors
        && cpu.is_none()
        && *iptfs == Iptfs::default()
        && encapsulation.is_none()
        && keepalive.is_none()
        && offload.is_none()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use esplanade_model::{
        Aead, Crypto, Key, Lifetime, Limits, Mark, Mode, ReplayProtection, Reqid, Sa, SaDirection, Spi,
        UdpEncapsulation,
    };

    use super::Kept;

    #[test]
    fn what_is_kept_is_the_sa() {
        let crypto = Crypto::aead(Aead::AesGcm256, Key::from([7; 36].as_slice())).unwrap();
        let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let sa = Sa::tunnel(source, destination, Spi::new(4096).unwrap(), Reqid::from_hash(7), crypto);
        let replay = ReplayProtection { window: 64, extended_sequence_numbers: true };
        let packets = Limits { packets: 9.try_into().ok(), ..Limits::default() };
        let plain = [
            Sa { mode: Mode::Transport, ..sa.clone() },
            Sa { replay, direction: Some(SaDirection::Out), ..sa.clone() },
            sa.clone(),
        ];
        let others = [
            Sa { mark: Mark::masked(1, 1), ..sa.clone() },
            Sa { output_mark: Mark::masked(1, 1), ..sa.clone() },
            Sa { interface_id: 1, ..sa.clone() },
            Sa { cpu: Some(0), ..sa.clone() },
            Sa { icmp_errors: true, ..sa.clone() },
            Sa { keepalive: NonZeroU32::new(1), ..sa.clone() },
            Sa {
                encapsulation: Some(UdpEncapsulation { source_port: 1, destination_port: 2 }),
                ..sa.clone()
            },
            Sa { lifetime: Lifetime { hard: packets, ..Lifetime::default() }, ..sa },
        ];
        for (sa, is_plain) in plain.map(|sa| (sa, true)).into_iter().chain(others.map(|sa| (sa, false))) {
            let kept = Kept::new(sa.clone());
            assert_eq!(matches!(kept, Kept::Plain { .. }), is_plain, "{sa:?}");
            assert_eq!(
                (kept.source(), kept.crypto(), kept.hard()),
                (sa.source, &sa.crypto, sa.lifetime.hard)
            );
            assert_eq!(kept.sa(sa.id()), sa);
        }
    }
}
