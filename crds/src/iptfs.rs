//! IP traffic flow security (RFC 9347).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// How packets are gathered and taken apart again (RFC 9347). The sender has the first four, the receiver the rest.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Iptfs {
    /// Length of the packets on the wire, in bytes, without ESP's padding and ICV, which the kernel doesn't count; 0 is what
    /// the path takes. What is longer goes in pieces. Default: 0.
    #[schemars(schema_with = "schema::word")]
    pub packet_size: u32,
    /// A packet that doesn't fit into the rest of one on the wire waits for the next, and isn't cut. Default: false.
    pub dont_fragment: bool,
    /// How long the first packet waits for others to go with, in microseconds. Default: 0.
    #[schemars(schema_with = "schema::word")]
    pub initial_delay_microseconds: u32,
    /// What waits at most, in bytes; more is dropped. Default: 10485760.
    #[schemars(schema_with = "schema::word")]
    pub queue_bytes: u32,
    /// Packets that one may come late and is still put in order, 0 to 65535. Default: 3.
    pub reorder_window: u16,
    /// How long the receiver waits for a missing packet, in microseconds. Default: 1000000.
    #[schemars(schema_with = "schema::word")]
    pub drop_time_microseconds: u32,
}

impl Default for Iptfs {
    /// The kernel's own.
    fn default() -> Self {
        Self {
            packet_size: 0,
            dont_fragment: false,
            initial_delay_microseconds: 0,
            queue_bytes: 10_485_760,
            reorder_window: 3,
            drop_time_microseconds: 1_000_000,
        }
    }
}
