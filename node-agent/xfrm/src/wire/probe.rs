//! Questions about what a kernel can do, and what its answers mean. Nothing changes by them.
//!
//! Most are UPDSAs of an SA that isn't there: the kernel makes the SA with all that the message asks for
//! (`xfrm_state_construct`), finds none that it could update (`xfrm_state_update`: ESRCH), and throws it away. Another
//! answer means that it can't be made. An attribute that the kernel doesn't know is as if it weren't there; so an
//! attribute is asked for with a value that is refused where it's known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use esplanade_model::{
    Aead, Authentication, Capability, Cipher, Crypto, Key, Mode, Protocol, Refusal, Reqid, Sa, SaDirection,
    Spi,
};
use netlink_packet_core::{DefaultNla, Emitable};
use netlink_packet_xfrm::constants::{XFRM_MSG_MIGRATE, XFRM_MSG_UPDSA, XFRMA_MIGRATE};
use netlink_packet_xfrm::{
    Alg, EncapTmpl, Id, UserOffloadDev, UserPolicyId, UserSaId, UserSaInfo, XFRM_ALG_NAME_LEN, XfrmAttrs,
};
use zeroize::Zeroizing;

use super::attributes::Attributes;
use super::migrate::{MIGRATE_STATE_LEN, MSG_MIGRATE_STATE};
use super::request::{self, Request};
use super::{address, iptfs, sa, word};

mod interface;

pub use interface::{interface, makes_interfaces};

/// What a kernel makes of a message.
type Answer = Result<(), Refusal>;

/// A question, and which answers mean that the kernel has what it is about.
pub struct Question {
    /// What it is about: the kernel has all of it if the answers say so.
    pub about: Vec<Capability>,
    /// Its messages.
    pub requests: Vec<Request>,
    present: fn(&[Answer]) -> bool,
}

impl Question {
    /// Whether the kernel has what the question is about. One answer for each request.
    pub fn is_affirmed_by(&self, answers: &[Answer]) -> bool {
        answers.len() == self.requests.len() && (self.present)(answers)
    }

    fn new(about: Vec<Capability>, present: fn(&[Answer]) -> bool, requests: Vec<Request>) -> Self {
        Self { about, requests, present }
    }
}

/// IPv4's address for nobody (RFC 7600), and IPv6's (RFC 6666): no SA goes there.
const NOWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)), IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1))];
/// IPComp's parameter index has 16 bits (RFC 3173 §2.2); ESP and AH take the same.
const SPI: Spi = match Spi::new(0x4553) {
    Some(spi) => spi,
    None => unreachable!(),
};
const DEFLATE: &[u8] = b"deflate";
/// What netlink-packet-xfrm doesn't know (include/uapi/linux/xfrm.h).
const OFFLOAD_PACKET: u8 = 4;
/// A flag that there isn't.
const UNKNOWN_OFFLOAD: u8 = 1 << 7;
const ESPINUDP: u16 = 2;
const LOOPBACK_INDEX: i32 = 1;
const PROTOCOL_COMP: u8 = 108;
/// In `struct xfrm_user_migrate_state`, where `new_family` is.
const MIGRATE_STATE_FAMILY: usize = 128;

/// All questions that NETLINK_XFRM answers.
pub fn questions() -> Vec<Question> {
    let mut questions = algorithms();
    questions.extend([
        Question::new(vec![Capability::CompressionDeflate], all_made, NOWHERE.map(compression).into()),
        Question::new(
            vec![Capability::UdpEncapsulation],
            all_made,
            NOWHERE.map(|to| common(to, |_, attributes| attributes.push(in_udp()))).into(),
        ),
        // Without a direction it is refused.
        Question::new(
            vec![Capability::NatKeepalive],
            none_made,
            vec![common(NOWHERE[0], |_, attributes| {
                attributes.push(in_udp());
                attributes.push(word::encode(word::NAT_KEEPALIVE_INTERVAL, 20));
            })],
        ),
        // There is no third.
        Question::new(
            vec![Capability::Direction],
            none_made,
            vec![common(NOWHERE[0], |_, attributes| attributes.push(other(sa::SA_DIR, &[3])))],
        ),
        // Without a direction it is refused.
        Question::new(
            vec![Capability::PerCpu],
            none_made,
            vec![common(NOWHERE[0], |_, attributes| attributes.push(word::encode(word::SA_PCPU, 0)))],
        ),
        // Packets of one byte have no room for their own headers. Kernels without IPTFS take the mode, or refuse both.
        Question::new(vec![Capability::Iptfs], first_made_only, [0, 1].map(of_iptfs).into()),
        // The loopback device can't, which is no error; a flag that there isn't is one where the kernel looks at flags.
        Question::new(
            vec![Capability::CryptoOffload],
            known_flag_only,
            NOWHERE.into_iter().flat_map(|to| [0, UNKNOWN_OFFLOAD].map(|flags| offload(to, flags))).collect(),
        ),
        // The loopback device can't. Where the kernel says the same of a flag that there isn't, it doesn't know this one.
        Question::new(
            vec![Capability::PacketOffload],
            told_apart,
            [OFFLOAD_PACKET, UNKNOWN_OFFLOAD].map(|flags| offload(NOWHERE[0], flags)).into(),
        ),
        Question::new(vec![Capability::Migrate], built, vec![migrate()]),
        Question::new(vec![Capability::MigrateState], not_found, vec![migrate_state()]),
    ]);
    questions
}

/// Every combination, since an algorithm alone makes no SA: one that works shows that its parts are there.
fn algorithms() -> Vec<Question> {
    let mut asked = Vec::new();
    for aead in Aead::ALL {
        asked.push((vec![Capability::Aead(*aead)], Crypto::aead(*aead, key(aead.key_len()))));
    }
    for authentication in Authentication::ALL {
        let (about, length) = (Capability::Authentication(*authentication), authentication.key_len());
        for cipher in Cipher::ALL {
            let crypto = Crypto::encrypt_then_authenticate(
                *cipher,
                key(cipher.key_len()),
                *authentication,
                key(length),
            );
            asked.push((vec![Capability::Cipher(*cipher), about], crypto));
        }
        asked.push((vec![about], Crypto::authenticate(*authentication, key(length))));
    }
    let mut questions = Vec::new();
    for (about, crypto) in asked {
        // The keys have the lengths that the algorithms take.
        let Ok(crypto) = crypto else { continue };
        for to in NOWHERE {
            let protocol = match (crypto.protocol(), to.is_ipv4()) {
                (Protocol::Esp, true) => Capability::EspOverIpv4,
                (Protocol::Esp, false) => Capability::EspOverIpv6,
                (Protocol::Ah, true) => Capability::AhOverIpv4,
                (Protocol::Ah, false) => Capability::AhOverIpv6,
                (Protocol::IpComp, _) => Capability::CompressionDeflate,
            };
            let about = about.iter().copied().chain([protocol]).collect();
            questions.push(Question::new(about, all_made, vec![update(&crypto, to, |_, _| {})]));
        }
    }
    questions
}

/// An UPDSA of an SA that isn't there, changed from what we would write.
fn update(crypto: &Crypto, to: IpAddr, change: impl FnOnce(&mut UserSaInfo, &mut Attributes)) -> Request {
    let sa = Sa::tunnel(to, to, SPI, Reqid::from_hash(0), crypto.clone());
    let (mut info, mut attributes) = sa::encode(&sa, sa.replay, None, None);
    change(&mut info, &mut attributes);
    message(XFRM_MSG_UPDSA, &info, &attributes)
}

/// The same with whatever algorithms there are: every kernel with ESP has these (RFC 8221 requires them).
fn common(to: IpAddr, change: impl FnOnce(&mut UserSaInfo, &mut Attributes)) -> Request {
    let crypto = Crypto::EncryptThenAuthenticate {
        cipher: Cipher::AesCbc128,
        cipher_key: key(Cipher::AesCbc128.key_len()),
        authentication: Authentication::HmacSha256,
        authentication_key: key(Authentication::HmacSha256.key_len()),
    };
    update(&crypto, to, change)
}

fn message(message_type: u16, header: &impl Emitable, attributes: &Attributes) -> Request {
    let mut request = Request { message_type, body: Zeroizing::default(), gone: None, flags: 0 };
    // It makes all the room there is need for.
    let _ = request::request(message_type, header, attributes, &mut request);
    request
}

fn key(length: usize) -> Key {
    Key::from(vec![0x55; length].as_slice())
}

fn other(kind: u16, value: &[u8]) -> XfrmAttrs {
    XfrmAttrs::Other(DefaultNla::new(kind, value.to_vec()))
}

fn in_udp() -> XfrmAttrs {
    let ports =
        EncapTmpl { encap_type: ESPINUDP, encap_sport: 4500, encap_dport: 4500, ..EncapTmpl::default() };
    XfrmAttrs::EncapsulationTemplate(ports)
}

fn compression(to: IpAddr) -> Request {
    let mut name = [0; XFRM_ALG_NAME_LEN];
    name[..DEFLATE.len()].copy_from_slice(DEFLATE);
    let info = UserSaInfo {
        id: Id { daddr: address::encode(to), spi: SPI.get(), proto: PROTOCOL_COMP },
        saddr: address::encode(to),
        family: address::family(to),
        mode: sa::mode(Mode::Transport),
        ..UserSaInfo::default()
    };
    let mut attributes = Attributes::default();
    attributes.push(XfrmAttrs::CompressionAlg(Alg { alg_name: name, alg_key_len: 0, alg_key: Vec::new() }));
    message(XFRM_MSG_UPDSA, &info, &attributes)
}

fn of_iptfs(packet_size: u32) -> Request {
    common(NOWHERE[0], |info, attributes| {
        info.mode = iptfs::MODE;
        attributes.push(sa::direction(SaDirection::Out));
        attributes.push(iptfs::packet_size(packet_size));
    })
}

fn offload(to: IpAddr, flags: u8) -> Request {
    common(to, |_, attributes| {
        attributes.push(XfrmAttrs::OffloadDevice(UserOffloadDev { ifindex: LOOPBACK_INDEX, flags }));
    })
}

/// Of nothing.
fn migrate() -> Request {
    let mut attributes = Attributes::default();
    attributes.push(other(XFRMA_MIGRATE, &[]));
    message(XFRM_MSG_MIGRATE, &UserPolicyId::default(), &attributes)
}

/// Of an SA that isn't there.
fn migrate_state() -> Request {
    let to = NOWHERE[0];
    let id = UserSaId {
        daddr: address::encode(to),
        spi: SPI.get(),
        family: address::family(to),
        proto: Protocol::Esp.number(),
    };
    let mut body = Zeroizing::new(vec![0; MIGRATE_STATE_LEN]);
    id.emit(&mut body[..id.buffer_len()]);
    body[MIGRATE_STATE_FAMILY..][..2].copy_from_slice(&address::family(to).to_ne_bytes());
    Request { message_type: MSG_MIGRATE_STATE, body, gone: None, flags: 0 }
}

/// It could have been made, if only there were one to update.
fn made(answer: &Answer) -> bool {
    matches!(answer, Err(refusal) if refusal.errno == libc::ESRCH)
}

fn all_made(answers: &[Answer]) -> bool {
    answers.iter().all(made)
}

/// Refused, but not because of what the kernel always refuses.
fn none_made(answers: &[Answer]) -> bool {
    let refused = |answer: &Answer| matches!(answer, Err(refusal) if matches!(refusal.errno, libc::EINVAL | libc::ERANGE));
    answers.iter().all(refused)
}

fn first_made_only(answers: &[Answer]) -> bool {
    matches!(answers, [first, second] if made(first) && none_made(std::slice::from_ref(second)))
}

/// Each pair of answers.
fn known_flag_only(answers: &[Answer]) -> bool {
    answers.chunks(2).all(first_made_only)
}

fn told_apart(answers: &[Answer]) -> bool {
    matches!(answers, [first, second] if first != second && none_made(answers))
}

fn built(answers: &[Answer]) -> bool {
    let missing = [libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::EPERM];
    answers.iter().all(|answer| matches!(answer, Err(refusal) if !missing.contains(&refusal.errno)))
}

fn not_found(answers: &[Answer]) -> bool {
    all_made(answers)
}

#[cfg(test)]
mod tests;
