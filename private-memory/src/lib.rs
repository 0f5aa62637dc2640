//! Memory that has keys in it: the operator's, which reads Secrets, and the node agent's.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Keeps the process's memory from core dumps and from other processes of the same user.
///
/// # Errors
/// The kernel refused.
pub fn keep_memory_private() -> nix::Result<()> {
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

#[cfg(test)]
mod tests {
    use nix::sys::prctl;
    use nix::sys::resource::{Resource, getrlimit};

    #[test]
    fn nothing_of_it_is_dumped() {
        super::keep_memory_private().unwrap();
        assert_eq!(prctl::get_dumpable(), Ok(false));
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
    }
}
