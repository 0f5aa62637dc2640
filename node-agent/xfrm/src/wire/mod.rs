//! The typed model and NETLINK_XFRM messages, to and fro. Pure.

pub mod replay;
