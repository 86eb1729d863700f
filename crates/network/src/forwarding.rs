//! The host's switch for forwarding packets: on while an instance stands, and off afterwards if it was off before.
//!
//! That it was off is remembered as the comment of each instance's table, where an administrator sees it too. It goes
//! with a reboot, as the switch does.

use std::io;

use crate::nft::{self, Family};
use crate::sysctl;

const SWITCH: &str = "ipv4/ip_forward";
const WAS_OFF: &str = "forwarding was off before";

/// The comment for a table that is to be written: whether forwarding was off before the first instance came.
pub(crate) fn remembered() -> io::Result<Option<&'static str>> {
    let by_another = instances()?.any(|table| table.comment.as_deref() == Some(WAS_OFF));
    Ok((by_another || !sysctl::is_on(SWITCH)?).then_some(WAS_OFF))
}

/// Turns it on. A host that does so already is left alone, since the kernel sets other switches back with it.
pub(crate) fn turn_on() -> io::Result<()> {
    if !sysctl::is_on(SWITCH)? {
        sysctl::set(SWITCH, "1")?;
    }
    Ok(())
}

/// Turns it off if it was off before, and `table` is the last of all instances.
pub(crate) fn turn_back(table: &str) -> io::Result<()> {
    let (own, others): (Vec<_>, Vec<_>) = instances()?.partition(|stands| stands.name == table);
    let was_off = own
        .iter()
        .any(|own| own.comment.as_deref() == Some(WAS_OFF));
    if was_off && others.is_empty() {
        sysctl::set(SWITCH, "0")?;
    }
    Ok(())
}

fn instances() -> io::Result<impl Iterator<Item = nft::TableName>> {
    let tables = nft::tables(Family::Ip)?;
    Ok(tables
        .into_iter()
        .filter(|table| table.name.starts_with("wrenn-")))
}
