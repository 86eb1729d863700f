//! End to end: the real binary, real microVMs, from an HTTP request to PID 1 of the guest and back.
//!
//! Runs inside the world (`scripts/in-world cargo test -p wrenn --test e2e`), so that no packet leaves the machine.
//! Kernel and template come from the cache (WRENN_CACHE), made before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admission;
mod apart;
mod apart_tls;
mod backup;
mod bad_input;
mod boot_images;
mod cli;
mod cli_copies;
mod database;
mod destroy;
mod disk_full;
mod exec;
mod fault_walks;
mod faults;
mod faults_long;
mod files;
mod firecracker;
mod forks;
mod harness;
mod host_clock;
mod host_disk;
mod host_files;
mod host_memory;
mod host_reboot;
mod hostile_agent;
mod hostile_network;
mod hostile_output;
mod hostile_processes;
mod installed;
mod lifecycle;
mod metrics;
mod network_policy;
mod page_server_faults;
mod pause_damage;
mod pause_disk_full;
mod pause_faults;
mod pause_faults_archive;
mod pause_faults_resume;
mod pause_identity;
mod pause_races;
mod pause_rounds;
mod pause_timeout;
mod pool_faults;
mod pools;
mod ready_slots;
mod restart;
mod snapshots;
mod soak;
mod start;
mod stream;
mod sweep;
mod terminal;
mod traces;
mod whole_life;
