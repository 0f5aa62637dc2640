//! What holds for all policies of a network namespace.

use esplanade_model::{Action, DefaultActions, Direction, Threshold, Thresholds};

use super::objects::{add, policy};
use super::{Subject, must, policies};

fn pair(local: u8, remote: u8) -> Threshold {
    Threshold { local, remote }
}

pub(crate) fn thresholds_read_back(kernel: &mut dyn Subject) {
    assert_eq!(kernel.thresholds().unwrap(), Thresholds::default());
    let mut watch = kernel.start_watch();
    for (v4, v6) in
        [(pair(24, 16), pair(64, 48)), (pair(0, 32), pair(128, 0)), (pair(32, 32), pair(128, 128))]
    {
        let thresholds = Thresholds { v4, v6 };
        kernel.set_thresholds(thresholds).unwrap().unwrap();
        assert_eq!(kernel.thresholds().unwrap(), thresholds);
    }
    assert_eq!(watch.look().unwrap(), esplanade_xfrm::Noticed::default());
}

pub(crate) fn unfit_thresholds_are_refused(kernel: &mut dyn Subject) {
    let before = Thresholds { v4: pair(24, 24), v6: pair(64, 64) };
    kernel.set_thresholds(before).unwrap().unwrap();
    for unfit in [
        Thresholds { v4: pair(33, 24), ..before },
        Thresholds { v4: pair(24, 33), ..before },
        Thresholds { v6: pair(129, 64), ..before },
        Thresholds { v6: pair(64, 129), ..before },
    ] {
        let refusal = kernel.set_thresholds(unfit).unwrap().unwrap_err();
        assert_eq!(refusal.errno, libc::EINVAL, "{unfit:?}: {refusal}");
        assert_eq!(kernel.thresholds().unwrap(), before, "{unfit:?}");
    }
}

/// Some are hashed before, some after, some never.
pub(crate) fn policies_stay_when_thresholds_change(kernel: &mut dyn Subject) {
    let some = |numbers: std::ops::Range<u8>| {
        numbers.map(|number| add(policy(Direction::Out, number), number.into())).collect::<Vec<_>>()
    };
    must(kernel, &some(0..100));
    kernel.set_thresholds(Thresholds { v4: pair(24, 24), v6: pair(64, 64) }).unwrap().unwrap();
    must(kernel, &some(100..200));
    let read = policies(kernel);
    assert_eq!(read.len(), 200);
    kernel.set_thresholds(Thresholds { v4: pair(25, 24), v6: pair(64, 64) }).unwrap().unwrap();
    assert_eq!(policies(kernel), read);
}

/// The kernel tells everyone, whoever set them, as something that is about no SA and no policy.
pub(crate) fn default_actions_read_back(kernel: &mut dyn Subject) {
    let accept = DefaultActions::all(Action::Allow);
    assert_eq!(kernel.default_actions().unwrap(), Some(accept));
    let mut watch = kernel.start_watch();
    for actions in [
        DefaultActions::all(Action::Block),
        DefaultActions { inbound: Action::Block, ..accept },
        DefaultActions { forward: Action::Block, ..accept },
        DefaultActions { outbound: Action::Block, ..accept },
        accept,
    ] {
        kernel.set_default_actions(actions).unwrap().unwrap();
        assert_eq!(kernel.default_actions().unwrap(), Some(actions));
        let told = esplanade_xfrm::Noticed { changed: true, ..esplanade_xfrm::Noticed::default() };
        assert_eq!(watch.look().unwrap(), told, "{actions:?}");
    }
}
