//! The netlink socket: one send for a batch, then the answers that the kernel has queued by the time the send returns.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendmsg,
    setsockopt, socket, sockopt,
};

use super::attribute::{self, Attributes};
use super::constants::table;
use super::{Batch, Family, Message};

const HEADER: usize = 16;
/// In bytes.
const LARGEST_BATCH: usize = 1 << 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;

impl Batch {
    /// Hands the batch to the kernel, in the namespace of the calling thread. All of it stands, or nothing.
    ///
    /// # Errors
    /// The kernel's, with the words for the change that it refused.
    pub(crate) fn commit(&self) -> io::Result<()> {
        let socket = open()?;
        send(&socket, &self.encode())?;
        let mut acknowledged = false;
        while let Some(answers) = receive(&socket)? {
            for answer in messages(&answers).filter(|answer| answer.kind == ERROR) {
                let code = answer.body.get(..4).and_then(|code| code.try_into().ok());
                match code.map(i32::from_ne_bytes) {
                    Some(0) => acknowledged = true,
                    code => {
                        return Err(self.refused(answer.sequence, code.unwrap_or(-libc::EBADMSG)));
                    }
                }
            }
        }
        if acknowledged || self.messages.is_empty() {
            return Ok(());
        }
        Err(io::Error::other("nf_tables did not answer"))
    }

    /// What tells this batch from others; another one with another version of this program.
    pub(crate) fn sum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.encode().hash(&mut hasher);
        hasher.finish()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.messages.len() * 256);
        let none = Attributes::default();
        let subsystem = libc::NFNL_SUBSYS_NFTABLES.cast_unsigned();
        let frame = |bytes: &mut Vec<u8>, kind, flags, family, resource, sequence, body| {
            encode_message(bytes, kind, flags, sequence, family, resource, body);
        };
        frame(
            &mut bytes,
            libc::NFNL_MSG_BATCH_BEGIN,
            0,
            0,
            subsystem,
            0,
            &none,
        );
        for (sequence, message) in (1..).zip(&self.messages) {
            // One acknowledgement tells that the batch was taken; refusals come unasked.
            let last = self.messages.len() == sequence as usize;
            let flags = message.flags | if last { libc::NLM_F_ACK } else { 0 };
            let kind = nf_tables(message.kind);
            frame(
                &mut bytes,
                kind,
                flags,
                message.family.number(),
                0,
                sequence,
                &message.body,
            );
        }
        frame(
            &mut bytes,
            libc::NFNL_MSG_BATCH_END,
            0,
            0,
            subsystem,
            0,
            &none,
        );
        bytes
    }

    fn refused(&self, sequence: u32, code: i32) -> io::Error {
        let cause = io::Error::from_raw_os_error(-code);
        let index = (sequence as usize).wrapping_sub(1);
        let about = self
            .messages
            .get(index)
            .map_or("batch", |Message { about, .. }| about);
        io::Error::new(cause.kind(), format!("nf_tables refused {about}: {cause}"))
    }
}

/// A table that stands in the namespace of the calling thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
}

/// All tables of a family.
///
/// # Errors
/// What the kernel said.
pub(crate) fn tables(family: Family) -> io::Result<Vec<TableName>> {
    let all = &Attributes::default();
    dump(libc::NFT_MSG_GETTABLE, family.number(), all, |_, body| {
        parse_table(body)
    })
}

/// Asks for all of a kind and hands the family and the attributes of each to `parse`. Family 0 stands for all families.
pub(super) fn dump<T>(
    kind: i32,
    family: u8,
    narrowed: &Attributes,
    parse: impl Fn(u8, &[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let socket = open()?;
    let mut request = Vec::new();
    let (kind, flags) = (nf_tables(kind), libc::NLM_F_DUMP);
    encode_message(&mut request, kind, flags, 1, family, 0, narrowed);
    send(&socket, &request)?;
    let mut found = Vec::new();
    while let Some(answers) = receive(&socket)? {
        for answer in messages(&answers) {
            match (answer.kind, answer.body) {
                (DONE, _) => return Ok(found),
                (ERROR, _) => {
                    return Err(io::Error::other("nf_tables refused to list what it has"));
                }
                // The body begins with the family, a version and a resource id.
                (_, [family, _, _, _, body @ ..]) => found.extend(parse(*family, body)),
                _ => {}
            }
        }
    }
    Ok(found)
}

fn parse_table(body: &[u8]) -> Option<TableName> {
    let mut name = None;
    let mut comment = None;
    for (kind, value) in attribute::parse(body) {
        match kind {
            table::NAME => name = Some(text(value)),
            table::USERDATA => comment = parse_comment(value),
            _ => {}
        }
    }
    Some(TableName {
        name: name?,
        comment,
    })
}

fn parse_comment(data: &[u8]) -> Option<String> {
    let (&kind, rest) = data.split_first()?;
    let (&length, rest) = rest.split_first()?;
    (kind == table::COMMENT).then(|| rest.get(..usize::from(length)).map(text))?
}

pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn nf_tables(kind: i32) -> i32 {
    libc::NFNL_SUBSYS_NFTABLES << 8 | kind
}

/// Appends one message: netlink header, nf_tables header, attributes.
fn encode_message(
    bytes: &mut Vec<u8>,
    kind: i32,
    flags: i32,
    sequence: u32,
    family: u8,
    resource: u32,
    body: &Attributes,
) {
    let body = body.as_slice();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "kinds and flags of netlink have 16 bits, lengths 32"
    )]
    let (length, kind, flags, resource) = (
        (HEADER + 4 + body.len()) as u32,
        kind as u16,
        (flags | libc::NLM_F_REQUEST) as u16,
        resource as u16,
    );
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body);
}

/// A message that the kernel sent.
struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer {
            kind,
            sequence,
            body,
        })
    })
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    // A batch is one message, and one of long policies is longer than the kernel keeps for a socket unasked.
    setsockopt(&socket, sockopt::SndBufForce, &LARGEST_BATCH)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let kernel = NetlinkAddr::new(0, 0);
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        &[],
        MsgFlags::empty(),
        Some(&kernel),
    )?;
    Ok(())
}

/// What the kernel has queued, or `None` when that was all.
fn receive(socket: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 32 << 10];
    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::EAGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
