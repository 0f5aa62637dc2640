//! UDP ports at which ESP arrives (RFC 3948).
//!
//! The kernel takes ESP out of UDP only where a socket says so: without one, it answers with ICMP. It does so as long as
//! some process has the socket open, and nobody has to read from it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use esplanade_model::UdpPort;
use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::{XFRM_POLICY_ALLOW, XFRM_POLICY_IN, XFRM_POLICY_OUT};
use netlink_packet_xfrm::{Selector, UserPolicyInfo};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use crate::socket::sys;

/// `UDP_ENCAP` and `UDP_ENCAP_ESPINUDP` of `linux/udp.h`.
const UDP_ENCAP: libc::c_int = 100;
const UDP_ENCAP_ESPINUDP: libc::c_int = 2;
/// `linux/in.h`, `linux/in6.h`.
const IP_XFRM_POLICY: libc::c_int = 17;
const IPV6_XFRM_POLICY: libc::c_int = 35;
/// `sizeof(struct xfrm_userpolicy_info)`.
const POLICY_LENGTH: usize = 168;

/// Opens a port on all of the node's addresses, in the calling thread's network namespace, for as long as what is
/// returned lives. What arrives there and isn't ESP is dropped. Needs CAP_NET_ADMIN.
///
/// # Errors
/// The port is taken (`AddrInUse`), below 1024 and so for others (`PermissionDenied`), or the kernel has no ESP in UDP.
pub fn open(port: UdpPort) -> io::Result<OwnedFd> {
    let (domain, family, any) = match port.v6 {
        false => (Domain::IPV4, libc::AF_INET, Ipv4Addr::UNSPECIFIED.into()),
        true => (Domain::IPV6, libc::AF_INET6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    if port.v6 {
        socket.set_only_v6(true)?;
    }
    // Before it is bound: from then on packets come.
    sys::set(&socket, libc::IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)?;
    // Nobody reads: what the kernel leaves would only fill the buffer. It takes ESP out before it asks the filter.
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
    // A policy may cover the node's own addresses: the packet around ESP is never protected itself (`__xfrm_policy_check`).
    for direction in [XFRM_POLICY_IN, XFRM_POLICY_OUT] {
        let (level, option) = match port.v6 {
            false => (libc::IPPROTO_IP, IP_XFRM_POLICY),
            true => (libc::IPPROTO_IPV6, IPV6_XFRM_POLICY),
        };
        sys::set(&socket, level, option, pass(direction, family))?;
    }
    socket.bind(&SocketAddr::new(any, port.number).into())?;
    Ok(socket.into())
}

/// `BPF_RET | BPF_K`: so many bytes of the packet are for the socket.
const RETURN: u16 = 0x06;

/// A socket's own policy that lets everything through.
fn pass(direction: u8, family: libc::c_int) -> [u8; POLICY_LENGTH] {
    let policy = UserPolicyInfo {
        selector: Selector { family: u16::try_from(family).unwrap_or_default(), ..Selector::default() },
        direction,
        action: XFRM_POLICY_ALLOW,
        ..UserPolicyInfo::default()
    };
    let mut bytes = [0; POLICY_LENGTH];
    policy.emit(&mut bytes);
    bytes
}

/// The port of such a socket.
///
/// # Errors
/// It isn't bound to one.
pub fn port(socket: &impl AsFd) -> io::Result<UdpPort> {
    let address = SockRef::from(socket).local_addr()?.as_socket();
    let address = address.filter(|address| address.port() != 0);
    let address =
        address.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no bound UDP socket"))?;
    Ok(UdpPort { v6: address.is_ipv6(), number: address.port() })
}
