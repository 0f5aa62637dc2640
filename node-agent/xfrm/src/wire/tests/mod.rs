#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod keys;
mod windows;

use esplanade_model::{
    Authentication, Cipher, Crypto, InboundSa, Key, Mark, Op, Protocol, ReplayProtection, Reqid, Sa, SaId,
    Spi,
};

/// An SA whose keys are easy to find in bytes.
pub(crate) fn sa() -> Sa {
    let key = |length: usize| Key::from(vec![0xa5; length].as_slice());
    let (cipher, authentication) = (Cipher::AesCbc256, Authentication::HmacSha256);
    Sa {
        replay: ReplayProtection { window: 64, extended_sequence_numbers: false },
        ..Sa::tunnel(
            [192, 0, 2, 1].into(),
            [192, 0, 2, 2].into(),
            Spi::new(0x1234).unwrap(),
            Reqid::from_hash(7),
            Crypto::encrypt_then_authenticate(cipher, key(32), authentication, key(32)).unwrap(),
        )
    }
}

fn add() -> Op {
    Op::AddInbound { sa: InboundSa(sa()), state: None, used: None }
}

fn delete(spi: u32) -> Op {
    let destination = [192, 0, 2, 2].into();
    Op::DeleteSa(SaId { destination, protocol: Protocol::Esp, spi: Spi::new(spi).unwrap() }, Mark::NONE)
}
