//! A host whose disk fills up under a guest: the guest freezes, callers are told, and it goes on when there is room.

use std::time::{Duration, SystemTime};

use wrenn_client::Error;

use crate::harness::{Server, SmallDisk, TestSandbox, shell, until};

#[tokio::test]
async fn a_full_disk_freezes_the_guest_until_there_is_room() {
    let disk = SmallDisk::new(3 << 30);
    {
        let server = Server::start_in(&disk.path());
        let client = server.client();
        let sandbox = TestSandbox::create(&client).await;
        let filler = disk.fill_but(40 << 20);

        let mut write =
            shell("dd if=/dev/urandom of=/root/big bs=1M count=120 && sync && echo whole");
        write.timeout_sec = Some(300);
        let (writer, id) = (client.clone(), sandbox.id.clone());
        let writing = tokio::spawn(async move { writer.exec(&id, &write).await });
        let frozen = until("the freeze", Duration::from_secs(120), || async {
            let now = sandbox.now().await;
            now.status_reason.is_some().then_some(now)
        })
        .await;
        assert_eq!(frozen.status, "running");
        assert!(frozen.status_reason.unwrap().contains("disk is full"));

        let Err(Error::Api(refused)) = sandbox.exec(&shell("true")).await else {
            panic!("a frozen guest took a call");
        };
        assert_eq!(refused.status.map(|status| status.as_u16()), Some(507));
        let more = client.create_sandbox(&Default::default()).await;
        assert!(matches!(more, Err(Error::Api(error)) if error.code == "resource_exhausted"));

        // Long enough for its clock to fall behind by more than it may.
        tokio::time::sleep(Duration::from_secs(6)).await;
        std::fs::remove_file(filler).unwrap();
        let written = writing.await.unwrap().unwrap();
        assert!(written.stdout.contains("whole"), "{written:?}");
        assert_eq!(sandbox.now().await.status_reason, None);
        assert_eq!(sandbox.sh("stat -c %s /root/big").await.trim(), "125829120");
        until("its clock", Duration::from_secs(30), || async {
            let there: u64 = sandbox.sh("date +%s").await.trim().parse().unwrap();
            let here = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
            (there.abs_diff(here) <= 2).then_some(())
        })
        .await;
        sandbox.delete().await;
    }
}
