//! What a caller is told of one entry.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wrenn_envd_api::Timestamp;
use wrenn_envd_api::filesystem::{EntryInfo, FileType};

use crate::users::Accounts;

/// What stands at `path`. A link is told as a link, with where it leads; its type and size are the target's, as long as
/// there is one.
pub(super) fn info(path: &Path, accounts: &Accounts) -> io::Result<EntryInfo> {
    let own = fs::symlink_metadata(path)?;
    let is_link = own.is_symlink();
    let target = if is_link {
        fs::metadata(path).ok()
    } else {
        None
    };
    let kind = match &target {
        Some(target) => kind(target),
        None => kind(&own),
    };
    let owner = |id: u32, name: Option<&str>| name.map_or_else(|| id.to_string(), str::to_owned);
    let mode = own.mode() & 0o7777;
    Ok(EntryInfo {
        name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        r#type: kind.into(),
        path: path.to_string_lossy().into_owned(),
        size: i64::try_from(target.as_ref().unwrap_or(&own).len()).unwrap_or(i64::MAX),
        mode,
        permissions: permissions(&own),
        owner: owner(own.uid(), accounts.user_name(own.uid())),
        group: owner(own.gid(), accounts.group_name(own.gid())),
        modified_time: Some(Timestamp {
            seconds: own.mtime(),
            nanos: i32::try_from(own.mtime_nsec()).unwrap_or_default(),
            ..Default::default()
        })
        .into(),
        symlink_target: is_link
            .then(|| fs::canonicalize(path).or_else(|_| fs::read_link(path)))
            .and_then(Result::ok)
            .map(|target| target.to_string_lossy().into_owned()),
        ..Default::default()
    })
}

fn kind(metadata: &Metadata) -> FileType {
    if metadata.is_dir() {
        FileType::FILE_TYPE_DIRECTORY
    } else if metadata.is_symlink() {
        FileType::FILE_TYPE_SYMLINK
    } else if metadata.is_file() {
        FileType::FILE_TYPE_FILE
    } else {
        FileType::FILE_TYPE_UNSPECIFIED
    }
}

/// As `ls -l` prints it: `drwxr-xr-x`.
fn permissions(metadata: &Metadata) -> String {
    let kind = match kind(metadata) {
        FileType::FILE_TYPE_DIRECTORY => 'd',
        FileType::FILE_TYPE_SYMLINK => 'l',
        FileType::FILE_TYPE_FILE | FileType::FILE_TYPE_UNSPECIFIED => '-',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    std::iter::once(kind)
        .chain(bits.map(|(bit, letter)| {
            if metadata.mode() >> bit & 1 == 1 {
                letter
            } else {
                '-'
            }
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn tells_files_directories_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, lost) = (
            dir.path().join("file"),
            dir.path().join("link"),
            dir.path().join("lost"),
        );
        fs::write(&file, "four").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        symlink("nowhere", &lost).unwrap();
        let info = |path: &Path| info(path, &Accounts::default()).unwrap();

        let told = info(&file);
        assert_eq!(told.r#type.to_i32(), FileType::FILE_TYPE_FILE as i32);
        assert_eq!(
            (told.name.as_str(), told.size, told.mode),
            ("file", 4, 0o640)
        );
        assert_eq!(told.permissions, "-rw-r-----");
        assert_eq!(told.symlink_target, None);

        let told = info(dir.path());
        assert_eq!(told.r#type.to_i32(), FileType::FILE_TYPE_DIRECTORY as i32);
        assert!(told.permissions.starts_with('d'));

        let told = info(&link);
        assert_eq!(told.r#type.to_i32(), FileType::FILE_TYPE_FILE as i32);
        assert_eq!(told.symlink_target.as_deref(), file.to_str());

        let told = info(&lost);
        assert_eq!(told.r#type.to_i32(), FileType::FILE_TYPE_SYMLINK as i32);
        assert_eq!(told.symlink_target.as_deref(), Some("nowhere"));
    }
}
