//! What the crate promises, by subject. One binary, so that it is linked once.

#[cfg(test)]
mod supervision {
    mod chaos;
    mod common;
    mod failures;
    mod orders;
    mod strategies;
}
