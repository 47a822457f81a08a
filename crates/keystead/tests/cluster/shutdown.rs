//! A node that is asked to stop hands over first.

use std::time::Duration;

use crate::cluster::{Cluster, Shape};
use crate::load::Load;
use crate::wait::pause;

#[test]
fn sigterm_hands_leadership_over_and_no_write_fails() {
    let mut cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    for at in 0..3 {
        load.take_longest_gap();
        load.take_doubts();
        let refused = load.refused();
        let status = cluster.nodes[at].terminate();
        assert!(status.success(), "{} ended with {status} after SIGTERM", cluster.nodes[at].name);
        load.arm();
        load.wait_for_writes("after a node stopped in order", Duration::from_secs(10));
        let (refused, mut doubts) = (load.refused() - refused, load.take_doubts());
        let gap = load.take_longest_gap();
        eprintln!(
            "  {} stopped: {refused} refused, in doubt {doubts:?}, longest gap {gap:?}",
            cluster.nodes[at].name
        );
        // A command that crosses the close of its connection was not read; only its client cannot know.
        doubts.retain(|why, _| !why.starts_with("connection"));
        assert!(doubts.is_empty(), "a stop in order leaves no write in doubt: {doubts:?}");
        assert_eq!(refused, 0, "a stop in order refuses no write");
        cluster.nodes[at].start();
        cluster.wait_until_level();
        // Leaders move back; the next stop should find them spread.
        pause(Duration::from_secs(1));
    }
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("stops in order: {figures:?}");
}
