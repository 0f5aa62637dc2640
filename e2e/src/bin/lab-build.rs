//! `lab-build`: builds the control plane's programs ahead of time and prints where each is; with `--bench`, the Go
//! program of the benchmark instead.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use esplanade_e2e::controlplane::binaries;

/// Builds the control plane's programs (etcd with etcdctl and etcdutl, kube-apiserver, kube-controller-manager, kubectl,
/// helm) for the lab, unless they are in $KUBEBUILDER_ASSETS or were built before.
#[derive(Parser)]
struct Args {
    /// Build the Go program that `make bench` compares with instead.
    #[arg(long)]
    bench: bool,
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> ExitCode {
    let say = |line: &str| eprintln!("{line}");
    let found = match Args::parse().bench {
        true => binaries::bench(&say).map(|path| vec![path]),
        false => binaries::locate(&say).map(|found| found.all().map(Path::to_owned).to_vec()),
    };
    match found {
        Ok(paths) => {
            for path in paths {
                println!("{}", path.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => esplanade_e2e::report_failure(&error),
    }
}
