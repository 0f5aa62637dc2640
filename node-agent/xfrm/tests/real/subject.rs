//! The real kernel under test; somebody else is iproute2.

use std::net::IpAddr;

use esplanade_model::{Mark, Op, PolicyKey, Protocol, SaId};
use esplanade_xfrm::wire::batch;
use esplanade_xfrm::wire::reply::{Message, Messages};
use esplanade_xfrm::{Databases as _, Netlink, Watch};
use netlink_packet_xfrm::constants::{XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA};
use netlink_sys::protocols::NETLINK_XFRM;
use netlink_sys::{Socket, SocketAddr};

use crate::iproute::{ALGORITHMS, ip};
use crate::suite::Subject;

impl Subject for Netlink {
    fn add_foreign_sa(&mut self, source: IpAddr, id: SaId, reqid: u32) {
        assert_eq!(id.protocol, Protocol::Esp);
        let (destination, spi) = (id.destination, id.spi);
        ip(&format!(
            "state add src {source} dst {destination} proto esp spi {spi} reqid {reqid} {ALGORITHMS}"
        ));
    }

    fn add_foreign_policy(&mut self, key: PolicyKey, index: Option<u32>) {
        let (from, to) = (key.selector.source(), key.selector.destination());
        let direction = format!("{:?}", key.direction).to_lowercase().replace("forward", "fwd");
        let index = index.map(|index| format!("index {index}")).unwrap_or_default();
        ip(&format!(
            "policy add src {from} dst {to} dir {direction} {index} priority 5 \
             tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel"
        ));
    }

    fn remove_as_another(&mut self, sas: &[SaId], policies: &[PolicyKey]) {
        let observed = self.dump().unwrap();
        let policies = policies.iter().map(|key| {
            let there = observed.policies.iter().find(|one| one.key == *key).unwrap();
            let PolicyKey { direction, interface_id, mark, .. } = *key;
            Op::DeletePolicy { direction, index: there.index, interface_id, mark }
        });
        let ops: Vec<_> = sas.iter().map(|id| Op::DeleteSa(*id, Mark::NONE)).chain(policies).collect();
        // Another socket is another program.
        let results = Netlink::open().unwrap().apply(&ops).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    fn raw(&mut self) -> Vec<Vec<u8>> {
        let mut records = raw_dump(XFRM_MSG_GETSA);
        records.extend(raw_dump(XFRM_MSG_GETPOLICY));
        records.sort();
        records
    }

    fn start_watch(&mut self) -> Box<dyn Watch> {
        Box::new(Netlink::watch(self).unwrap())
    }
}

fn raw_dump(message_type: u16) -> Vec<Vec<u8>> {
    let socket = Socket::new(NETLINK_XFRM).unwrap();
    socket.send_to(&batch::dump(message_type, 1, 0), &SocketAddr::new(0, 0), 0).unwrap();
    let mut records = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().unwrap();
        for message in Messages::of(&datagram) {
            let message = message.unwrap();
            match message.message_type {
                Message::DONE => return records,
                Message::ERROR => panic!("{:?}", message.error().unwrap()),
                _ => records.push(message.body.to_vec()),
            }
        }
    }
}
