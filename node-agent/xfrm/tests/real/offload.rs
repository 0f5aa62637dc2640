//! Work for network devices.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use esplanade_model::{
    Aead, Capability, Crypto, InboundSa, Offload, OutboundSa, ReplayProtection, Sa, SaDirection, WantedSa,
};

use crate::suite::objects::{key, sa};
use crate::suite::{SAME_NAME, Subject, of_sa, sas, sync};

const NEW: &str = "/sys/bus/netdevsim/new_device";
const GONE: &str = "/sys/bus/netdevsim/del_device";
/// The device's number.
const NUMBER: &str = "48";

/// Indexes of this namespace's devices.
fn devices() -> BTreeSet<u32> {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    text.lines().map(|line| line.split(':').next().unwrap().trim().parse().unwrap()).collect()
}

/// Makes a device with this; its index.
fn made(make: impl FnOnce()) -> u32 {
    let before = devices();
    make();
    *devices().difference(&before).next().unwrap()
}

/// What netdevsim takes, or another with a longer key, which it doesn't.
fn of(present: &BTreeSet<Capability>, device: Option<u32>, way: SaDirection, aead: Aead) -> WantedSa {
    let made = Sa {
        crypto: Crypto::aead(aead, key(aead.key_len())).unwrap(),
        replay: ReplayProtection::default(),
        direction: present.contains(&Capability::Direction).then_some(way),
        offload: device.map(|device| Offload { device, way }),
        ..sa(1)
    };
    match way {
        SaDirection::In => WantedSa::Inbound(InboundSa(made)),
        SaDirection::Out => WantedSa::Outbound(OutboundSa(made)),
    }
}

pub(crate) fn a_device_takes_work(kernel: &mut dyn Subject) {
    let present = kernel.probe().unwrap();
    if !present.contains(&Capability::CryptoOffload) {
        return;
    }
    let ways = [SaDirection::Out, SaDirection::In];
    let dummy = made(|| {
        let status = Command::new("ip").args("link add wire type dummy".split(' ')).status().unwrap();
        assert!(status.success());
    });
    for way in ways {
        let wanted = of(&present, Some(dummy), way, Aead::AesGcm128);
        // The kernel says that it did, and does the work itself: what it shows tells.
        sync(kernel, &of_sa(wanted.clone()), "a device that takes none");
        assert_eq!(sas(kernel)[&wanted.sa().id()].offload, None);
        sync(kernel, &Default::default(), "nothing");
    }
    if !Path::new(NEW).exists() {
        return;
    }
    let device = made(|| std::fs::write(NEW, format!("{NUMBER} 1")).unwrap());
    for way in ways {
        let by_kernel = of(&present, None, way, Aead::AesGcm128);
        let by_device = of(&present, Some(device), way, Aead::AesGcm128);
        sync(kernel, &of_sa(by_kernel.clone()), "the kernel");
        for to in [&by_device, &by_kernel, &by_device] {
            assert_eq!(sync(kernel, &of_sa(to.clone()), "a device"), SAME_NAME);
            assert_eq!(sas(kernel)[&to.sa().id()].offload, to.sa().offload);
            assert_eq!(sync(kernel, &of_sa(to.clone()), "a device"), "");
        }
        // What changes in place leaves it with the device.
        let mut limited = by_device.clone();
        let (WantedSa::Inbound(InboundSa(sa)) | WantedSa::Outbound(OutboundSa(sa))) = &mut limited;
        sa.lifetime = crate::suite::far();
        assert_eq!(sync(kernel, &of_sa(limited.clone()), "a lifetime"), "UPDSA");
        assert_eq!(sas(kernel)[&limited.sa().id()], *limited.sa());
        sync(kernel, &Default::default(), "nothing");
    }
    std::fs::write(GONE, NUMBER).unwrap();
}
