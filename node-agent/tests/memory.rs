//! Keys in the program's memory stay out of core dumps.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends the program with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn memory_is_kept_from_core_dumps() {
    // An API server that never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kubeconfig");
    let server = format!("http://{}", listener.local_addr().unwrap());
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: here, clusters: [{{name: here, cluster: {{server: '{server}'}}}}], \
         contexts: [{{name: here, context: {{cluster: here, user: me}}}}], users: [{{name: me, user: {{token: none}}}}]}}"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_esplanade-node-agent"));
    command.args(["--node-name", "a", "--state-dir"]).arg(folder.path().join("state"));
    // More than the default, which is none in many places.
    let limits = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, limits.1, limits.1).unwrap();
    let program = Program(command.env("KUBECONFIG", &config).stderr(Stdio::null()).spawn().unwrap());
    let file = format!("/proc/{}/limits", program.0.id());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let limits = std::fs::read_to_string(&file).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<_> = core.split_whitespace().collect();
        if words[4..6] == ["0", "0"] {
            return;
        }
        assert!(Instant::now() < deadline, "{core}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
