//! The API types of esplanade.dev, and the manifests generated from them.
