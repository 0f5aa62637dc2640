//! NETLINK_XFRM: wire codec, socket, and a fake kernel that behaves like the real one.
