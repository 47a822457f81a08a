//! Questions and answers between nodes, and the file that says who a node is: JSON.

/// Reads the bytes as each of them.
pub fn run(bytes: &[u8]) {
    keystead_node::fuzzing::control(bytes);
}

/// One of several kinds.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#""who""#,
        r#"{"view":{"applied":7}}"#,
        r#"{"digest_at":{"shard":1,"index":2}}"#,
        r#"{"join":{"node":{"id":"0000000000000001","client_addr":"a:1","peer_addr":"a:2","zone":"z","version":"0.1.0"}}}"#,
        r#"{"propose":{"do":"set_node_state","node":"0000000000000001","state":"draining"}}"#,
        r#"{"me":{"node":1,"cluster":2,"is_ready":true}}"#,
        r#"{"observed":[{"shard":3,"commit":1,"members_index":2,"voters":[1],"learners":[],"progress":[[1,9,true]]}]}"#,
        r#"{"no":{"reason":"not now","is_transient":true}}"#,
        r#"{"format":1,"node":5,"log":6,"stage":"fresh","cluster":0,"hash_seed":0,"shards":0,"incarnation":0,"peers":[]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
