//! Pure diff: wanted and observed to ordered kernel operations.
