//! Names of the headers that the guest agent and its callers send, in lower case.

/// The sandbox's token: every call but `/health` and `/init` carries it.
pub const ACCESS_TOKEN: &str = "x-access-token";

/// The key of `/init`: what the last `/init` gave as `nextInitKey`. The first one after a boot needs none.
pub const INIT_KEY: &str = "x-init-key";

/// What the guest's clock said when an answer to `/init` was made: nanoseconds since 1970, in decimal.
pub const GUEST_TIME: &str = "x-guest-time";

/// Seconds between keepalive events on a stream that is silent.
pub const KEEPALIVE_INTERVAL: &str = "keepalive-ping-interval";

/// Milliseconds after which a Connect call ends; on `Process/Start` its process is killed as well.
pub const CONNECT_TIMEOUT: &str = "connect-timeout-ms";

/// An absolute path prefix: output that outgrows [`SPOOL_AFTER`] is kept in `<prefix>.stdout` and `<prefix>.stderr`.
pub const SPOOL: &str = "wrenn-spool";

/// How many bytes of one output stream must be exceeded for its spool file to stay.
pub const SPOOL_AFTER: &str = "wrenn-spool-after";
