//! The store as its users see it, with trees of a few files in place of Debian.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::kernel::tests::made;
use crate::{DEFAULT_KERNEL, Silent};

/// A data directory's store and its cache.
struct World {
    _dir: tempfile::TempDir,
    store: PathBuf,
    images: Images,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        let cache = Cache::new(dir.path().join("cache"));
        Self {
            images: Images::open(&store, cache).unwrap(),
            store,
            _dir: dir,
        }
    }

    async fn build(&self, recipe: &Recipe) -> Result<Template> {
        self.images
            .build_from(recipe, small_tree, Reuse::Present, &Silent)
            .await
    }

    /// Every template in the store, after a look at whether each is whole.
    fn whole_templates(&self) -> Vec<Template> {
        let templates = self.images.templates().unwrap();
        for template in &templates {
            let image = File::open(&template.image).unwrap();
            assert_eq!(hash::sparse(&image).unwrap(), template.image_id);
        }
        templates
    }

    /// Puts a finished kernel into the cache, as a build would.
    async fn cache_kernel(&self, release: &str) {
        let key = kernel::key(DEFAULT_KERNEL);
        let claim = self
            .images
            .cache
            .claim("kernels", &key, true, &Silent)
            .await;
        let Claim::Absent(slot) = claim.unwrap() else {
            panic!("it was to be made anew");
        };
        made(slot.path(), release);
        fs::remove_dir_all(slot.path().with_extension("package")).unwrap();
        slot.settle(Ok(())).await.unwrap();
    }
}

async fn small_tree(dir: &Path) -> Result<Rootfs> {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    tokio::task::yield_now().await;
    fs::write(tree.join("bin/sh"), "a shell").unwrap();
    let packages = b"dash 1\n".to_vec();
    Ok(Rootfs { tree, packages })
}

fn recipe(name: &str, text: &str) -> Recipe {
    Recipe::parse(name, &format!("size_gib = 1\n{text}")).unwrap()
}

/// Polls a future so many times and drops it then; says whether it ended before.
async fn polled(times: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_template_is_built_listed_and_deleted() {
    let world = World::new();
    let built = world.build(&recipe("small", "")).await.unwrap();
    assert_eq!(built.virtual_size, 1 << 30);
    assert!(built.allocated < 64 << 20, "{} bytes", built.allocated);
    let meta = fs::metadata(&built.image).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o444, 0));
    assert_eq!(world.whole_templates(), std::slice::from_ref(&built));
    let packages = built.image.with_file_name("packages.txt");
    assert_eq!(fs::read(packages).unwrap(), b"dash 1\n");
    world
        .images
        .delete_template(&built.name, &Silent)
        .await
        .unwrap();
    assert!(world.whole_templates().is_empty());
    let absent = world.images.delete_template(&built.name, &Silent).await;
    assert!(matches!(absent, Err(Error::NoTemplate(_))));
}

#[tokio::test]
async fn the_same_recipe_is_built_once_whatever_its_name() {
    let world = World::new();
    let first = world.build(&recipe("first", "")).await.unwrap();
    let never = async |_: &Path| -> Result<Rootfs> { panic!("it is cached") };
    let second = recipe("second", "");
    let second = world
        .images
        .build_from(&second, never, Reuse::Present, &Silent);
    assert_eq!(second.await.unwrap().image_id, first.image_id);
    let again = recipe("first", "");
    let again = world
        .images
        .build_from(&again, never, Reuse::Present, &Silent);
    assert_eq!(again.await.unwrap(), first);
}

#[tokio::test]
async fn a_store_serves_what_it_has_without_the_cache() {
    let world = World::new();
    let built = world.build(&recipe("small", "")).await.unwrap();
    world.cache_kernel("6.1.0-test").await;
    let kernel = world
        .images
        .ensure_kernel(DEFAULT_KERNEL, Reuse::Present, &Silent)
        .await
        .unwrap();
    fs::remove_dir_all(world.store.with_file_name("cache")).unwrap();
    assert_eq!(world.build(&recipe("small", "")).await.unwrap(), built);
    let stored = world
        .images
        .ensure_kernel(DEFAULT_KERNEL, Reuse::Present, &Silent)
        .await
        .unwrap();
    assert_eq!(stored, kernel);
}

#[tokio::test]
async fn a_changed_recipe_replaces_the_template_but_not_under_a_sandbox() {
    let world = World::new();
    let old = world.build(&recipe("small", "")).await.unwrap();
    let link = world.store.join("sandbox");
    fs::hard_link(&old.image, &link).unwrap();
    let new = world
        .build(&recipe("small", "packages = ['x']"))
        .await
        .unwrap();
    assert_ne!(new.image_id, old.image_id);
    assert_eq!(world.whole_templates(), [new]);
    let kept = hash::sparse(&File::open(&link).unwrap()).unwrap();
    assert_eq!(kept, old.image_id);
}

#[tokio::test]
async fn a_build_that_fails_leaves_the_template_as_it_was() {
    let world = World::new();
    let old = world.build(&recipe("small", "")).await.unwrap();
    let broken = async |_: &Path| -> Result<Rootfs> {
        Err(Error::NoArchive {
            suite: "x".to_owned(),
        })
    };
    let changed = recipe("small", "packages = ['x']");
    let failed = world
        .images
        .build_from(&changed, broken, Reuse::Present, &Silent);
    failed.await.unwrap_err();
    assert_eq!(world.whole_templates(), [old]);
    world.build(&changed).await.unwrap();
}

#[tokio::test]
async fn a_build_broken_off_anywhere_leaves_no_half_template_and_the_next_one_works() {
    let mut phases = 0;
    loop {
        let world = World::new();
        let recipe = recipe("small", "");
        let ended = polled(phases, world.build(&recipe)).await;
        let seen = world.whole_templates().len();
        assert!(seen <= 1, "{seen} templates after {phases} polls");
        world.build(&recipe).await.unwrap();
        assert_eq!(world.whole_templates().len(), 1);
        if ended {
            break;
        }
        phases += 1;
    }
    assert!(phases > 4, "only {phases} phases were tried");
}

#[tokio::test]
async fn a_new_kernel_stands_beside_the_old_and_is_taken() {
    let world = World::new();
    let ensure = || {
        world
            .images
            .ensure_kernel(DEFAULT_KERNEL, Reuse::Present, &Silent)
    };
    world.cache_kernel("6.1.0-1").await;
    let old = ensure().await.unwrap();
    assert_eq!(ensure().await.unwrap(), old);
    world.cache_kernel("6.1.0-2").await;
    // The store's own is enough until it is asked for anew.
    assert_eq!(ensure().await.unwrap(), old);
    fs::remove_dir_all(old.vmlinux.parent().unwrap()).unwrap();
    let new = ensure().await.unwrap();
    assert_eq!(new.release, "6.1.0-2");
    assert_ne!(new.id, old.id);
}

#[tokio::test]
async fn an_initramfs_is_named_by_what_is_in_it() {
    let world = World::new();
    world.cache_kernel("6.1.0-test").await;
    let kernel = world
        .images
        .ensure_kernel(DEFAULT_KERNEL, Reuse::Present, &Silent)
        .await
        .unwrap();
    let one = world
        .images
        .ensure_initramfs(&kernel, b"envd 1")
        .await
        .unwrap();
    let two = world
        .images
        .ensure_initramfs(&kernel, b"envd 2")
        .await
        .unwrap();
    assert_ne!(one, two);
    assert_eq!(
        world
            .images
            .ensure_initramfs(&kernel, b"envd 1")
            .await
            .unwrap(),
        one
    );
    let meta = fs::metadata(&one).unwrap();
    assert_eq!((meta.len() % 4096, meta.mode() & 0o777), (0, 0o444));
}

#[test]
fn a_build_can_run_on_any_thread() {
    fn is_send(_: &impl Send) {}

    let world = World::new();
    let recipe = recipe("small", "");
    is_send(
        &world
            .images
            .build_template(&recipe, Reuse::Present, &Silent),
    );
    is_send(
        &world
            .images
            .ensure_kernel(DEFAULT_KERNEL, Reuse::Present, &Silent),
    );
}
