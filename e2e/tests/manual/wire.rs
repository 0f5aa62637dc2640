//! Traffic, and what of it the wire shows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Result;
use esplanade_e2e::capture::{Packet, Payload};
use esplanade_e2e::lab::{Lab, Place};

/// Pings sent each time.
const PINGS: usize = 3;

/// Pings, and fails unless every answer comes.
pub(crate) async fn ping(from: &Place, to: IpAddr) -> Result<()> {
    from.run(["ping", "-c", &PINGS.to_string(), "-i", "0.1", "-W", "2", &to.to_string()]).await?.ok()?;
    Ok(())
}

/// Pings once; whether an answer came.
pub(crate) async fn answers(from: &Place, to: IpAddr) -> Result<bool> {
    Ok(from.run(["ping", "-c1", "-W1", &to.to_string()]).await?.success())
}

/// Pings between the first pods of node-a and node-b, both ways and over both families.
pub(crate) async fn ping_pods(lab: &Lab) -> Result<()> {
    let (a, b) = (lab.node("node-a").pod(0), lab.node("node-b").pod(0));
    for (from, to) in [(a, b), (b, a)] {
        for address in to.addresses.both() {
            ping(from, address).await?;
        }
    }
    Ok(())
}

/// Pings between node-a and node-b themselves, over one family.
pub(crate) async fn ping_nodes(lab: &Lab, v4: bool) -> Result<()> {
    let (a, b) = (lab.node("node-a"), lab.node("node-b"));
    for (from, to) in [(a, b), (b, a)] {
        let [from_address, to_address] = [from, to].map(|node| node.addresses.both()[usize::from(!v4)]);
        // Told where from, ping doesn't ask for it by a connection over UDP, which may not be allowed.
        let count = PINGS.to_string();
        let own = from_address.to_string();
        from.run(["ping", "-c", &count, "-i", "0.1", "-W", "2", "-I", &own, &to_address.to_string()])
            .await?
            .ok()?;
    }
    Ok(())
}

/// Packets that show an echo in the clear, in whatever isn't encrypted.
pub(crate) fn clear_echoes(packets: &[Packet]) -> Vec<&Packet> {
    packets.iter().filter(|packet| packet.ip().is_some_and(|ip| ip.is_echo())).collect()
}

/// Packets of a pod that are on the wire as they are.
pub(crate) fn clear_pod_packets<'a>(lab: &Lab, packets: &'a [Packet]) -> Vec<&'a Packet> {
    let pods: Vec<IpAddr> = lab.nodes().iter().flat_map(|node| node.pod(0).addresses.both()).collect();
    let of_pod = |packet: &&Packet| {
        packet.ip().is_some_and(|ip| pods.contains(&ip.source) || pods.contains(&ip.destination))
    };
    packets.iter().filter(of_pod).collect()
}

/// How many protected packets of each length there are between two addresses under an SPI.
pub(crate) fn lengths(
    packets: &[Packet],
    source: IpAddr,
    destination: IpAddr,
    spi: u32,
) -> BTreeMap<u32, usize> {
    let mut lengths = BTreeMap::new();
    for packet in packets {
        if !sequence(std::slice::from_ref(packet), source, destination, spi).is_empty() {
            *lengths.entry(packet.length).or_default() += 1;
        }
    }
    lengths
}

/// The sequence numbers, in the order of the wire, of protected packets between two addresses under an SPI.
pub(crate) fn sequence(packets: &[Packet], source: IpAddr, destination: IpAddr, wanted: u32) -> Vec<u32> {
    packets
        .iter()
        .filter_map(|packet| packet.ip())
        .filter(|ip| ip.is_between(source, destination))
        .filter_map(|ip| match ip.payload {
            Payload::Esp { spi, seq } | Payload::EspInUdp { spi, seq, .. } | Payload::Ah { spi, seq, .. }
                if spi == wanted =>
            {
                Some(seq)
            }
            _ => None,
        })
        .collect()
}
