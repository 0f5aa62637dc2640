#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod keys;
mod windows;

use esplanade_model::{
    Authentication, Cipher, Crypto, InboundSa, Key, Lifetime, Mark, Mode, Op, Protocol, ReplayProtection,
    Reqid, Sa, SaId, Spi,
};

/// An SA whose keys are easy to find in bytes.
pub(crate) fn sa() -> Sa {
    let key = |length: usize| Key::from(vec![0xa5; length].as_slice());
    let (cipher, authentication) = (Cipher::AesCbc256, Authentication::HmacSha256);
    Sa {
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
        spi: Spi::new(0x1234).unwrap(),
        mode: Mode::Tunnel,
        reqid: Reqid::from_hash(7),
        crypto: Crypto::encrypt_then_authenticate(cipher, key(32), authentication, key(32)).unwrap(),
        replay: ReplayProtection { window: 64, extended_sequence_numbers: false },
        selector: None,
        interface_id: 0,
        lifetime: Lifetime::default(),
        direction: None,
        mark: Mark::NONE,
        output_mark: Mark::NONE,
        icmp_errors: false,
    }
}

fn add() -> Op {
    Op::AddInbound { sa: InboundSa(sa()), state: None, used: None }
}

fn delete(spi: u32) -> Op {
    let destination = [192, 0, 2, 2].into();
    Op::DeleteSa(SaId { destination, protocol: Protocol::Esp, spi: Spi::new(spi).unwrap() }, Mark::NONE)
}
