//! What the tests of faults do to a sandbox for each operation of the agent, and what it is before and after: over the fake VMM
//! and over real ones.

/// How an operation is brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A sandbox is asked for.
    Create,
    /// It is paused.
    Pause,
    /// It is resumed.
    Resume,
    /// It is destroyed.
    Destroy,
    /// A pause that succeeds gives its virtual machine back.
    Retire,
    /// A virtual machine that is killed is given back.
    Release,
    /// An archive is made of a pause.
    Export,
    /// A sandbox is made of an archive.
    Import,
    /// The internet is forbidden.
    Network,
    /// The agent dies, and its next start finds what it left.
    Recover,
    /// One is made from a snapshot.
    Clone,
    /// One takes what stands ready.
    Take,
    /// One is made of a shape that there is no boot image of, whose guest comes up for that first.
    Settle,
    /// The same, while the image is made of it.
    Image,
    /// Something is made to stand ready.
    Fill,
    /// A VMM is started that only has to load a state.
    StandBy,
    /// A snapshot is made of it.
    Snapshot,
    /// It is forked.
    Fork,
}

/// What a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// There is none.
    Gone,
    /// Its guest runs.
    Running,
    /// It is paused.
    Paused,
    /// It has no virtual machine, and was not paused.
    Error,
}

impl Act {
    /// That of the operation with this name.
    ///
    /// # Panics
    /// One that is not known here is not tested, and may not be forgotten.
    #[must_use]
    pub fn of(operation: &str) -> Self {
        match operation {
            "create" => Self::Create,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "destroy" => Self::Destroy,
            "retire" => Self::Retire,
            "release" => Self::Release,
            "export" => Self::Export,
            "import" => Self::Import,
            "network" => Self::Network,
            "recover" => Self::Recover,
            "clone" => Self::Clone,
            "take" => Self::Take,
            "settle" => Self::Settle,
            "image" => Self::Image,
            "fill" => Self::Fill,
            "standby" => Self::StandBy,
            "snapshot" => Self::Snapshot,
            "fork" => Self::Fork,
            other => panic!("the operation {other} has no walk: how is it brought about?"),
        }
    }

    /// What the sandbox is before, and when it has been done.
    #[must_use]
    pub fn path(self) -> (Fate, Fate) {
        match self {
            Self::Create | Self::Clone | Self::Take | Self::Settle | Self::Image => {
                (Fate::Gone, Fate::Running)
            }
            Self::Fill | Self::StandBy => (Fate::Gone, Fate::Gone),
            Self::Snapshot | Self::Fork => (Fate::Running, Fate::Running),
            Self::Pause | Self::Retire => (Fate::Running, Fate::Paused),
            Self::Resume => (Fate::Paused, Fate::Running),
            Self::Destroy => (Fate::Running, Fate::Gone),
            Self::Release => (Fate::Running, Fate::Error),
            Self::Export => (Fate::Paused, Fate::Paused),
            Self::Import => (Fate::Gone, Fate::Paused),
            Self::Network | Self::Recover => (Fate::Running, Fate::Running),
        }
    }

    /// Whether a fault in it is tried again until it is done, since it must be.
    #[must_use]
    pub fn insists(self) -> bool {
        matches!(
            self,
            Self::Destroy | Self::Retire | Self::Release | Self::Recover
        )
    }

    /// Whether it is about boot images, or what stands ready of them.
    #[must_use]
    pub fn needs_images(self) -> bool {
        matches!(
            self,
            Self::Take | Self::Settle | Self::Image | Self::Fill | Self::StandBy
        )
    }

    /// Whether what is asked for comes to be in another way when this fails: by a boot, or with the next try.
    #[must_use]
    pub fn has_another_way(self) -> bool {
        matches!(
            self,
            Self::Take | Self::Settle | Self::Image | Self::Fill | Self::StandBy
        )
    }
}
