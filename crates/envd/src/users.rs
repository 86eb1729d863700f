//! Users and groups of the guest, read from /etc/passwd and /etc/group. The C library's look-ups would load modules that
//! the guest's nsswitch.conf names into this process.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// How much of each file is read.
const MAX_FILE: u64 = 1 << 20;

/// One line of /etc/passwd, with the groups that /etc/group adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
    pub(crate) shell: String,
    /// Supplementary groups, `gid` among them.
    pub(crate) groups: Vec<u32>,
}

#[cfg(test)]
impl User {
    /// Whoever runs the tests.
    pub(crate) fn me() -> Self {
        Self {
            name: String::new(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            home: PathBuf::new(),
            shell: String::new(),
            groups: Vec::new(),
        }
    }
}

/// Both files as they stood at one moment.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the files anew: a command may just have added a user. An absent file is an empty one.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self {
            passwd: read("/etc/passwd")?,
            group: read("/etc/group")?,
        })
    }

    /// The user of this name. `root` exists even where no file says so.
    pub(crate) fn user(&self, name: &str) -> Option<User> {
        let found = lines::<7>(&self.passwd)
            .find(|fields| fields[0] == name)
            .and_then(|fields| {
                let gid = fields[3].parse().ok()?;
                Some(User {
                    name: name.to_owned(),
                    uid: fields[2].parse().ok()?,
                    gid,
                    home: PathBuf::from(if fields[5].is_empty() { "/" } else { fields[5] }),
                    shell: if fields[6].is_empty() {
                        "/bin/sh"
                    } else {
                        fields[6]
                    }
                    .to_owned(),
                    groups: self.groups_of(name, gid),
                })
            });
        found.or_else(|| (name == "root").then(root))
    }

    /// The name of a user id.
    pub(crate) fn user_name(&self, uid: u32) -> Option<&str> {
        let uid = uid.to_string();
        lines::<7>(&self.passwd)
            .find(|fields| fields[2] == uid)
            .map(|fields| fields[0])
    }

    /// The name of a group id.
    pub(crate) fn group_name(&self, gid: u32) -> Option<&str> {
        let gid = gid.to_string();
        lines::<4>(&self.group)
            .find(|fields| fields[2] == gid)
            .map(|fields| fields[0])
    }

    fn groups_of(&self, name: &str, own: u32) -> Vec<u32> {
        let mut groups: Vec<u32> = lines::<4>(&self.group)
            .filter(|fields| fields[3].split(',').any(|member| member == name))
            .filter_map(|fields| fields[2].parse().ok())
            .chain([own])
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

fn root() -> User {
    User {
        name: "root".to_owned(),
        uid: 0,
        gid: 0,
        home: PathBuf::from("/root"),
        shell: "/bin/sh".to_owned(),
        groups: vec![0],
    }
}

fn read(path: &str) -> io::Result<String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines that have exactly `N` fields; comments and broken lines have another number.
fn lines<const N: usize>(text: &str) -> impl Iterator<Item = [&str; N]> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.try_into().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\n# no user\nbroken:x:1\nuser:x:1000:1000:,,,:/home/user:\n\
                     odd:x:minus:5::/:/bin/sh\nbare:x:7:8:::\n"
                .to_owned(),
            group: "root:x:0:\nsudo:x:27:other,user\nuser:x:1000:user\nuserx:x:5:userx\n".to_owned(),
        }
    }

    #[test]
    fn finds_users_with_their_groups() {
        let user = accounts().user("user").unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1000));
        assert_eq!(user.home, PathBuf::from("/home/user"));
        assert_eq!(user.shell, "/bin/sh");
        assert_eq!(user.groups, [27, 1000]);
        assert_eq!(accounts().user("root").unwrap().shell, "/bin/bash");
        assert_eq!(accounts().user("bare").unwrap().home, PathBuf::from("/"));
    }

    #[test]
    fn broken_lines_are_nobody() {
        for name in ["broken", "odd", "# no user", "", "nobody", "user:x"] {
            assert_eq!(accounts().user(name), None, "{name}");
        }
    }

    #[test]
    fn root_needs_no_file() {
        assert_eq!(Accounts::default().user("root").unwrap().uid, 0);
        assert_eq!(Accounts::default().user("user"), None);
    }

    #[test]
    fn names_ids() {
        assert_eq!(accounts().user_name(1000), Some("user"));
        assert_eq!(accounts().group_name(27), Some("sudo"));
        assert_eq!(accounts().group_name(4), None);
    }
}
