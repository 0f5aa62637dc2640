use std::net::IpAddr;

use crate::{Mark, Mode, Protocol, Reqid, SaDirection, SaId, Spi};

/// An inbound SA whose SPI the kernel is to choose: what the larval SA is made of that it leaves (`xfrm_find_acq`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnumbered {
    /// Where packets come from.
    pub source: IpAddr,
    /// Where packets go to.
    pub destination: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The mode.
    pub mode: Mode,
    /// The reqid.
    pub reqid: Reqid,
    /// XFRM interface id; 0 is none.
    pub interface_id: u32,
    /// Its mark, under which the SA is found that takes the larval one's place.
    pub mark: Mark,
    /// In, where the kernel knows of directions: an SA of another one isn't let in its place.
    pub direction: Option<SaDirection>,
}

impl Unnumbered {
    /// What names it with this SPI.
    pub fn id(&self, spi: Spi) -> SaId {
        SaId { destination: self.destination, protocol: self.protocol, spi }
    }
}
