//! One command in a fresh network namespace of a kernel with ESP, as root, with its output passed on while it runs.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::boot::{Boot, Machine};
use crate::process::Supervised;

/// Looks at a running command this often.
const POLL: Duration = Duration::from_millis(10);

/// A command started on a kernel with ESP. Dropping it ends the command and, where one was booted, the kernel.
#[derive(Debug)]
pub struct Running(Inner);

#[derive(Debug)]
enum Inner {
    Native(Supervised),
    // The order matters: the kernel ends before its folder goes.
    Booted { machine: Machine, output: [Tail; 2], status: PathBuf, _dir: tempfile::TempDir },
}

/// Starts a command on the kernel: current folder and environment are this process's, stdin is empty. `memory`: what a
/// kernel that is booted for it gets, in MiB.
pub fn start(kernel: &super::Kernel, program: &[OsString], memory: u32) -> Result<Running> {
    let kernel = match kernel {
        super::Kernel::Native => {
            let mut command = super::native::command(program);
            command.stdin(std::process::Stdio::null());
            return Ok(Running(Inner::Native(Supervised::spawn("the command", command)?)));
        }
        super::Kernel::Booted(kernel) => kernel,
    };
    let dir = super::temp_dir()?;
    let path = |name: &str| dir.path().join(name);
    let output = [Tail::new(path("out"), Stream::Stdout)?, Tail::new(path("err"), Stream::Stderr)?];
    let run = script(program, dir.path())?;
    let machine = Boot { kernel, dir: dir.path(), run: &run, memory, tap: None }.start()?;
    Ok(Running(Inner::Booted { machine, output, status: path("status"), _dir: dir }))
}

impl Running {
    /// Waits for the command's end while passing its output on; returns its exit code (128 + n after signal n).
    pub async fn wait(&mut self) -> Result<u8> {
        loop {
            if let Some(code) = self.poll()? {
                return Ok(code);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn poll(&mut self) -> Result<Option<u8>> {
        match &mut self.0 {
            Inner::Native(process) => Ok(process.try_wait()?.map(|status| {
                use std::os::unix::process::ExitStatusExt;
                let code = status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(255);
                u8::try_from(code).unwrap_or(255)
            })),
            Inner::Booted { machine, output, status, .. } => {
                // Before reading, so that nothing written before the end is missed.
                let ended = machine.try_wait()?;
                output.iter_mut().try_for_each(Tail::copy)?;
                let Some(ended) = ended else { return Ok(None) };
                let code = std::fs::read_to_string(status).unwrap_or_default();
                match code.trim().parse() {
                    Ok(code) => Ok(Some(code)),
                    Err(_) => {
                        let (name, messages) = (machine.name(), machine.messages());
                        bail!("{name} ended ({ended}) before the command did\n{messages}")
                    }
                }
            }
        }
    }
}

/// What the guest's first process ends in.
fn script(program: &[OsString], dir: &Path) -> Result<String> {
    let cwd = std::env::current_dir().context("the current folder")?;
    let executable = super::which_in(&program[0], &cwd)?;
    let mut script = String::new();
    for folder in [Some(cwd.as_path()), executable.parent()].into_iter().flatten() {
        script.push_str(&super::show_folder(&quote(folder.as_os_str())?));
    }
    let _ = writeln!(script, "cd {} || poweroff -f", quote(cwd.as_os_str())?);
    let _ = write!(script, "env -i");
    for (key, value) in std::env::vars_os() {
        let mut pair = key;
        pair.push("=");
        pair.push(value);
        let _ = write!(script, " {}", quote(&pair)?);
    }
    let _ = write!(
        script,
        " unshare --net -- sh -c 'ip link set lo up && exec \"$@\"' sh {}",
        quote(executable.as_os_str())?
    );
    for argument in &program[1..] {
        let _ = write!(script, " {}", quote(argument)?);
    }
    let dir = quote(dir.as_os_str())?;
    let _ = writeln!(script, " >{dir}/out 2>{dir}/err\necho $? >{dir}/status\npoweroff -f");
    Ok(script)
}

fn quote(text: &OsStr) -> Result<String> {
    let text =
        std::str::from_utf8(text.as_bytes()).with_context(|| format!("not UTF-8: {}", text.display()))?;
    Ok(shell_words::quote(text).into_owned())
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// A growing file, copied to one of this process's streams.
#[derive(Debug)]
struct Tail {
    file: File,
    to: Stream,
}

impl Tail {
    fn new(path: PathBuf, to: Stream) -> Result<Self> {
        let file = File::options().create(true).truncate(true).write(true).read(true).open(&path);
        Ok(Self { file: file.with_context(|| format!("making {}", path.display()))?, to })
    }

    fn copy(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).context("reading the command's output")?;
        match self.to {
            Stream::Stdout => std::io::stdout().lock().write_all(&bytes),
            Stream::Stderr => std::io::stderr().lock().write_all(&bytes),
        }
        .context("passing the command's output on")
    }
}
