//! Boot images that the configuration does not name are a cache of so many bytes, and nobody who was made of one needs it.

use std::collections::BTreeSet;
use std::time::Duration;

use wrenn_client::api::CreateSandbox;

use crate::harness::{Server, TestSandbox, until};

/// The guest memory of the configured shape and of three others, in MiB: each shape has an image of its own.
const KEPT: u32 = 128;
const OTHERS: [u32; 3] = [136, 144, 152];

/// How long it may take until nothing is made any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

async fn create(server: &Server, memory_mb: u32) -> TestSandbox {
    let request = CreateSandbox {
        memory_mb: Some(memory_mb.into()),
        ..CreateSandbox::default()
    };
    let sandbox = TestSandbox::create_with(&server.client(), request).await;
    assert_eq!(sandbox.sh("echo here").await, "here\n");
    sandbox
}

/// Waits until as many stand ready as are to, so that nobody uses an image unasked; gives the images' names.
async fn settled(server: &Server) -> BTreeSet<String> {
    until("what stands ready", SETTLE_LIMIT, || async {
        let pools = server.client().pools().await.ok()?.pools;
        let full = pools.iter().all(|pool| pool.ready == pool.wanted);
        let kept = pools.iter().any(|pool| pool.configured && pool.image);
        (full && kept).then_some(())
    })
    .await;
    names(server)
}

fn names(server: &Server) -> BTreeSet<String> {
    let images = server.data().join("store/boot-images").read_dir().unwrap();
    let names = images.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // One that goes is hidden for a moment.
    names.filter(|name| !name.starts_with('.')).collect()
}

/// What all images take of the disk, in bytes.
async fn bytes(server: &Server) -> u64 {
    server.client().pools().await.unwrap().image_bytes
}

fn made(server: &Server) -> usize {
    server.log().matches("a boot image was made").count()
}

/// Starts the server anew, with so much room for images.
fn bound(server: &mut Server, mib: u64) {
    server.terminate();
    server.set_env("WRENN_BOOT_IMAGES_MB", &mib.to_string());
    server.resume();
}

#[tokio::test]
async fn boot_images_take_no_more_than_they_may_and_whoever_is_made_of_one_does_not_need_it() {
    let mut server = Server::start_with_env(&[
        ("WRENN_BOOT_IMAGES_MB", "2048".into()),
        ("WRENN_POOL", format!("minimal:1:{KEPT}=0").into()),
    ]);
    let kept = settled(&server).await;
    let kept_bytes = bytes(&server).await;
    let [first, second, third] = OTHERS;
    let mut of_first = create(&server, first).await;
    let with_first = names(&server);
    let first_bytes = bytes(&server).await - kept_bytes;
    let mut of_second = create(&server, second).await;
    of_second.sh("echo kept > /dev/shm/kept").await;
    let with_second = settled(&server).await;
    assert_eq!(
        [kept.len(), with_first.len(), with_second.len()],
        [1, 2, 3],
        "each shape has an image"
    );

    // There is room for two beside the one that is kept. The second is the one that nobody has used since the start.
    let most = (bytes(&server).await - kept_bytes + first_bytes / 2) >> 20;
    bound(&mut server, most);
    create(&server, first).await.delete().await;
    assert_eq!(settled(&server).await, with_second);
    create(&server, third).await.delete().await;
    let with_third = settled(&server).await;
    assert_eq!(with_third.len(), 3);
    assert!(with_third.is_superset(&with_first), "it was used lately");
    let cached = bytes(&server).await - kept_bytes;
    assert!(cached <= most << 20, "{cached} of {most} MiB");

    // Whoever is of the one that went goes on, and the next of its shape has it made anew.
    of_second.client = server.client();
    of_second.pause().await;
    of_second.resume().await;
    assert_eq!(of_second.sh("cat /dev/shm/kept").await, "kept\n");
    let before = made(&server);
    create(&server, second).await.delete().await;
    assert_eq!(made(&server), before + 1);
    let with_both = settled(&server).await;
    let of_all: BTreeSet<_> = with_second.union(&with_third).cloned().collect();
    let gone: BTreeSet<_> = of_all.difference(&with_both).collect();
    assert_eq!(gone, with_first.difference(&kept).collect());

    // With room for none, all go but that which is kept, and nobody makes one again and again.
    bound(&mut server, 1);
    until("the last image", SETTLE_LIMIT, || async {
        (names(&server) == kept).then_some(())
    })
    .await;
    for _ in 0..2 {
        create(&server, third).await.delete().await;
    }
    assert_eq!(made(&server), 1);
    assert_eq!(names(&server), kept);
    of_first.client = server.client();
    of_first.pause().await;
    of_first.resume().await;
    assert_eq!(of_first.sh("echo here").await, "here\n");
}
