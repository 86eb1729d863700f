//! Places for streams of events: so many that none of them is noticed, and never all of them one team's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wrenn_model::TeamName;

/// Streams of events that may be open at a time.
const ALL: usize = 2048;
/// Those of them that may be one team's.
const OF_A_TEAM: usize = ALL / 2;

/// All of them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<TeamName, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    team: TeamName,
    places: Places,
}

impl Places {
    /// A place for this team, where there is one.
    pub(crate) fn take(&self, team: &TeamName) -> Option<Place> {
        let mut taken = self.lock();
        let (all, own) = (
            taken.values().sum::<usize>(),
            taken.get(team).copied().unwrap_or_default(),
        );
        if all >= ALL || own >= OF_A_TEAM {
            return None;
        }
        taken.insert(team.clone(), own + 1);
        Some(Place {
            team: team.clone(),
            places: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TeamName, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.team) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_team_takes_all_and_what_is_left_goes_back() {
        let places = Places::default();
        let [red, blue, green] = ["red", "blue", "green"].map(|name| name.parse().unwrap());
        let take =
            |team: &TeamName| -> Vec<Place> { std::iter::from_fn(|| places.take(team)).collect() };
        let mut of_red = take(&red);
        assert_eq!(of_red.len(), OF_A_TEAM);
        let of_blue = take(&blue);
        assert_eq!(of_blue.len(), ALL - OF_A_TEAM);
        assert!(places.take(&green).is_none());
        of_red.pop();
        let other = places.take(&green);
        assert!(other.is_some() && places.take(&red).is_none());
        drop((of_red, of_blue, other));
        assert!(places.lock().is_empty());
    }
}
