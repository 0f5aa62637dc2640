#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Capabilities, Capability};
use crate::{
    Action, Aead, Authentication, Cipher, Crypto, Direction, InboundSa, Key, OutboundSa, Policy, Reqid, Sa,
    SaDirection, Selector, Spi, UdpEncapsulation, WantedSa,
};

fn without(missing: &[Capability]) -> Capabilities {
    let present = Capability::all().filter(|one| !missing.contains(one)).collect();
    Capabilities::new("6.1.0-1", present)
}

fn key(length: usize) -> Key {
    Key::from(vec![7; length].as_slice())
}

fn sa(crypto: Crypto, address: IpAddr) -> Sa {
    Sa::tunnel(address, address, Spi::new(4096).unwrap(), Reqid::from_hash(1), crypto)
}

fn pair(cipher: Cipher, authentication: Authentication) -> Crypto {
    let (cipher_key, authentication_key) = (key(cipher.key_len()), key(authentication.key_len()));
    Crypto::encrypt_then_authenticate(cipher, cipher_key, authentication, authentication_key).unwrap()
}

/// What a kernel that lacks just this says of the SA.
fn told(missing: Capability, sa: &Sa) -> Option<String> {
    let capabilities = without(&[missing]);
    let inbound = capabilities.require_sa(&WantedSa::Inbound(InboundSa(sa.clone())));
    assert_eq!(inbound, capabilities.require_sa(&WantedSa::Outbound(OutboundSa(sa.clone()))));
    inbound.err().map(|missing| missing.to_string())
}

#[test]
fn each_part_of_an_sa_asks_for_what_it_takes() {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let aead = |one: Aead| Crypto::aead(one, key(one.key_len())).unwrap();
    let ah = |one: Authentication| Crypto::authenticate(one, key(one.key_len())).unwrap();
    let (gcm, cbc) = (aead(Aead::AesGcm256), pair(Cipher::AesCbc192, Authentication::HmacSha384));
    let of_interface = Sa { interface_id: 7, ..sa(gcm.clone(), v4) };
    let directed = Sa { direction: Some(SaDirection::Out), ..sa(gcm.clone(), v4) };
    let udp = UdpEncapsulation { source_port: 4500, destination_port: 4500 };
    let in_udp = Sa { encapsulation: Some(udp), ..sa(gcm.clone(), v4) };
    let cases: [(Sa, &[Capability]); 8] = [
        (directed, &[Capability::Direction, Capability::EspOverIpv4, Capability::Aead(Aead::AesGcm256)]),
        (sa(Crypto::Deflate, v4), &[Capability::CompressionDeflate]),
        (in_udp, &[Capability::EspOverIpv4, Capability::UdpEncapsulation, Capability::Aead(Aead::AesGcm256)]),
        (sa(gcm.clone(), v4), &[Capability::EspOverIpv4, Capability::Aead(Aead::AesGcm256)]),
        (sa(gcm, v6), &[Capability::EspOverIpv6, Capability::Aead(Aead::AesGcm256)]),
        (
            sa(cbc, v4),
            &[
                Capability::EspOverIpv4,
                Capability::Cipher(Cipher::AesCbc192),
                Capability::Authentication(Authentication::HmacSha384),
            ],
        ),
        (
            sa(ah(Authentication::HmacSha512), v6),
            &[Capability::AhOverIpv6, Capability::Authentication(Authentication::HmacSha512)],
        ),
        (of_interface, &[Capability::Interfaces, Capability::EspOverIpv4, Capability::Aead(Aead::AesGcm256)]),
    ];
    for (sa, needs) in cases {
        let refused: BTreeSet<_> = Capability::all().filter(|one| told(*one, &sa).is_some()).collect();
        assert_eq!(refused, needs.iter().copied().collect(), "{sa:?}");
    }
}

#[test]
fn a_policy_of_an_interface_asks_for_interfaces() {
    let network = "10.0.0.0/8".parse().unwrap();
    let selector = Selector::new(network, network).unwrap();
    let plain = Policy::new(Direction::Out, selector, 1, Action::Allow);
    let nothing = without(&Capability::all().collect::<Vec<_>>());
    assert_eq!(nothing.require_policy(&plain), Ok(()));
    let refused = nothing.require_policy(&Policy { interface_id: 7, ..plain }).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "kernel 6.1.0-1 has no XFRM interfaces (module xfrm_interface, CONFIG_XFRM_INTERFACE): remove interfaceId, or \
         give the node a kernel (or a kernel module) that has, and restart its agent"
    );
}

#[test]
fn a_missing_algorithm_names_those_to_write_instead() {
    let one = Aead::ChaCha20Poly1305;
    let sa = sa(Crypto::aead(one, key(one.key_len())).unwrap(), IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(
        told(Capability::Aead(one), &sa).unwrap(),
        "kernel 6.1.0-1 has no CHACHA20-POLY1305: write AES-GCM-16-128 or AES-GCM-16-192 or AES-GCM-16-256 or \
         AES-CBC-128 or AES-CBC-192 or AES-CBC-256, or give the node a kernel (or a kernel module) that has, and \
         restart its agent"
    );
}

#[test]
fn names_are_unique_and_fit_the_api() {
    let names: BTreeSet<_> = Capability::all().map(Capability::name).collect();
    assert_eq!(names.len(), Capability::all().count());
    assert!(names.len() <= 64 && names.iter().all(|name| name.len() <= 64));
    // `all` has all, in their order.
    let sorted: BTreeSet<_> = Capability::all().collect();
    assert!(sorted.into_iter().eq(Capability::all()));
}
