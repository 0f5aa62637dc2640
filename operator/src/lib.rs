//! The controller: cluster objects to one desired state per node.
