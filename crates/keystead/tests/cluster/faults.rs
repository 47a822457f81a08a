//! Arming faults in a node that runs, and seeing that they struck.
//! Owns: the fault file (written aside, then renamed), reading a child's line in INFO supervision.
//! Never: a fault in a node that a test did not start.

use std::fs;
use std::time::Duration;

use crate::node::Node;
use crate::wait::wait_for;

/// Longest wait for an armed fault to be taken in.
const TAKEN_MAX: Duration = Duration::from_secs(5);

/// Makes the next `times` passes of a child at a point fail.
pub(crate) fn arm(node: &Node, child: &str, point: &str, kind: &str, times: u32) {
    lay(node, child, point, kind, times);
    let path = node.fault_file();
    wait_for(&format!("{} takes the fault", node.name), TAKEN_MAX, || {
        (!path.exists()).then_some(())
    });
}

/// As [`arm`], for a node that may not run yet: it takes the fault when it does.
pub(crate) fn lay(node: &Node, child: &str, point: &str, kind: &str, times: u32) {
    let path = node.fault_file();
    let aside = path.with_extension("new");
    fs::write(&aside, format!("{child} {point} {kind} {times}\n")).expect("a file of the test");
    fs::rename(&aside, &path).expect("a file of the test");
}

/// The line of a child in INFO supervision: the last one whose first word is `name` below `parent`.
pub(crate) fn child_line(node: &Node, parent: &str, name: &str) -> Option<String> {
    let tree = node.info("supervision")?;
    let mut is_below = false;
    for line in tree.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let depth = line.len() - line.trim_start().len();
        if depth <= 2 {
            is_below = word == parent;
        } else if is_below && word == name {
            return Some(line.trim().to_owned());
        }
    }
    None
}

/// How often a child was restarted.
pub(crate) fn restarts(node: &Node, parent: &str, name: &str) -> Option<u32> {
    let line = child_line(node, parent, name)?;
    let Some((_, rest)) = line.split_once("restarts ") else { return Some(0) };
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
