//! What the metadata machine and its planner promise. One binary, so that it is linked once.

#[cfg(test)]
mod metadata {
    mod convergence;
    mod machine;
    mod model;
    mod planning;
}
