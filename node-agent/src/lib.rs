//! The node agent: keeps the kernel's XFRM databases at the node's desired state.
