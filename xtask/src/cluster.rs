//! The verb `cluster`: a local cluster from this checkout.
//! Owns: nothing but the call. Never: a second way to start a cluster; the product's `dev` does it.

use crate::project::{Outcome, Project};

/// Runs `keystead dev --nodes N`, built for release.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let nodes = match arguments {
        [] => "3",
        [count] if count.parse::<u16>().is_ok_and(|count| count > 0) => count.as_str(),
        _ => return Err("cluster takes the number of nodes, 3 unless said".into()),
    };
    let status = project
        .cargo(&["run", "--release", "--package", "keystead", "--", "dev", "--nodes", nodes])
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("the cluster ended: {status}").into()) }
}
