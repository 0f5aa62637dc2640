use super::{Frame, Packet, Payload, ethernet, parse};

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 11, 192, 0, 2, 12]);
    packet.extend(payload);
    packet
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet.extend([0xfd; 16]);
    packet.extend([0xfe; 16]);
    packet.extend(payload);
    packet
}

fn payload_of(frame: &[u8]) -> Payload {
    match ethernet(frame) {
        Frame::Ip(ip) => ip.payload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn esp_in_both_families() {
    let esp = [0, 0, 0x10, 0, 0, 0, 0, 7, 1, 2, 3];
    let expected = Payload::Esp { spi: 0x1000, seq: 7 };
    assert_eq!(payload_of(&frame(0x0800, &v4(50, 0x4000, &esp))), expected);
    let mut behind_options = vec![50, 0, 0, 0, 0, 0, 0, 0];
    behind_options.extend(esp);
    assert_eq!(payload_of(&frame(0x86dd, &v6(60, &behind_options))), expected);
}

#[test]
fn esp_in_udp_and_what_is_not() {
    let udp = |ports: [u8; 4], spi: [u8; 4]| {
        let rest = [0, 0, 0, 0, spi[0], spi[1], spi[2], spi[3], 0, 0, 0, 7];
        payload_of(&frame(0x0800, &v4(17, 0, &[&ports[..], &rest].concat())))
    };
    let (natted, other) = ([0x9c, 0x40, 0x11, 0x94], [0x9c, 0x40, 0, 53]);
    let expected = Payload::EspInUdp { source: 40_000, destination: 4500, spi: 0x1000, seq: 7 };
    assert_eq!(udp(natted, [0, 0, 0x10, 0]), expected);
    // IKE, and DNS.
    assert_eq!(udp(natted, [0; 4]), Payload::Udp { source: 40_000, destination: 4500 });
    assert_eq!(udp(other, [0, 0, 0x10, 0]), Payload::Udp { source: 40_000, destination: 53 });
}

#[test]
fn ah_shows_what_it_protects() {
    let mut ah = vec![1, 4, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 9];
    ah.extend([0; 12]);
    ah.extend([8, 0]);
    let expected = Payload::Ah { spi: 0x2000, seq: 9, inner: Box::new(Payload::Icmp { kind: 8 }) };
    assert_eq!(payload_of(&frame(0x0800, &v4(51, 0, &ah))), expected);
}

#[test]
fn clear_text_is_seen_also_in_a_tunnel_without_encryption() {
    let inner = v4(17, 0, &[0, 53, 0x20, 0x76]);
    let Payload::Ip(ip) = payload_of(&frame(0x0800, &v4(4, 0, &inner))) else { panic!("no tunnel") };
    assert_eq!(ip.payload, Payload::Udp { source: 53, destination: 8310 });
    assert_eq!(
        payload_of(&frame(0x86dd, &v6(6, &[0, 80, 1, 0]))),
        Payload::Tcp { source: 80, destination: 256 }
    );
}

#[test]
fn fragments_and_what_is_cut_short() {
    assert_eq!(payload_of(&frame(0x0800, &v4(17, 10, &[9, 9, 9, 9]))), Payload::Fragment(17));
    assert_eq!(payload_of(&frame(0x86dd, &v6(44, &[17, 0, 0, 8, 0, 0, 0, 0]))), Payload::Fragment(17));
    assert_eq!(payload_of(&frame(0x0800, &v4(50, 0, &[1, 2]))), Payload::Other(50));
    assert_eq!(ethernet(&[1, 2]), Frame::Other(0));
    assert_eq!(ethernet(&frame(0x0800, &[0x45])), Frame::Other(0x0800));
}

#[test]
fn a_file_that_is_still_being_written() {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    file.extend([0; 12]);
    file.extend([1, 0, 0, 0]);
    let mut arp = vec![0; 28];
    arp[24..].copy_from_slice(&[203, 0, 113, 1]);
    let arp = frame(0x0806, &arp);
    let length = u8::try_from(arp.len()).unwrap();
    for _ in 0..2 {
        file.extend([2, 0, 0, 0, 5, 0, 0, 0, length, 0, 0, 0, length, 0, 0, 0]);
        file.extend(&arp);
    }
    let target = "203.0.113.1".parse().unwrap();
    let packet = Packet { at: 2_000_005, length: u32::from(length), frame: Frame::Arp { target } };
    assert_eq!(parse(&file).unwrap(), [packet.clone(), packet.clone()]);
    assert_eq!(parse(&file[..file.len() - 1]).unwrap(), [packet]);
    assert!(parse(&file[1..]).is_err());
}
