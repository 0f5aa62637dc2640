//! `lab-build`: builds the control plane's programs ahead of time and prints where each is.

use std::process::ExitCode;

use clap::Parser;
use esplanade_e2e::controlplane::binaries;

/// Builds the control plane's programs (etcd, kube-apiserver, kube-controller-manager, kubectl, helm) for the lab,
/// unless they are in $KUBEBUILDER_ASSETS or were built before.
#[derive(Parser)]
struct Args {}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> ExitCode {
    let Args {} = Args::parse();
    match binaries::locate(&|line| eprintln!("{line}")) {
        Ok(found) => {
            for path in found.all() {
                println!("{}", path.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}
