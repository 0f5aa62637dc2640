//! Running tests on a kernel with ESP.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use esplanade_xfrm::Netlink;
use nix::sched::{CloneFlags, unshare};

use crate::suite::Subject;

/// Set where the kernel has ESP.
const INSIDE: &str = "ESPLANADE_KERNEL_WITH_ESP";
/// The name of a run of cargo-nextest, which gives each test a process of its own.
const RUN: &str = "NEXTEST_RUN_ID";

/// Runs the test in a network namespace of its own, or has that done where ESP is.
pub(crate) fn run(name: &str, test: fn(&mut dyn Subject)) {
    if std::env::var_os(INSIDE).is_none() {
        let report = report();
        let passed = report.lines().any(|line| line == format!("test {name} ... ok"));
        assert!(passed, "on the kernel with ESP:\n{}", section(report, name));
        return;
    }
    // A thread of its own takes the namespace with it when it ends.
    let namespace = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own");
        test(&mut Netlink::open().unwrap());
    });
    if let Err(panic) = namespace.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What the report says of one test; all of it, should it not say anything.
fn section<'a>(report: &'a str, name: &str) -> &'a str {
    let Some((_, own)) = report.split_once(&format!("---- {name} stdout ----\n")) else { return report };
    own.split("\n----").next().unwrap_or(own).split("\nfailures:").next().unwrap_or(own).trim()
}

/// What the test binary said where ESP is.
fn report() -> &'static str {
    static REPORT: OnceLock<String> = OnceLock::new();
    REPORT.get_or_init(|| match std::env::var(RUN) {
        Ok(run) => shared_report(&run),
        Err(_) => make_report(),
    })
}

/// The first of the run's processes makes the report, the others wait for it and read it.
fn shared_report(run: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernel-report");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap();
    file.lock().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    if let Some((of, report)) = text.split_once('\n')
        && of == run
    {
        return report.to_owned();
    }
    let report = make_report();
    file.set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(format!("{run}\n{report}").as_bytes()).unwrap();
    report
}

fn make_report() -> String {
    let this = std::env::current_exe().unwrap();
    // Binaries lie beside the folder of the tests.
    let in_kernel = this.parent().and_then(Path::parent).unwrap().join("in-kernel");
    let output = Command::new(&in_kernel)
        .args([OsString::from("--"), this.into(), "--test-threads=1".into()])
        .env(INSIDE, "1")
        .env_remove(RUN)
        .output()
        .unwrap_or_else(|error| {
            let path = in_kernel.display();
            panic!("{path}: {error}: build it first: cargo build -p esplanade-e2e --bin in-kernel")
        });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
