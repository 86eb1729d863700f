//! How much of the host's network one guest may use. What the agent itself asks of a guest counts for nothing here: it
//! never passes the chains that these limits stand in.

/// Bytes a second in each direction, headers of IP included: a gigabit.
pub const BYTES_PER_SEC: u64 = 125_000_000;

/// Packets a second in each direction: a gigabit of full frames, and some. What a network card is left to cut counts once.
pub const PACKETS_PER_SEC: u32 = 100_000;

/// Connections, and what UDP has in their place, that stand at the same time.
pub const CONNECTIONS: u32 = 2048;

/// How many of them begin in a second.
pub const NEW_CONNECTIONS_PER_SEC: u32 = 200;

/// Packets with questions for names, in a second.
pub const QUESTIONS_PER_SEC: u32 = 50;

/// Bytes of questions for names, in a second: what a tunnel of names carries at the most.
pub const QUESTION_BYTES_PER_SEC: u32 = 16_384;

/// Refusals that a guest is told, in a second; beyond that its packets vanish without a word. The host's kernel has a
/// budget for such errors that all guests share.
pub const REFUSALS_PER_SEC: u32 = 20;

/// What one guest may use. The defaults are the constants of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second in each direction.
    pub bytes_per_sec: u64,
    /// Packets a second in each direction.
    pub packets_per_sec: u32,
    /// Connections at the same time.
    pub connections: u32,
    /// Connections that begin in a second.
    pub new_connections_per_sec: u32,
    /// Packets to the resolver, in a second.
    pub questions_per_sec: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_per_sec: BYTES_PER_SEC,
            packets_per_sec: PACKETS_PER_SEC,
            connections: CONNECTIONS,
            new_connections_per_sec: NEW_CONNECTIONS_PER_SEC,
            questions_per_sec: QUESTIONS_PER_SEC,
        }
    }
}

/// So many bytes or packets a second, and so many at once after a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_sec: u64,
    pub(crate) burst: u32,
}

impl Rate {
    /// Bytes. The kernel adds a second's worth of them to what may come at once; here it is the largest packet, which
    /// would never pass otherwise where a second has room for less.
    pub(crate) fn bytes(per_sec: u64) -> Self {
        // The kernel counts them in nanoseconds of 64 bits.
        const MOST: u64 = 16 << 30;
        Self {
            per_sec: per_sec.clamp(1, MOST),
            burst: 64 << 10,
        }
    }

    /// Things that come one by one: what comes in two seconds.
    pub(crate) fn things(per_sec: u32) -> Self {
        Self {
            per_sec: u64::from(per_sec.max(1)),
            burst: per_sec.max(1).saturating_mul(2),
        }
    }

    /// Packets of a stream: what comes in a tenth of a second.
    pub(crate) fn packets(per_sec: u32) -> Self {
        Self {
            per_sec: u64::from(per_sec.max(1)),
            burst: (per_sec / 10).max(64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_lets_a_packet_through() {
        for rate in [
            Rate::bytes(0),
            Rate::bytes(u64::MAX),
            Rate::packets(0),
            Rate::things(0),
        ] {
            assert!(rate.per_sec > 0 && rate.burst > 0, "{rate:?}");
        }
        assert!(Rate::bytes(1).burst > 65_535, "the largest packet passes");
    }
}
