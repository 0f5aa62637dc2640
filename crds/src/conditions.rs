//! Condition types and reasons that more than one part of the system writes or reads.
//!
//! Types follow the Gateway API's meanings: `Accepted` (the object is valid and taken up), `ResolvedRefs` (everything
//! it names exists), `Programmed` (it is in every kernel it belongs to).

/// The object is valid and taken up. False: the message says what to write instead.
pub const ACCEPTED: &str = "Accepted";
/// Everything the object names exists and fits.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// It is in every kernel it belongs to, read back.
pub const PROGRAMMED: &str = "Programmed";
/// Traffic is encrypted in both directions between all participants (`IpsecPolicy`).
pub const ENCRYPTED: &str = "Encrypted";
/// Another policy of the same priority says something else about some of the same packets (`IpsecPolicy`). Present only while
/// true.
pub const CONFLICTED: &str = "Conflicted";
/// A hard lifetime ended the SA (`IpsecSA`). Present for SAs with a lifetime.
pub const EXPIRED: &str = "Expired";
/// Manual keys with an AEAD (RFC 8221 §3 forbids it; allowed on request) (`IpsecSA`). Present only while true.
pub const INSECURE_KEYING: &str = "InsecureKeying";
/// The node's agent works and its kernel holds what the spec says (`IpsecNodeState`).
pub const READY: &str = "Ready";
/// The last pass over the kernel found or left no difference (`IpsecNodeState`).
pub const IN_SYNC: &str = "InSync";
/// Something could not be done; the message has the kernel's words (`IpsecNodeState`). Present only while true.
pub const DEGRADED: &str = "Degraded";
/// What somebody else had deleted of the node's SAs and policies is back; false: not all of it yet. The message says how much
/// that was, when, and how many packets the kernel dropped meanwhile (`IpsecNodeState`). Present once that has happened, since the node
/// booted; the time is that of the last time.
pub const RESTORED: &str = "Restored";

/// A problem of this category stands in nobody's way.
pub fn is_warning(category: &str) -> bool {
    [reason::EXPIRING, reason::KEPT, reason::ROTATION_BEHIND].contains(&category)
}

/// Reasons of conditions.
pub mod reason {
    /// `Accepted=True`.
    pub const ACCEPTED: &str = "Accepted";
    /// A field asks for something this version can't do.
    pub const NOT_IMPLEMENTED: &str = "NotImplemented";
    /// The object contradicts itself or a rule.
    pub const INVALID: &str = "Invalid";
    /// Another object says otherwise: one that came first, or a policy of the same priority.
    pub const CONFLICTED: &str = "Conflicted";
    /// RFC 8221 forbids it.
    pub const INSECURE_ALGORITHM: &str = "InsecureAlgorithm";
    /// No such algorithm.
    pub const UNKNOWN_ALGORITHM: &str = "UnknownAlgorithm";
    /// `ResolvedRefs=True`.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// A Secret or a key in it isn't there.
    pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
    /// A Secret's value isn't a key for the algorithm.
    pub const INVALID_KEY: &str = "InvalidKey";
    /// No such Node.
    pub const NODE_NOT_FOUND: &str = "NodeNotFound";
    /// A Node has no address (of the family).
    pub const NO_ADDRESS: &str = "NoAddress";
    /// An IpsecSA that a policy names isn't there.
    pub const SECURITY_ASSOCIATION_NOT_FOUND: &str = "SecurityAssociationNotFound";
    /// An IpsecSA that a policy names is there, but can't be used: not accepted, or its own references are broken.
    pub const SECURITY_ASSOCIATION_NOT_READY: &str = "SecurityAssociationNotReady";
    /// An IpsecSA doesn't fit the policy that names it (mode, protocol, ends), or is another policy's.
    pub const SECURITY_ASSOCIATION_MISMATCH: &str = "SecurityAssociationMismatch";
    /// A pair of participants has no IpsecSA in one direction: its traffic is dropped.
    pub const SECURITY_ASSOCIATION_MISSING: &str = "SecurityAssociationMissing";
    /// A selector matches nothing.
    pub const NO_MATCH: &str = "NoMatch";
    /// `Programmed=True`.
    pub const PROGRAMMED: &str = "Programmed";
    /// Not yet: agents have it to do.
    pub const PENDING: &str = "Pending";
    /// Another condition stands in the way.
    pub const NOT_READY: &str = "NotReady";
    /// A kernel refused; the message has its words.
    pub const KERNEL_ERROR: &str = "KernelError";
    /// A kernel lacks what the object asks for; the message says what, and what to write instead.
    pub const UNSUPPORTED_BY_KERNEL: &str = "UnsupportedByKernel";
    /// `Expired=True`: a hard lifetime ended the SA.
    pub const EXPIRED: &str = "Expired";
    /// A soft lifetime is over: the hard one is near.
    pub const EXPIRING: &str = "Expiring";
    /// Somebody else deleted SAs or policies of the node's agent.
    pub const DELETED_BY_OTHERS: &str = "DeletedByOthers";
    /// A node keeps a policy in force that it is no longer told of.
    pub const KEPT: &str = "Kept";
    /// `Expired=False`: no limit is reached.
    pub const IN_USE: &str = "InUse";
    /// Automatic keys are to be renewed, and the rotation before isn't over.
    pub const ROTATION_BEHIND: &str = "RotationBehind";
    /// An SA has sent as many packets as it has sequence numbers.
    pub const SEQUENCE_NUMBERS_EXHAUSTED: &str = "SequenceNumbersExhausted";
    /// A UDP port at which the SA's packets arrive can't be opened.
    pub const PORT_UNAVAILABLE: &str = "PortUnavailable";
    /// `Encrypted=False`: the policy asks for no encryption.
    pub const NOT_ENCRYPTED: &str = "NotEncrypted";
    /// The agent hasn't the key that opens the sealed keys (yet).
    pub const UNSEALABLE: &str = "Unsealable";
}
