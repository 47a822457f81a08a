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
        let (refused, uncertain) = (load.refused(), load.uncertain());
        let status = cluster.nodes[at].terminate();
        assert!(status.success(), "{} ended with {status} after SIGTERM", cluster.nodes[at].name);
        load.arm();
        load.wait_for_writes("after a node stopped in order", Duration::from_secs(10));
        let (refused, uncertain) = (load.refused() - refused, load.uncertain() - uncertain);
        eprintln!("  {} stopped: {refused} refused, {uncertain} in doubt, longest gap {:?}", cluster.nodes[at].name, load.take_longest_gap());
        assert_eq!(uncertain, 0, "a stop in order leaves no write in doubt");
        cluster.nodes[at].start();
        cluster.wait_until_level();
        // Leaders move back; the next stop should find them spread.
        pause(Duration::from_secs(1));
    }
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("stops in order: {figures:?}");
}
