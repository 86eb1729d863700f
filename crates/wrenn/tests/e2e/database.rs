//! `wrenn up` over PostgreSQL: the control plane, which is shut off from everything else, reaches its socket.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use wrenn_testkit::postgres::Cluster;

use crate::harness::{Server, TestSandbox, until};

#[tokio::test]
async fn a_confined_control_plane_reaches_the_socket_of_its_database() {
    let cluster = Cluster::start();
    // As Debian's is, which every user may enter.
    fs::set_permissions(cluster.folder(), Permissions::from_mode(0o711)).unwrap();
    let mut server = Server::start_with_env(&[("WRENN_DATABASE_URL", cluster.database().into())]);
    assert!(!server.data().join("server/wrenn.db").exists());
    let client = server.client();
    let sandbox = TestSandbox::create(&client).await;

    cluster.stop();
    let away = client.sandbox(&sandbox.id).await.unwrap_err();
    assert_eq!(away.api().unwrap().code, "unavailable");
    cluster.restart();
    let back = async || client.sandbox(&sandbox.id).await.ok();
    until("the database", Duration::from_secs(10), back).await;

    // Killed and started again, it knows what it knew.
    server.kill();
    server.resume();
    let again = server.client().sandbox(&sandbox.id).await.unwrap();
    assert_eq!(again.status, "running");
    server.client().delete_sandbox(&sandbox.id).await.unwrap();
}
