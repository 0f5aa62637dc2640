#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use esplanade_crds::{IpsecNodeStateSpec, NodeSecurityAssociation, ResolvedEndpoint, UdpPorts};
use esplanade_model::SaId;

use super::{Followed, Mappings, followed};

fn sa() -> NodeSecurityAssociation {
    let text = serde_yaml::from_str(
        "{name: into, source: {address: 192.0.2.99}, destination: {node: a, address: 192.0.2.1}, spi: 4096, \
         protocol: ESP, mode: Tunnel, antiReplay: {window: 64}, \
         udp: {source: 40000, destination: 4500, followMapping: true}}",
    );
    text.unwrap()
}

fn of(sa: NodeSecurityAssociation) -> Followed {
    followed("a", &IpsecNodeStateSpec { security_associations: vec![sa], ..Default::default() })
}

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn id() -> SaId {
    *of(sa()).keys().next().unwrap()
}

#[test]
fn who_asks_for_it_is_followed() {
    assert_eq!(of(sa()).into_values().collect::<Vec<_>>(), [end("192.0.2.99:40000")]);
    let edits: [fn(&mut NodeSecurityAssociation); 6] = [
        |sa| sa.udp = Some(UdpPorts { follow_mapping: false, ..sa.udp.unwrap() }),
        |sa| sa.udp = None,
        |sa| sa.anti_replay.window = 0,
        |sa| sa.expired = Some("over".to_owned()),
        |sa| sa.source.node = Some("b".to_owned()),
        |sa| {
            let here = ResolvedEndpoint { node: Some("b".to_owned()), ..sa.destination.clone() };
            sa.destination = here;
        },
    ];
    for edit in edits {
        let mut other = sa();
        edit(&mut other);
        assert_eq!(of(other.clone()), Followed::new(), "{other:?}");
    }
}

#[test]
fn where_a_sender_is_counts_until_it_is_where_it_is_written() {
    let followed = of(sa());
    let mut mappings = Mappings::default();
    assert!(mappings.moved(&followed, id(), end("192.0.2.99:40001")));
    assert!(!mappings.moved(&followed, id(), end("192.0.2.99:40001")));
    assert!(mappings.moved(&followed, id(), end("192.0.2.98:40001")));
    assert_eq!(mappings.text(), "192.0.2.99:40000 192.0.2.98:40001\n");
    assert_eq!(Mappings::read(&mappings.text()), mappings);
    for nowhere in ["192.0.2.98:0", "0.0.0.0:40001", "[2001:db8::1]:40001"] {
        assert!(!mappings.moved(&followed, id(), end(nowhere)), "{nowhere}");
    }
    assert!(!mappings.moved(&Followed::new(), id(), end("192.0.2.97:1")));
    assert!(mappings.moved(&followed, id(), end("192.0.2.99:40000")));
    assert_eq!(mappings, Mappings::default());
    assert!(!mappings.moved(&followed, id(), end("192.0.2.99:40000")));
}

#[test]
fn another_written_end_is_another_sender() {
    let mut mappings = Mappings::default();
    mappings.moved(&of(sa()), id(), end("192.0.2.99:40001"));
    assert!(!mappings.keep(&of(sa())));
    let mut other = sa();
    other.udp = Some(UdpPorts { source: 50_000, ..other.udp.unwrap() });
    assert!(mappings.keep(&of(other)));
    assert_eq!(mappings, Mappings::default());
}

#[test]
fn lines_that_say_something_else_are_passed_over() {
    let text = "\nx 192.0.2.1:1\n192.0.2.99:1 192.0.2.98:2\n192.0.2.99:1\n";
    assert_eq!(Mappings::read(text).text(), "192.0.2.99:1 192.0.2.98:2\n");
}
