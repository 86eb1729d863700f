//! A microVM as a process: start, adopt, watch, end.
