//! Policies (`struct xfrm_userpolicy_info` and its templates).

use esplanade_model::{
    Action, Direction, Mode, Policy, PolicyFlags, PolicyIndex, PolicyKey, Reqid, Template,
};
use netlink_packet_xfrm::constants::{
    XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK, XFRM_POLICY_ICMP, XFRM_POLICY_LOCALOK, XFRM_POLICY_TYPE_MAIN,
};
use netlink_packet_xfrm::{Id, Lifetime, LifetimeConfig, UserPolicyInfo, UserTemplate, XfrmAttrs};

use super::attributes::Attributes;
use super::sa::{decode_interface_id, decode_mode, decode_protocol, interface_id, mode};
use super::{address, mark, selector};

/// A template that SAs of any reqid agree with (`xfrm_state_ok`).
const ANY: u32 = 0;

pub(super) fn encode(policy: &Policy, index: PolicyIndex) -> (UserPolicyInfo, Attributes) {
    let selector = selector::encode(&policy.selector);
    let mut attributes = Attributes::default();
    interface_id(policy.interface_id, &mut attributes);
    mark::encode(policy.mark, &mut attributes);
    if !policy.templates.is_empty() {
        let mut family = selector.family;
        let templates = policy.templates.iter().map(|template| encode_template(template, &mut family));
        attributes.push(XfrmAttrs::Template(templates.collect()));
    }
    let info = UserPolicyInfo {
        selector,
        // No limits.
        lifetime_cfg: LifetimeConfig::default(),
        lifetime_cur: Lifetime::default(),
        priority: policy.priority,
        index: index.get(),
        direction: direction(policy.direction),
        action: match policy.action {
            Action::Allow => XFRM_POLICY_ALLOW,
            Action::Block => XFRM_POLICY_BLOCK,
        },
        flags: flags(policy.flags),
        share: 0,
    };
    (info, attributes)
}

fn flags(flags: PolicyFlags) -> u8 {
    let PolicyFlags { icmp_errors, local_override } = flags;
    let set = |set: bool, flag| if set { flag } else { 0 };
    set(icmp_errors, XFRM_POLICY_ICMP) | set(local_override, XFRM_POLICY_LOCALOK)
}

/// `family` is that of the packet so far: transport mode must keep it (`validate_tmpl`), tunnel mode sets it.
fn encode_template(template: &Template, family: &mut u16) -> UserTemplate {
    let mut wire = UserTemplate {
        id: Id { proto: template.protocol.number(), ..Id::default() },
        reqid: template.reqid.map_or(ANY, Reqid::get),
        mode: mode(template.mode),
        optional: template.optional.into(),
        // Any algorithm: what the SA has was decided when it was made.
        ..UserTemplate::default()
    };
    if let (true, Some((source, destination))) = (template.mode.is_tunnel(), template.tunnel) {
        *family = address::family(destination);
        wire.saddr = address::encode(source);
        wire.id.daddr = address::encode(destination);
    }
    wire.family = *family;
    wire
}

pub(super) fn direction(direction: Direction) -> u8 {
    // 0 to 2.
    u8::try_from(direction.kernel()).unwrap_or(u8::MAX)
}

fn decode_direction(number: u8) -> Option<Direction> {
    [Direction::In, Direction::Out, Direction::Forward].into_iter().find(|one| direction(*one) == number)
}

/// Belongs to a single socket (`xfrm_sk_policy_insert`).
pub(super) fn is_of_a_socket(info: &UserPolicyInfo) -> bool {
    info.index & 7 > 2 || info.direction > 2
}

/// What names the policy; none if no policy of ours could have that name.
pub(super) fn decode_key(info: &UserPolicyInfo, attributes: &Attributes) -> Option<PolicyKey> {
    let names_more = |attribute: &XfrmAttrs| match attribute {
        XfrmAttrs::PolicyType(kind) => kind.ptype != XFRM_POLICY_TYPE_MAIN,
        XfrmAttrs::SecurityContext(_) => true,
        _ => false,
    };
    if attributes.as_slice().iter().any(names_more) {
        return None;
    }
    Some(PolicyKey {
        direction: decode_direction(info.direction)?,
        selector: selector::decode(&info.selector)?,
        interface_id: decode_interface_id(attributes),
        mark: mark::decode(attributes)?,
    })
}

/// Its index, if the policy carries our tags.
pub(super) fn owned_index(info: &UserPolicyInfo, attributes: &Attributes) -> Option<PolicyIndex> {
    let index = PolicyIndex::owned(info.index)?;
    let ours = |template: &UserTemplate| decode_reqid(template.reqid).is_some();
    templates(attributes).all(ours).then_some(index)
}

/// The reqid of the first template, if it is one of ours.
pub(super) fn first_reqid(attributes: &Attributes) -> Option<Reqid> {
    Reqid::owned(templates(attributes).next()?.reqid)
}

fn templates(attributes: &Attributes) -> impl Iterator<Item = &UserTemplate> {
    let lists = attributes.as_slice().iter().filter_map(|attribute| match attribute {
        XfrmAttrs::Template(list) => Some(list),
        _ => None,
    });
    lists.flatten()
}

/// The policy, if we could have written it.
pub(super) fn decode(
    info: &UserPolicyInfo,
    attributes: &Attributes,
    key: PolicyKey,
    index: PolicyIndex,
) -> Option<Policy> {
    if attributes.malformed || !attributes.as_slice().iter().all(is_like_ours) {
        return None;
    }
    let policy = Policy {
        direction: key.direction,
        selector: key.selector,
        interface_id: key.interface_id,
        mark: key.mark,
        priority: info.priority,
        action: match info.action {
            XFRM_POLICY_ALLOW => Action::Allow,
            XFRM_POLICY_BLOCK => Action::Block,
            _ => return None,
        },
        templates: templates(attributes).map(decode_template).collect::<Option<_>>()?,
        flags: PolicyFlags {
            icmp_errors: info.flags & XFRM_POLICY_ICMP != 0,
            local_override: info.flags & XFRM_POLICY_LOCALOK != 0,
        },
    };
    // The rest is what we would write for it, but for what the kernel sets itself.
    let (expected, expected_attributes) = encode(&policy, index);
    let actual = UserPolicyInfo { lifetime_cur: Lifetime::default(), share: 0, ..*info };
    let same = expected == actual
        && templates(attributes).map(significant).eq(templates(&expected_attributes).copied());
    same.then_some(policy)
}

/// The addresses of a transport mode template count for nothing (`xfrm_tmpl_resolve_one`, `xfrm_state_ok`).
fn significant(template: &UserTemplate) -> UserTemplate {
    match decode_mode(template.mode) {
        Some(Mode::Transport) => UserTemplate {
            saddr: Default::default(),
            id: Id { daddr: Default::default(), ..template.id },
            ..*template
        },
        _ => *template,
    }
}

/// Of a template of ours: the SA's, or none if any will do.
fn decode_reqid(number: u32) -> Option<Option<Reqid>> {
    if number == ANY { Some(None) } else { Reqid::owned(number).map(Some) }
}

fn decode_template(wire: &UserTemplate) -> Option<Template> {
    let mode = decode_mode(wire.mode)?;
    let tunnel = match mode {
        Mode::Transport => None,
        Mode::Tunnel | Mode::Beet | Mode::Iptfs => {
            Some((address::decode(&wire.saddr, wire.family)?, address::decode(&wire.id.daddr, wire.family)?))
        }
    };
    Some(Template {
        protocol: decode_protocol(wire.id.proto)?,
        mode,
        reqid: decode_reqid(wire.reqid)?,
        tunnel,
        optional: wire.optional != 0,
    })
}

/// An attribute that a policy of ours may read back with.
fn is_like_ours(attribute: &XfrmAttrs) -> bool {
    match attribute {
        XfrmAttrs::Template(_) | XfrmAttrs::IfId(_) | XfrmAttrs::Mark(_) | XfrmAttrs::Pad() => true,
        XfrmAttrs::PolicyType(kind) => kind.ptype == XFRM_POLICY_TYPE_MAIN,
        _ => false,
    }
}
