//! Which reports of a device change the state of an update, see [`DeploymentState`].

use homeport_protocol::DeploymentState::{self, Cancelled, Failed, Offered, RolledBack, Unknown, Verified};

/// Whether an update in state `current` enters `reported`.
///
/// Reports come in order, but some may be missing, and the device repeats the last one after a reconnect. So an update may skip states
/// ahead, never leaves a final one, and never returns to before the point where the new slot was activated.
pub(crate) fn enters(current: DeploymentState, reported: DeploymentState) -> bool {
    if current.is_final() || reported == current {
        return false;
    }
    let activated = !current.is_cancellable();
    match reported {
        Unknown | Offered => false,
        Failed => true,
        Cancelled => current != DeploymentState::Trial,
        // Only an update whose slot was activated can be verified or rolled back.
        Verified => activated,
        RolledBack => activated || current == DeploymentState::Installing,
        // A device waits again, or starts over after a power cut.
        _ if reported.is_cancellable() => !activated,
        _ => rank(reported) > rank(current),
    }
}

fn rank(state: DeploymentState) -> u8 {
    match state {
        DeploymentState::Installed => 1,
        DeploymentState::Rebooting => 2,
        DeploymentState::Trial => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use DeploymentState::{Downloading, Installed, Installing, Rebooting, Trial, Waiting};

    const ALL: [DeploymentState; 12] = [
        Offered,
        Waiting,
        Downloading,
        Installing,
        Installed,
        Rebooting,
        Trial,
        Verified,
        RolledBack,
        Failed,
        Cancelled,
        Unknown,
    ];

    fn run(reports: &[DeploymentState]) -> Vec<DeploymentState> {
        let mut states = vec![Offered];
        for &report in reports {
            if enters(*states.last().unwrap(), report) {
                states.push(report);
            }
        }
        states
    }

    #[test]
    fn an_ordinary_update_goes_all_the_way() {
        let way = [Downloading, Installing, Installed, Rebooting, Trial, Verified];
        assert_eq!(run(&way)[1..], way);
    }

    #[test]
    fn a_power_cut_starts_over_before_activation_only() {
        assert!(enters(Installing, Downloading) && enters(Downloading, Waiting));
        assert!(!enters(Installed, Downloading) && !enters(Trial, Rebooting));
    }

    #[test]
    fn success_needs_an_activated_slot() {
        for state in [Offered, Waiting, Downloading, Installing] {
            assert!(!enters(state, Verified), "{state:?}");
        }
        for state in [Installed, Rebooting, Trial] {
            assert!(enters(state, Verified), "{state:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_reported_the_story_makes_sense(
            reports in proptest::collection::vec(proptest::sample::select(&ALL[..]), 0..40)
        ) {
            let states = run(&reports);
            // Nothing follows a final state, and no update enters an unknown state.
            let last = states.len() - 1;
            prop_assert!(states[..last].iter().all(|state| !state.is_final()));
            prop_assert!(!states.contains(&Unknown));
            prop_assert!(!states[1..].contains(&Offered));
            // Once activated, always activated.
            let activated = states.iter().position(|state| rank(*state) > 0).unwrap_or(states.len());
            prop_assert!(states[activated..].iter().all(|state| !state.is_cancellable()));
            prop_assert!(states[activated..].windows(2).all(|pair| pair[1].is_final() || rank(pair[1]) > rank(pair[0])));
            // A repeat changes nothing.
            let twice: Vec<_> = reports.iter().flat_map(|report| [*report, *report]).collect();
            prop_assert_eq!(run(&twice), states);
        }
    }
}
