//! What a sandbox's policy comes to on this host: a list of subnets, of which the first that an address is in decides.
//!
//! | order | what | decides |
//! |---|---|---|
//! | 1 | the instance's ranges, [`PROTECTED`] | closed |
//! | 2 | the policy's `deny` | closed |
//! | 3 | what the policy allows of what the operator opened | open |
//! | 4 | [`PRIVATE`] | closed |
//! | 5 | the policy's `allow` | open |
//! | 6 | everything else | open, if the policy has `internet` |
//!
//! The host's own addresses are in none of these: packets to them are not passed on, but delivered, and the host's rules
//! drop them there, whatever addresses the host has at that moment.

use wrenn_model::{NetworkPolicy, Subnet};

use crate::error::Refused;
use crate::range::Ranges;
use crate::special::{PRIVATE, PROTECTED};

/// What holds for all sandboxes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The instance's own ranges.
    own: [Subnet; 2],
    /// What of the private ranges the operator opens to policies.
    opened: Vec<Subnet>,
}

/// What is to be done with packets to an address, and with those that come from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) about: Subnet,
    pub(crate) open: bool,
}

impl Bounds {
    /// # Errors
    /// The first of `opened` that is not within one private range.
    pub(crate) fn new(ranges: &Ranges, opened: Vec<Subnet>) -> Result<Self, Subnet> {
        let private = |subnet: &Subnet| PRIVATE.iter().any(|range| range.covers(*subnet));
        if let Some(wrong) = opened.iter().find(|subnet| !private(subnet)) {
            return Err(*wrong);
        }
        Ok(Self {
            own: [ranges.veth.subnet(), ranges.reachable.subnet()],
            opened,
        })
    }

    /// What the operator opens to policies.
    pub(crate) fn opened(&self) -> &[Subnet] {
        &self.opened
    }

    /// Where no guest gets to.
    pub(crate) fn protected(&self) -> impl Iterator<Item = Subnet> + use<> {
        self.own.into_iter().chain(PROTECTED)
    }

    /// Whether a policy asks for nothing that this host never gives. A range that merely contains such addresses is taken:
    /// they stay closed.
    pub(crate) fn check(&self, policy: &NetworkPolicy) -> Result<(), Refused> {
        for allowed in &policy.allow {
            if self.protected().any(|range| range.covers(*allowed)) {
                return Err(Refused::Protected(*allowed));
            }
            let private = PRIVATE.iter().any(|range| range.covers(*allowed));
            if private && !self.opened.iter().any(|range| range.covers(*allowed)) {
                return Err(Refused::NotOpened(*allowed));
            }
        }
        Ok(())
    }

    /// The list that decides. Its last entry is about everything.
    pub(crate) fn decisions(&self, policy: &NetworkPolicy) -> Vec<Decision> {
        let closed = |about| Decision { about, open: false };
        let open = |about| Decision { about, open: true };
        let mut opened: Vec<Subnet> = (policy.allow.iter())
            .flat_map(|allowed| self.opened.iter().map(|range| allowed.intersection(*range)))
            .flatten()
            .collect();
        opened.sort();
        opened.dedup();
        let mut decisions: Vec<_> = self.protected().map(closed).collect();
        decisions.extend(policy.deny.iter().copied().map(closed));
        decisions.extend(opened.into_iter().map(open));
        decisions.extend(PRIVATE.map(closed));
        if !policy.internet {
            decisions.extend(policy.allow.iter().copied().map(open));
        }
        decisions.push(Decision {
            about: Subnet::EVERYTHING,
            open: policy.internet,
        });
        decisions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn bounds(opened: &[&str]) -> Bounds {
        Bounds::new(&Ranges::default(), subnets(opened)).unwrap()
    }

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn policy(internet: bool, allow: &[&str], deny: &[&str]) -> NetworkPolicy {
        NetworkPolicy {
            internet,
            allow: subnets(allow),
            deny: subnets(deny),
        }
    }

    fn reaches(bounds: &Bounds, policy: &NetworkPolicy, address: Ipv4Addr) -> bool {
        let decisions = bounds.decisions(policy);
        let first = decisions
            .iter()
            .find(|decision| decision.about.contains(address));
        first.unwrap().open
    }

    #[test]
    fn the_internet_and_nothing_else_is_the_default() {
        let (bounds, policy) = (bounds(&["192.168.0.0/16"]), NetworkPolicy::default());
        assert!(reaches(&bounds, &policy, Ipv4Addr::new(1, 1, 1, 1)));
        for closed in [
            "10.11.0.1",
            "10.12.0.9",
            "192.168.1.1",
            "169.254.169.254",
            "127.0.0.1",
        ] {
            assert!(
                !reaches(&bounds, &policy, closed.parse().unwrap()),
                "{closed}"
            );
        }
    }

    #[test]
    fn what_no_host_gives_is_refused_by_name() {
        let bounds = bounds(&["192.168.7.0/24"]);
        let check = |allowed: &str| bounds.check(&policy(true, &[allowed], &[]));
        for fine in [
            "1.1.1.1/32",
            "192.168.7.0/24",
            "192.168.7.9/32",
            "0.0.0.0/0",
            "128.0.0.0/1",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for never in [
            "169.254.169.254/32",
            "127.0.0.0/8",
            "10.12.3.0/24",
            "10.11.0.0/16",
        ] {
            assert!(
                matches!(check(never), Err(Refused::Protected(_))),
                "{never}"
            );
        }
        for private in [
            "192.168.8.0/24",
            "192.168.0.0/16",
            "10.0.0.0/8",
            "100.64.0.1/32",
        ] {
            assert!(
                matches!(check(private), Err(Refused::NotOpened(_))),
                "{private}"
            );
        }
    }

    #[test]
    fn an_operator_opens_private_ranges_alone() {
        let open = |text: &str| Bounds::new(&Ranges::default(), subnets(&[text]));
        assert!(open("10.20.0.0/16").is_ok() && open("100.64.0.0/10").is_ok());
        for wrong in ["0.0.0.0/0", "1.1.1.1/32", "169.254.0.0/16", "192.0.0.0/8"] {
            assert!(open(wrong).is_err(), "{wrong}");
        }
    }

    /// Subnets that meet each other, the special ranges and the instance's own often enough.
    fn some_subnets() -> impl Strategy<Value = Vec<Subnet>> {
        let interesting = prop_oneof![
            Just(Ipv4Addr::new(10, 11, 0, 5)),
            Just(Ipv4Addr::new(10, 12, 1, 0)),
            Just(Ipv4Addr::new(10, 99, 1, 1)),
            Just(Ipv4Addr::new(192, 168, 7, 7)),
            Just(Ipv4Addr::new(169, 254, 169, 254)),
            Just(Ipv4Addr::new(1, 1, 1, 1)),
            any::<u32>().prop_map(Ipv4Addr::from),
        ];
        let one =
            (interesting, 0..=32_u8).prop_map(|(address, prefix)| Subnet::new(address, prefix));
        proptest::collection::vec(one, 0..6)
    }

    fn within(list: &[Subnet], address: Ipv4Addr) -> bool {
        list.iter().any(|subnet| subnet.contains(address))
    }

    proptest! {
        /// The list against the sentence: protected never; else denied never; else private if allowed and opened; else
        /// public if allowed or with internet.
        #[test]
        fn the_list_says_what_the_sentence_says(
            internet: bool,
            allow in some_subnets(),
            deny in some_subnets(),
            opened in some_subnets(),
            random in any::<u32>(),
        ) {
            let opened: Vec<_> = opened
                .into_iter()
                .filter(|subnet| PRIVATE.iter().any(|range| range.covers(*subnet)))
                .collect();
            let bounds = Bounds::new(&Ranges::default(), opened.clone()).unwrap();
            let policy = NetworkPolicy { internet, allow, deny };
            // Both ends of every subnet that plays a part, just beyond them, and anywhere.
            let mut addresses = vec![Ipv4Addr::from(random)];
            for subnet in policy.allow.iter().chain(&policy.deny).chain(&opened).chain(&PRIVATE).chain(&PROTECTED) {
                let first = subnet.address().to_bits();
                let last = first | !subnet.mask().to_bits();
                addresses.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv4Addr::from));
            }
            for address in addresses {
                let own = [Ranges::default().veth.subnet(), Ranges::default().reachable.subnet()];
                let expected = if within(&PROTECTED, address) || within(&own, address) || within(&policy.deny, address) {
                    false
                } else if within(&PRIVATE, address) {
                    within(&policy.allow, address) && within(&opened, address)
                } else {
                    policy.internet || within(&policy.allow, address)
                };
                prop_assert_eq!(reaches(&bounds, &policy, address), expected, "{}", address);
            }
        }
    }
}
