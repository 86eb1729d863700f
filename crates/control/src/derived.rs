//! Ids and names that follow from an id that was chosen before: who takes a call over from a dead server looks for what it made
//! by them.

use sha2::{Digest as _, Sha256};
use wrenn_model::{SandboxId, TemplateName};

/// The name of a snapshot for which none was given: `template-` and 8 hex digits.
#[must_use]
pub fn snapshot_name(planned: &SandboxId) -> TemplateName {
    let digest = digest(planned, 0);
    let hex: String = digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    #[expect(clippy::expect_used, reason = "a valid name, by a test")]
    format!("template-{hex}").parse().expect("a valid name")
}

/// The children of a fork, in their order.
#[must_use]
pub fn children(planned: &SandboxId, count: u32) -> Vec<SandboxId> {
    (1..=count).map(|number| child(planned, number)).collect()
}

fn child(planned: &SandboxId, number: u32) -> SandboxId {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let letters: String = digest(planned, number)[..20]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 36)]))
        .collect();
    #[expect(clippy::expect_used, reason = "a valid id, by a test")]
    format!("sb-{letters}").parse().expect("a valid id")
}

fn digest(planned: &SandboxId, number: u32) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(planned.as_str());
    digest.update(number.to_le_bytes());
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_follows_is_always_the_same_and_never_another_s() {
        let (one, other) = (SandboxId::random(), SandboxId::random());
        assert_eq!(snapshot_name(&one), snapshot_name(&one));
        assert_eq!(snapshot_name(&one).as_str().len(), "template-".len() + 8);
        assert_eq!(children(&one, 100)[..7], children(&one, 7));
        let all: BTreeSet<_> = [&one, &other]
            .into_iter()
            .flat_map(|planned| children(planned, 100))
            .chain([one.clone(), other.clone()])
            .collect();
        assert_eq!(all.len(), 202);
    }
}
