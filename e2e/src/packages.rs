//! Which Debian package brings which program. `packages.txt` lists the packages for the installing side, and
//! `packages-kernels.txt` those that only kernels in QEMU need.

const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("iptables-legacy", "iptables"),
    ("ping", "iputils-ping"),
    ("modprobe", "kmod"),
    ("tcpdump", "tcpdump"),
    ("linux.uml", "user-mode-linux"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("taskset", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("nsenter", "util-linux"),
];

/// The Debian package that brings a program, if the lab needs it.
pub fn package_of(program: &str) -> Option<&'static str> {
    let name = program.rsplit('/').next()?;
    PROGRAMS.iter().find(|(p, _)| *p == name).map(|(_, package)| *package)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_package_is_listed_for_installation() {
        let files = [include_str!("../packages.txt"), include_str!("../packages-kernels.txt")];
        let listed: Vec<&str> = files.iter().flat_map(|file| file.lines()).collect();
        for (program, package) in super::PROGRAMS {
            assert!(listed.contains(package), "{program} needs {package}, which neither file lists");
        }
    }
}
