//! The lab: a control plane, a kernel with ESP, nodes as network namespaces.
