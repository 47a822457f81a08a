//! The project's verbs. Owns: what `cargo xtask VERB` does. Never: part of the product.
fn main() {}
