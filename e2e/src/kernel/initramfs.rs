//! The first file system of a kernel in QEMU: it mounts the host's files as root and goes on there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::debian::run;

const BUSYBOX: &str = "/bin/busybox";

/// Some kernels have these built in.
const MODULES: [&str; 2] = ["virtio_pci", "virtiofs"];

const INIT: &str = r#"#!/busybox sh
for module in /modules/*.ko; do [ -e "$module" ] && /busybox insmod "$module"; done
/busybox mkdir -p /host
/busybox mount -t virtiofs -o ro root /host
exec /busybox switch_root /host "$LAB_INIT"
"#;

/// Writes it for the kernel of this release, whose modules are below `root`.
pub(super) fn write(file: &Path, release: &str, root: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("making a folder")?;
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(BUSYBOX, path("busybox"))
        .context("a static busybox is missing: install Debian's package busybox-static")?;
    std::fs::write(path("init"), INIT).context("writing init")?;
    std::fs::set_permissions(path("init"), std::fs::Permissions::from_mode(0o755)).context("writing init")?;
    std::fs::create_dir(path("modules")).context("making a folder")?;
    let mut modprobe = Command::new(super::which("modprobe").context("modprobe isn't in PATH")?);
    modprobe.args(["--all", "--show-depends", "--set-version", release, "--dirname"]).arg(root).args(MODULES);
    let needed = run(&mut modprobe)?;
    let files = needed.lines().filter_map(|line| line.strip_prefix("insmod "));
    for (number, module) in files.enumerate() {
        let module = Path::new(module.trim());
        ensure!(module.extension() == Some("ko".as_ref()), "{} is compressed", module.display());
        // Listed with what they need first, and loaded by name.
        std::fs::copy(module, path("modules").join(format!("{number:02}.ko"))).context("copying a module")?;
    }
    let pack = r#"cd "$1" && find . | "$2" cpio --quiet -o -H newc > "$3""#;
    run(Command::new("sh").args(["-euc", pack, "sh"]).arg(folder.path()).arg(BUSYBOX).arg(file)).map(drop)
}
