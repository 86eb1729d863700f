//! What the agent tells of itself, number by number.

use std::path::Path;

use anyhow::{Context, Result};

use crate::agent_rpc::AgentRpc;

/// The one without labels that has this name, of the agent of a data directory.
pub(super) async fn of_agent(data: &Path, name: &str) -> Result<u32> {
    let text = AgentRpc::new(data).metrics().await?;
    value(&text, name).with_context(|| format!("the agent does not tell {name}"))
}

fn value(text: &str, name: &str) -> Option<u32> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let text = "# TYPE starts gauge\nstarts_most 7\nstarts{of=\"a\"} 3\nstarts 2\n";
        assert_eq!(value(text, "starts"), Some(2));
        assert_eq!(value(text, "starts_most"), Some(7));
        assert_eq!(value(text, "start"), None);
    }
}
