//! What a guest keeps in memory and on disk, so that it shows whether it is what it was.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::{TestSandbox, shell, until};

/// Counts in memory for as long as it lives; whoever reads may find the file empty for a moment.
const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i > /run/count; sleep 0.1; done";

/// How long a guest under emulation may take to count on.
const COUNT_LIMIT: Duration = Duration::from_secs(30);

/// What one guest was given to keep. All of it is there, of one boot and one moment, or the guest is not what it was.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    /// Of this boot alone.
    boot: String,
    /// The process that counts.
    counter: u32,
    /// In memory and on disk; new with each [`Witness::renew`].
    token: String,
}

impl Witness {
    /// Gives the guest something to keep.
    pub(crate) async fn leave(sandbox: &TestSandbox) -> Self {
        let counter = sandbox.begin(COUNTER).await;
        let boot = sandbox.sh("cat /proc/sys/kernel/random/boot_id").await;
        let witness = Self {
            boot: boot.trim().to_owned(),
            counter,
            token: String::new(),
        };
        let witness = witness.renew(sandbox).await;
        witness.counts_beyond(sandbox, 0).await;
        witness
    }

    /// Replaces what it keeps, so that a later moment differs from an earlier one. Half of it reaches the disk by itself.
    pub(crate) async fn renew(&self, sandbox: &TestSandbox) -> Self {
        let token = format!("{:016x}", random());
        let write =
            format!("echo {token} | tee /run/token /root/token; sync; echo {token} > /root/late");
        sandbox.sh(&write).await;
        Self {
            token,
            ..self.clone()
        }
    }

    /// That the guest is what it was when this was left; gives how far it has counted.
    pub(crate) async fn check(&self, sandbox: &TestSandbox) -> u64 {
        self.counts_beyond(sandbox, 0).await
    }

    /// The same, and that the guest counts on.
    pub(crate) async fn counts_beyond(&self, sandbox: &TestSandbox, last: u64) -> u64 {
        // What the guest has cached would hide what its disk holds.
        let ask = format!(
            "sync; echo 3 > /proc/sys/vm/drop_caches; kill -0 {} && cat /proc/sys/kernel/random/boot_id \
             /run/token /root/token /root/late /run/count",
            self.counter
        );
        let Self { boot, token, .. } = self;
        let expected = format!("{boot}\n{token}\n{token}\n{token}\n");
        until("the guest's next count", COUNT_LIMIT, || async {
            let said = sandbox.exec(&shell(&ask)).await.unwrap();
            let count = said.stdout.strip_prefix(&expected);
            let count = count.unwrap_or_else(|| panic!("not {expected:?}, but {said:?}"));
            count.trim().parse().ok().filter(|count| *count > last)
        })
        .await
    }
}

/// A random number; tests need no better ones.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}
