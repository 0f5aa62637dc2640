//! The holder of sockets: keeps them open for an agent that is restarted, and does nothing else.
//!
//! A stream socket in the agents' state directory, which only root can reach. One byte asks, one byte answers; sockets go
//! along as `SCM_RIGHTS`. `K`: keep just these. `G`: give what you keep. A new holder asks the one before for what it
//! keeps, and takes its place in the directory.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recv, recvmsg, sendmsg};

/// The holder's own socket in the state directory.
pub const SOCKET: &str = "sockets";
/// As many as fit into one message (`SCM_MAX_FD`).
pub const AT_MOST: usize = 253;
/// An answer takes microseconds.
const PATIENCE: Duration = Duration::from_secs(1);
const KEEP: u8 = b'K';
const GIVE: u8 = b'G';

/// The agent's way to the holder.
pub struct Holder {
    path: PathBuf,
    connection: Option<UnixStream>,
}

impl Holder {
    /// That of a state directory.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join(SOCKET), connection: None }
    }

    /// Copies of the sockets that it keeps.
    ///
    /// # Errors
    /// There is no holder, or it doesn't answer.
    pub fn take(&mut self) -> io::Result<Vec<OwnedFd>> {
        self.ask(GIVE, &[])
    }

    /// It is to keep these and no others.
    ///
    /// # Errors
    /// There is no holder, it doesn't answer, or these are too many.
    pub fn keep(&mut self, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        if sockets.len() > AT_MOST {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("more than {AT_MOST} UDP ports")));
        }
        self.ask(KEEP, sockets).map(drop)
    }

    /// The one that was last asked is still there.
    pub fn is_there(&self) -> bool {
        // Nothing comes unasked: there is nothing to read, or its end.
        self.connection.as_ref().is_some_and(|connection| {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            recv(connection.as_raw_fd(), &mut [0], flags) == Err(nix::Error::EAGAIN)
        })
    }

    fn ask(&mut self, question: u8, sockets: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
        if !self.is_there() {
            let connection = UnixStream::connect(&self.path)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            self.connection = Some(connection);
        }
        let asked = match &self.connection {
            Some(connection) => send(connection, question, sockets).and_then(|()| receive(connection)),
            None => Err(ErrorKind::NotConnected.into()),
        };
        match asked {
            Ok(Some((answer, given))) if answer == question => Ok(given),
            other => {
                // What it may still say would answer another question.
                self.connection = None;
                Err(other.err().unwrap_or_else(|| ErrorKind::UnexpectedEof.into()))
            }
        }
    }
}

/// Takes the place of the holder before, if there is one, with what it keeps; then holds. Comes back only when it can't.
///
/// # Errors
/// The directory can't be used.
pub fn hold(directory: &Path) -> io::Result<()> {
    let kept = Holder::new(directory).take().unwrap_or_default();
    tracing::info!(sockets = kept.len(), "holding sockets");
    let kept = Arc::new(Mutex::new(kept));
    let unfinished = directory.join(format!("{SOCKET}.new"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    fs::rename(&unfinished, directory.join(SOCKET))?;
    for connection in listener.incoming() {
        let (connection, kept) = (connection?, Arc::clone(&kept));
        thread::Builder::new().name("connection".to_owned()).spawn(move || serve(&connection, &kept))?;
    }
    Ok(())
}

fn serve(connection: &UnixStream, kept: &Mutex<Vec<OwnedFd>>) {
    while let Ok(Some((question, sockets))) = receive(connection) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = match question {
            KEEP => {
                tracing::info!(sockets = sockets.len(), "keeping");
                *kept = sockets;
                send(connection, KEEP, &[])
            }
            GIVE => {
                let copies: Vec<_> = kept.iter().map(std::os::fd::AsFd::as_fd).collect();
                send(connection, GIVE, &copies)
            }
            _ => return,
        };
        if answered.is_err() {
            return;
        }
    }
}

fn send(connection: &UnixStream, byte: u8, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let fds: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let bytes = [byte];
    sendmsg::<UnixAddr>(
        connection.as_raw_fd(),
        &[IoSlice::new(&bytes)],
        rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// None at the other's end.
fn receive(connection: &UnixStream) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut bytes = [0];
    let mut room = nix::cmsg_space!([RawFd; AT_MOST]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(connection.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let mut sockets = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            sockets.extend(fds.into_iter().map(own));
        }
    }
    let length = message.bytes;
    Ok((length == 1).then_some((bytes[0], sockets)))
}

#[allow(unsafe_code)]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us (`scm_detach_fds`), and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
