//! What the control plane knows, in SQL.
