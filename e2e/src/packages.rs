//! Which Debian package brings which program. `packages.txt` lists the packages for the installing side.

const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ping", "iputils-ping"),
    ("modprobe", "kmod"),
    ("tcpdump", "tcpdump"),
    ("linux.uml", "user-mode-linux"),
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
        let listed: Vec<&str> = include_str!("../packages.txt").lines().collect();
        for (program, package) in super::PROGRAMS {
            assert!(listed.contains(package), "{program} needs {package}, which packages.txt doesn't list");
        }
    }
}
