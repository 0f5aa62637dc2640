//! Orders of events that broke a promise before the rules were changed (docs/decisions). What can't happen any more is
//! passed over.

use esplanade_model_check::scenario::{Budget, Edit, SHORT};
use esplanade_model_check::world::Action::{
    self, Crash, Cut, Finish, Flush, GiveUp, Heal, Inbound, Join, Leave, List, LosePeer, LoseState, MakePeer,
    Operator, Outbound, Own, Packet, Pass, Publish, Reboot, Restore, Rotate, Start, Tick, Watch,
};
use esplanade_model_check::world::{Promise, World};
use esplanade_model_check::{Mutation, Scenario};

const ALL: Budget = Budget {
    rotations: 9,
    crashes: 9,
    reboots: 9,
    flushes: 9,
    lists: 9,
    leaves: 9,
    cuts: 9,
    ticks: 9,
    edits: 9,
    looks: 0,
    states_lost: 9,
    peers_lost: 9,
    backups: 0,
    restores: 0,
    asks: 9,
};

/// Two nodes, everything possible.
fn two() -> Scenario {
    Scenario { name: "regression", budget: ALL, packets: true, ..SHORT[0] }
}

/// The node is told, hears of it, and does it.
fn step(node: u16) -> [Action; 3] {
    [Operator(node), Own(node), Pass(node)]
}

/// Of a policy that is switched off, no object is lost.
fn switched_off(edits: &'static [Edit]) -> Scenario {
    Scenario { edits, budget: Budget { states_lost: 0, ..ALL }, ..two() }
}

/// Plays the actions, as far as they can happen, and then lets all come to rest.
fn play(scenario: &Scenario, actions: &[Action]) {
    assert_eq!(scenario.mutation, None::<Mutation>);
    let mut world = World::settled(scenario);
    for action in actions {
        let done = world.act_if_possible(scenario, *action);
        assert!(done || *action != Action::Edit, "it is about that edit");
        assert_eq!(world.broken, None, "after {action:?}");
    }
    assert!(world.come_to_rest(scenario));
    assert_eq!(world.broken, None);
    assert!(world.is_at_rest(scenario));
}

#[test]
fn an_agent_that_dies_before_it_switches_goes_on_with_the_older_sa() {
    let scenario = Scenario { whole_passes: false, ..two() };
    let actions = [
        Rotate(0),
        Inbound(0),
        Publish(0),
        Watch(1),
        Inbound(1),
        Crash(1),
        Start(1),
        List(1),
        Own(1),
        Inbound(1),
        Outbound(1),
        Finish(1),
    ];
    play(&scenario, &actions);
}

#[test]
fn a_key_stays_until_who_listed_before_its_successor_has_joined() {
    let actions = [
        Rotate(0),
        Leave(1),
        Watch(0),
        Pass(0),
        Join(1),
        Watch(0),
        Start(1),
        List(1),
        Operator(1),
        Own(1),
        Pass(1),
        Publish(1),
        Tick,
        Watch(0),
        Publish(0),
        Pass(0),
        Watch(0),
        Pass(0),
    ];
    play(&two(), &actions);
}

#[test]
fn nothing_is_sent_under_a_key_whose_answers_collide() {
    // The packet would acknowledge a key that the sender can't receive under.
    let scenario = Scenario { collisions: &[(0, 0, 1, 1)], ..two() };
    play(&scenario, &[Rotate(1), Pass(1), Publish(1), Watch(0), Pass(0), Packet(0, 1), Pass(1)]);
}

#[test]
fn clear_text_is_not_given_up_for_a_key_that_nobody_has_acknowledged() {
    let scenario = Scenario { edits: &[Edit::Enable], whole_passes: false, ..two() };
    let actions = [
        Action::Edit,
        Operator(0),
        Own(0),
        Inbound(0),
        Outbound(0),
        Finish(0),
        Operator(1),
        Own(1),
        Inbound(1),
        Crash(1),
        Start(1),
        List(1),
        Own(1),
        Inbound(1),
        Outbound(1),
        Finish(1),
        Operator(1),
        Own(1),
        Finish(1),
    ];
    play(&scenario, &actions);
}

#[test]
fn a_restarted_agent_keeps_the_sas_of_a_deleted_policy_for_the_drain_time() {
    let scenario = Scenario { edits: &[Edit::Enable, Edit::Delete], ..two() };
    let actions = [
        Action::Edit,
        Operator(0),
        Own(0),
        Pass(0),
        Operator(1),
        Own(1),
        Pass(1),
        Operator(0),
        Own(0),
        Pass(0),
        Crash(1),
        Action::Edit,
        Operator(0),
        Own(0),
        Pass(0),
        Operator(1),
        Start(1),
        List(1),
        Own(1),
        Pass(1),
    ];
    play(&scenario, &actions);
}

#[test]
fn a_report_on_a_deleted_object_confirms_nothing_of_the_one_in_its_place() {
    let scenario = Scenario { edits: &[Edit::Enable], ..two() };
    let actions = [
        LoseState(0),
        Operator(0),
        Action::Edit,
        Operator(0),
        Operator(1),
        Own(1),
        Pass(1),
        Operator(1),
        Own(1),
        Pass(1),
    ];
    play(&scenario, &actions);
}

#[test]
fn what_is_sent_to_a_peer_whose_object_is_made_anew_goes_on_under_its_newest_key() {
    let actions = [
        Rotate(0),
        Pass(0),
        Publish(0),
        Watch(0),
        Watch(1),
        Pass(1),
        Operator(0),
        Own(0),
        Pass(0),
        LosePeer(0),
        Watch(0),
        MakePeer(0),
        Watch(0),
        Publish(0),
        Watch(0),
        Watch(1),
        Watch(1),
        Pass(1),
        Watch(1),
        Pass(1),
        Tick,
        Publish(0),
        Watch(0),
        Pass(0),
    ];
    play(&two(), &actions);
}

#[test]
fn a_policy_that_is_kept_stays_until_nobody_sends_by_it() {
    let budget = Budget { restores: 1, ..ALL };
    let scenario = Scenario { edits: &[Edit::Enable, Edit::Again], budget, ..two() };
    let applied = [&[Action::Edit][..], &step(0), &step(1), &step(0)].concat();
    let again = [&[Action::Edit][..], &step(0), &step(1), &step(1), &[Own(1), Tick, Pass(1)]].concat();
    let actions = [&applied[..], &[Restore], &again].concat();
    play(&scenario, &actions);
}

#[test]
fn sas_flushed_while_the_agent_is_away_are_not_started_again() {
    play(&two(), &[Crash(1), Flush(1), Start(1), List(1), Own(1), Pass(1), Publish(1), Watch(0), Pass(0)]);
}

#[test]
fn who_sends_on_nothing_begins_under_no_older_key_of_its_peer() {
    let scenario = Scenario { whole_passes: false, packets: false, ..two() };
    let actions = [
        Rotate(0),
        Inbound(0),
        Publish(0),
        Watch(0),
        Watch(1),
        Inbound(1),
        Outbound(1),
        Operator(0),
        Own(0),
        Flush(1),
        Inbound(1),
        Publish(1),
        Watch(0),
        Inbound(0),
        Outbound(0),
        Watch(1),
        Operator(1),
        Own(1),
        Tick,
        Publish(1),
        Watch(0),
        Crash(1),
        Start(1),
        List(1),
        Publish(0),
        Watch(0),
        Own(1),
        Inbound(1),
        Outbound(1),
        Inbound(0),
    ];
    play(&scenario, &actions);
}

#[test]
fn what_is_sent_on_stays_until_a_newer_key_is_acknowledged() {
    let actions = [
        Reboot(0),
        Start(0),
        Own(0),
        Rotate(1),
        Pass(1),
        List(0),
        Pass(0),
        Publish(1),
        Watch(0),
        Publish(0),
        Crash(0),
        Watch(1),
        Watch(1),
        Start(0),
        List(0),
        Own(0),
        Pass(1),
        Pass(0),
    ];
    play(&two(), &actions);
}

#[test]
fn an_edit_is_not_over_while_nobody_answers() {
    let scenario = Scenario { edits: &[Edit::Change], ..two() };
    let actions =
        [Action::Edit, Cut(0), Cut(1), GiveUp(1), GiveUp(0), Operator(1), Heal(1), Own(1), Pass(1), Heal(0)];
    play(&scenario, &actions);
}

#[test]
fn deleted_meanwhile_who_was_given_up_is_told_of_the_revision_that_others_send_by() {
    let scenario = switched_off(&[Edit::Change, Edit::Delete]);
    let beginning = [Cut(0), GiveUp(0), Action::Edit];
    let deleted = [Operator(1), Own(1), Heal(0), Action::Edit];
    let actions = [&beginning[..], &step(1), &deleted, &step(0), &[Pass(1)]];
    play(&scenario, &actions.concat());
}

#[test]
fn an_earlier_revision_is_switched_off_with_the_newer_that_never_took_over() {
    let scenario = switched_off(&[Edit::Change, Edit::Change, Edit::Delete]);
    let beginning = [Cut(1), Action::Edit, GiveUp(1), Action::Edit];
    let ending = [Operator(1), Heal(1), Action::Edit, Own(1), Pass(1), Operator(1), Own(1), Pass(1)];
    let actions = [&beginning[..], &step(0).repeat(5), &[Operator(1)], &step(0), &ending, &step(0).repeat(2)];
    play(&scenario, &actions.concat());
}

/// Node 2 is cut off in the middle of an edit, given up, and rebooted.
const REBOOTED_MEANWHILE: [Action; 27] = [
    Action::Edit,
    Operator(0),
    Own(0),
    Operator(2),
    Own(2),
    Operator(1),
    Own(1),
    Pass(2),
    Pass(0),
    Pass(1),
    Cut(2),
    GiveUp(2),
    Operator(0),
    Own(0),
    Pass(0),
    Operator(1),
    Own(1),
    Pass(1),
    Operator(1),
    Operator(0),
    Own(1),
    Own(0),
    Reboot(2),
    Start(2),
    Pass(1),
    Pass(0),
    Operator(0),
];

fn rebooted_meanwhile(mutation: Option<Mutation>, then: &[Action]) -> World {
    let scenario = Scenario { nodes: 3, edits: &[Edit::Change], mutation, ..two() };
    let mut world = World::settled(&scenario);
    let after = [Own(0), Pass(0), Operator(2), Heal(2), Own(2), List(2), Pass(2)];
    for action in REBOOTED_MEANWHILE.iter().chain(&after).chain(then) {
        world.act_if_possible(&scenario, *action);
    }
    if world.broken.is_none() {
        assert!(world.come_to_rest(&scenario) && world.is_at_rest(&scenario));
    }
    world
}

#[test]
fn an_earlier_revision_covers_until_the_newer_one_does() {
    assert_eq!(rebooted_meanwhile(None, &[]).broken, None);
    assert_eq!(rebooted_meanwhile(Some(Mutation::NotHeld), &[]).broken, Some(Promise::NoClearText));
}

#[test]
fn also_where_the_node_is_cut_off_once_more_and_not_told_of_it_then() {
    let others = [step(0), step(1)].concat();
    let then =
        [&[Cut(2), GiveUp(2)][..], &others.repeat(5), &[Operator(2), Operator(2), Heal(2), Own(2), Pass(2)]];
    assert_eq!(rebooted_meanwhile(None, &then.concat()).broken, None);
}
