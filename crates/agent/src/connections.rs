//! A host whose table of connections is full drops every packet that would begin one: guests' connections time out, and
//! nobody tells them why. The log does.
//!
//! The agent's own calls into guests are in no table, see `wrenn_network`.

use std::time::Duration;

use wrenn_network::Tracked;

use crate::Agent;

/// How often the table is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Whether the table is nearly full, as it was told last.
#[derive(Debug, Default)]
struct Fullness {
    told: bool,
}

impl Fullness {
    /// What to tell, when that is news: nearly full above nine tenths, roomy again below eight.
    fn look(&mut self, now: Tracked) -> Option<bool> {
        let tenths = now.count.saturating_mul(10).checked_div(now.most)?;
        let full = if self.told { tenths >= 8 } else { tenths >= 9 };
        (full != self.told).then(|| {
            self.told = full;
            full
        })
    }
}

impl Agent {
    /// Tells when the host's table of connections is filling up, and when there is room again.
    pub(crate) async fn watch_connections(&self) {
        let mut fullness = Fullness::default();
        while !self.down.is_cancelled() {
            if let Ok(Some(now)) = Tracked::now() {
                let (count, most) = (now.count, now.most);
                match fullness.look(now) {
                    Some(true) => tracing::error!(
                        count,
                        most,
                        "the host's table of connections is nearly full: guests' new connections will time out; raise \
                         net.netfilter.nf_conntrack_max, or find who opens so many"
                    ),
                    Some(false) => {
                        tracing::info!(
                            count,
                            most,
                            "the host's table of connections has room again"
                        );
                    }
                    None => {}
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_fills_up_is_told_once_and_so_is_its_room() {
        let mut fullness = Fullness::default();
        let mut look = |count, most| fullness.look(Tracked { count, most });
        assert_eq!(look(89, 100), None);
        assert_eq!(look(90, 100), Some(true));
        assert_eq!(look(100, 100), None);
        assert_eq!(look(85, 100), None);
        assert_eq!(look(79, 100), Some(false));
        assert_eq!(look(85, 100), None);
        assert_eq!(look(1_000_000, 0), None, "there is no limit");
    }

    #[test]
    fn this_machine_has_a_table_or_none() {
        if let Some(now) = Tracked::now().unwrap() {
            assert!(now.most == 0 || now.count <= now.most);
        }
    }
}
