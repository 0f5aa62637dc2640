//! A program's memory as the kernel guards it.

use std::net::TcpListener;
use std::path::Path;
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

/// Starts the program, and waits until its memory stays out of core dumps. `folder` is its own for now.
pub(crate) fn stays_out_of_core_dumps(mut command: Command, folder: &Path) {
    // An API server that never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = folder.join("kubeconfig");
    let server = format!("http://{}", listener.local_addr().unwrap());
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: here, clusters: [{{name: here, cluster: {{server: '{server}'}}}}], \
         contexts: [{{name: here, context: {{cluster: here, user: me}}}}], users: [{{name: me, user: {{token: none}}}}]}}"
    );
    std::fs::write(&config, text).unwrap();
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
