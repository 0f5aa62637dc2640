//! Pure planner: one snapshot of the cluster in, desired node states and conditions out.
