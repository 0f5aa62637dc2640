//! ALLOCSPI: the kernel chooses an SPI, and keeps it by a larval SA.

use esplanade_model::{Spi, Unnumbered};
use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::XFRM_MSG_ALLOCSPI;
use netlink_packet_xfrm::{Id, UserSaInfo, UserSpiInfo, XFRM_USER_SA_INFO_LEN};

use super::attributes::Attributes;
use super::{address, mark, sa};
use crate::KernelError;

/// The message's type.
pub(crate) const REQUEST: u16 = XFRM_MSG_ALLOCSPI;

/// The body of the message that asks for an SPI.
pub(crate) fn encode(unnumbered: &Unnumbered) -> Vec<u8> {
    let Unnumbered { source, destination, protocol, mode, reqid, .. } = unnumbered;
    let info = UserSaInfo {
        id: Id { daddr: address::encode(*destination), spi: 0, proto: protocol.number() },
        saddr: address::encode(*source),
        reqid: reqid.get(),
        family: address::family(*destination),
        mode: sa::mode(*mode),
        ..UserSaInfo::default()
    };
    let range = Spi::allocated(*protocol);
    let wire = UserSpiInfo { info, min: *range.start(), max: *range.end() };
    let mut attributes = Attributes::default();
    mark::encode(unnumbered.mark, &mut attributes);
    sa::interface_id(unnumbered.interface_id, &mut attributes);
    attributes.extend(unnumbered.direction.map(sa::direction));
    let list = attributes.as_slice();
    let start = wire.buffer_len();
    let mut body = vec![0; start + list.buffer_len()];
    let (head, rest) = body.split_at_mut(start);
    wire.emit(head);
    list.emit(rest);
    body
}

/// The SPI of the larval SA that is the answer.
///
/// # Errors
/// It has none.
pub(crate) fn decode(body: &[u8]) -> Result<Spi, KernelError> {
    let header = body.get(..XFRM_USER_SA_INFO_LEN);
    let info = header.and_then(|header| UserSaInfo::parse(header).ok());
    info.and_then(|info| Spi::new(info.id.spi))
        .ok_or(KernelError::Malformed("an SA without the SPI asked for"))
}
