//! The kernel's names for numbers (`include/uapi/linux/xfrm.h`).

/// `XFRM_MSG_…`, from [`FIRST_MESSAGE`] on.
pub(super) const MESSAGES: [&str; 26] = [
    "NEWSA",
    "DELSA",
    "GETSA",
    "NEWPOLICY",
    "DELPOLICY",
    "GETPOLICY",
    "ALLOCSPI",
    "ACQUIRE",
    "EXPIRE",
    "UPDPOLICY",
    "UPDSA",
    "POLEXPIRE",
    "FLUSHSA",
    "FLUSHPOLICY",
    "NEWAE",
    "GETAE",
    "REPORT",
    "MIGRATE",
    "NEWSADINFO",
    "GETSADINFO",
    "NEWSPDINFO",
    "GETSPDINFO",
    "MAPPING",
    "SETDEFAULT",
    "GETDEFAULT",
    "MIGRATE_STATE",
];
pub(super) const FIRST_MESSAGE: u16 = 0x10;
pub(super) use crate::wire::migrate::MSG_MIGRATE_STATE as MIGRATE_STATE;

/// `XFRMA_…`.
pub(super) const ATTRIBUTES: [&str; 42] = [
    "UNSPEC",
    "ALG_AUTH",
    "ALG_CRYPT",
    "ALG_COMP",
    "ENCAP",
    "TMPL",
    "SA",
    "POLICY",
    "SEC_CTX",
    "LTIME_VAL",
    "REPLAY_VAL",
    "REPLAY_THRESH",
    "ETIMER_THRESH",
    "SRCADDR",
    "COADDR",
    "LASTUSED",
    "POLICY_TYPE",
    "MIGRATE",
    "ALG_AEAD",
    "KMADDRESS",
    "ALG_AUTH_TRUNC",
    "MARK",
    "TFCPAD",
    "REPLAY_ESN_VAL",
    "SA_EXTRA_FLAGS",
    "PROTO",
    "ADDRESS_FILTER",
    "PAD",
    "OFFLOAD_DEV",
    "SET_MARK",
    "SET_MARK_MASK",
    "IF_ID",
    "MTIMER_THRESH",
    "SA_DIR",
    "NAT_KEEPALIVE_INTERVAL",
    "SA_PCPU",
    "IPTFS_DROP_TIME",
    "IPTFS_REORDER_WINDOW",
    "IPTFS_DONT_FRAG",
    "IPTFS_INIT_DELAY",
    "IPTFS_MAX_QSIZE",
    "IPTFS_PKT_SIZE",
];
/// `XFRMA_SAD_…`.
pub(super) const SAD_ATTRIBUTES: [&str; 3] = ["SAD_UNSPEC", "SAD_CNT", "SAD_HINFO"];
/// `XFRMA_SPD_…`.
pub(super) const SPD_ATTRIBUTES: [&str; 5] =
    ["SPD_UNSPEC", "SPD_INFO", "SPD_HINFO", "SPD_IPV4_HTHRESH", "SPD_IPV6_HTHRESH"];

pub(super) const MODES: [&str; 6] =
    ["transport", "tunnel", "route-optimization", "in-trigger", "beet", "iptfs"];
/// Those of sockets are told from others by the index alone.
pub(super) const DIRECTIONS: [&str; 3] = ["in", "out", "fwd"];
pub(super) const SA_DIRECTIONS: [&str; 3] = ["unset", "in", "out"];
pub(super) const ACTIONS: [&str; 2] = ["allow", "block"];
/// `XFRM_USERPOLICY_…`.
pub(super) const DEFAULTS: [&str; 3] = ["unspec", "block", "accept"];
pub(super) const POLICY_TYPES: [&str; 2] = ["main", "sub"];
pub(super) const SHARES: [&str; 4] = ["any", "session", "user", "unique"];
pub(super) const SA_FLAGS: [&str; 8] =
    ["noecn", "decap-dscp", "nopmtudisc", "wildrecv", "icmp", "af-unspec", "align4", "esn"];
pub(super) const SA_EXTRA_FLAGS: [&str; 2] = ["dont-encap-dscp", "oseq-may-wrap"];
pub(super) const POLICY_FLAGS: [&str; 3] = ["localok", "icmp", "cpu-acquire"];
pub(super) const OFFLOAD_FLAGS: [&str; 3] = ["ipv6", "inbound", "packet"];
pub(super) const MIGRATE_STATE_FLAGS: [&str; 2] = ["clear-offload", "update-h2h-selector"];
/// `XFRM_AE_…`.
pub(super) const COUNTER_FLAGS: [&str; 7] = [
    "replay-threshold",
    "replay-value",
    "lifetime-value",
    "timer-threshold",
    "cause-replay",
    "cause-timer",
    "cause-update",
];

/// `UDP_ENCAP_…`.
pub(super) fn encapsulation(number: u16) -> super::Name {
    let name = match number {
        1 => Some("espinudp-nonike"),
        2 => Some("espinudp"),
        7 => Some("espintcp"),
        _ => None,
    };
    super::Name { number: number.into(), name }
}
