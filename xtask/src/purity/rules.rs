//! What a pure crate must not name, and what to do instead.

/// Paths that mean the same kind of impurity.
pub(super) struct Rule {
    /// Path fragments. Each matches wherever its segments stand in a row in a path; `*` is any one segment.
    paths: &'static [&'static str],
    /// What to do instead, as the end of a sentence.
    pub(super) instead: &'static str,
}

/// For `async` in every form.
pub(super) const ASYNC: &str =
    "a pure crate waits for nothing: return what is to be done, and let the caller await";

/// For printing macros.
pub(super) const PRINT: &str = "a pure crate prints nothing: return what is to be said";

const RULES: &[Rule] = &[
    Rule {
        paths: &["Instant", "SystemTime", "UNIX_EPOCH", "*::now", "TimeZone::system"],
        instead: "a pure crate has no clock: take the time as an argument",
    },
    Rule {
        paths: &[
            "TcpListener",
            "TcpStream",
            "UdpSocket",
            "UnixDatagram",
            "UnixListener",
            "UnixStream",
            "ToSocketAddrs",
            "socket2",
            "netlink_sys",
            "libc",
            "nix",
        ],
        instead: "a pure crate opens no socket and makes no system call: take what was received as an argument",
    },
    Rule {
        paths: &["std::fs", "io::stdin", "io::stdout", "io::stderr", "io::pipe"],
        instead: "a pure crate reads and writes no files or streams: take the content as an argument, return the rest",
    },
    Rule {
        paths: &["std::env", "std::process"],
        instead: "a pure crate knows nothing of its process: take settings as arguments, return errors",
    },
    Rule {
        paths: &["std::thread", "rayon"],
        instead: "a pure crate starts and stops no threads: the caller decides where it runs",
    },
    Rule {
        paths: &[
            "OsRng",
            "SysRng",
            "ThreadRng",
            "RandomState",
            "thread_rng",
            "rand::rng",
            "rand::random",
            "from_os_rng",
            "getrandom",
        ],
        instead: "a pure crate has no randomness of its own: take the generator as an argument (rand_core's traits)",
    },
    Rule {
        paths: &[
            "kube::Api",
            "kube::Client",
            "kube::Config",
            "kube::api::Api",
            "kube::client",
            "kube::runtime",
            "kube_client",
            "kube_runtime",
        ],
        instead: "a pure crate talks to no API server: take the objects as arguments, return those to write",
    },
    Rule {
        paths: &["tokio", "async_std", "smol", "futures", "futures_util"],
        instead: "a pure crate runs no futures: return what is to be done, and let the caller run it",
    },
];

/// Every fragment that a path contains, with what to do instead.
pub(super) fn broken_by<'p>(
    segments: &'p [String],
) -> impl Iterator<Item = (&'static str, &'static str)> + 'p {
    RULES
        .iter()
        .flat_map(|rule| rule.paths.iter().map(move |path| (*path, rule.instead)))
        .filter(move |(path, _)| contains(segments, path))
}

fn contains(segments: &[String], fragment: &str) -> bool {
    let wanted: Vec<&str> = fragment.split("::").collect();
    segments
        .windows(wanted.len())
        .any(|w| w.iter().zip(&wanted).all(|(have, want)| *want == "*" || have == want))
}
