//! The bounds of what a request may carry. Beyond them it is refused as `invalid_request` or `too_large`.

/// Labels a sandbox may have.
pub const METADATA_PAIRS: usize = 64;
/// Bytes of a label's name.
pub const METADATA_KEY_BYTES: usize = 128;
/// Bytes of a label's value.
pub const METADATA_VALUE_BYTES: usize = 1024;

/// Environment variables of a sandbox or a command.
pub const ENV_PAIRS: usize = 256;
/// Bytes of a variable's name.
pub const ENV_NAME_BYTES: usize = 256;
/// Bytes of a variable's value.
pub const ENV_VALUE_BYTES: usize = 32 * 1024;
/// Bytes of all names and values together.
pub const ENV_TOTAL_BYTES: usize = 128 * 1024;

/// Bytes of a path in the guest: Linux' own limit, without its closing NUL.
pub const PATH_BYTES: usize = 4095;
/// Bytes of one argument: Linux' own limit, without its closing NUL.
pub const ARG_BYTES: usize = 128 * 1024 - 1;
/// Arguments of a command.
pub const ARGS: usize = 4096;
/// Bytes of a user's name.
pub const USER_BYTES: usize = 64;
/// Bytes of a host name: one label of RFC 1123.
pub const HOSTNAME_BYTES: usize = 63;

/// Seconds that a command may be given: a day.
pub const EXEC_TIMEOUT_SEC: u32 = 86_400;
/// Seconds that a command has when nothing is said.
pub const EXEC_DEFAULT_TIMEOUT_SEC: u32 = 30;

/// Bytes of a JSON body.
pub const JSON_BODY_BYTES: usize = 2 * 1024 * 1024;
/// Seconds that a JSON body may take to come.
pub const JSON_BODY_SEC: u64 = 30;
/// Bytes of a message from a WebSocket's client.
pub const MESSAGE_BYTES: usize = 1024 * 1024;
/// Bytes of the body of `files/write`, and of a file that `files/read` answers with.
pub const FILE_BODY_BYTES: usize = 100 * 1024 * 1024;
/// Seconds that the body of `files/write` may take to come, and its file to be written: of such bodies a few at a time are in
/// memory, and one that does not end keeps others out.
pub const FILE_BODY_SEC: u64 = 600;
/// Seconds that a caller who sends a file may be silent in the middle of it.
pub const PIECE_SEC: u64 = 600;
/// Bytes that the streaming routes pass on at a time.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Seconds for which a host's invitation may be good: a day.
pub const INVITATION_SEC: u32 = 86_400;
/// Seconds for which it is when nothing is said.
pub const INVITATION_DEFAULT_SEC: u32 = 3600;
/// Names that a host may have.
pub const HOST_NAMES: usize = 16;
/// Bytes of a host's certificate request.
pub const CSR_BYTES: usize = 8 * 1024;
/// Bytes of any other text in a request to join: longer than a DNS name, a token or a proof.
pub const JOIN_FIELD_BYTES: usize = 256;
/// Bytes of the body of a request to join, which anybody may send.
pub const JOIN_BODY_BYTES: usize = 32 * 1024;

/// Bytes of an API key's name.
pub const KEY_NAME_BYTES: usize = 64;
/// Seconds after which a key may expire at the latest: ten years.
pub const KEY_EXPIRES_SEC: u64 = 315_360_000;

/// Children of one fork.
pub const FORK_CHILDREN: u32 = 100;
/// Sandboxes that one pool may have stand ready, and VMMs that may stand by. What a host has room for is less.
pub const POOL_COUNT: u32 = 1000;

/// Sandboxes in one page of a list.
pub const PAGE: u32 = 1000;
