//! Commands of the metadata group: whatever stands in its log, all nodes come to the same topology.
//!
//! The bytes are lines; each is a command. A fuzzer that knows no JSON gets somewhere, too: a line that begins with a
//! letter from `A` to `P` is one of [`TEMPLATES`] with the numbers put in that follow it.

/// Commands with holes: `#` takes the next number of the line. A line's first letter says which.
const TEMPLATES: [&str; 16] = [
    r##"{"do":"found","cluster_id":9,"hash_seed":3,"shards":#,"node":{"id":#,"peer_addr":"a:1","client_addr":"a:2","zone":"z","incarnation":1}}"##,
    r##"{"do":"register_node","node":{"id":#,"peer_addr":"b:#","client_addr":"b:2","zone":"y","incarnation":#}}"##,
    r##"{"do":"update_node","node":{"id":#,"peer_addr":"b:#","client_addr":"c:2","zone":"","incarnation":#}}"##,
    r##"{"do":"set_node_state","node":#,"state":"active"}"##,
    r##"{"do":"set_node_state","node":#,"state":"draining"}"##,
    r##"{"do":"set_node_state","node":#,"state":"gone"}"##,
    r##"{"do":"begin_step","shard":#,"action":{"do":"add_learner","node":#,"replaces":null}}"##,
    r##"{"do":"begin_step","shard":#,"action":{"do":"add_learner","node":#,"replaces":#}}"##,
    r##"{"do":"begin_step","shard":#,"action":{"do":"promote","node":#}}"##,
    r##"{"do":"begin_step","shard":#,"action":{"do":"remove","node":#}}"##,
    r##"{"do":"begin_step","shard":#,"action":{"do":"transfer_leader","to":#}}"##,
    r##"{"do":"confirm_step","shard":#,"step":#,"conf_index":#}"##,
    r##"{"do":"abort_step","shard":#,"step":#,"reason":"x"}"##,
    r##"{"do":"set_replicas","shard":#,"conf_index":#,"replicas":[{"node":#,"role":"voter"},{"node":#,"role":"learner"}]}"##,
    r##"{"do":"prefer_leader","shard":#,"node":#}"##,
    r##"{"do":"set_setting","name":"replicas","value":"#"}"##,
];

/// See the module.
pub fn run(bytes: &[u8]) {
    let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').take(200).map(command).collect();
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    keystead_node::fuzzing::metadata(&lines);
}

fn command(line: &[u8]) -> Vec<u8> {
    let split = line.split_first();
    let Some((first, rest)) = split.filter(|(first, _)| (b'A'..=b'P').contains(first)) else {
        return line.to_vec();
    };
    let template = TEMPLATES[usize::from(first - b'A')];
    let mut numbers = rest.iter().map(|byte| byte % 32);
    let mut out = Vec::new();
    for byte in template.bytes() {
        match byte {
            b'#' => out.extend_from_slice(numbers.next().unwrap_or(1).to_string().as_bytes()),
            byte => out.push(byte),
        }
    }
    out
}

/// A cluster that is founded and grows; numbers are the low five bits of letters.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"ADA\nBBB\nBCC\nBDD\nGAB\nLAEI\nIAB\nLAGK\nGAC\nLAIM\nIAC\nLAKN\nJAA\nLAMO\nEB\nHADB"
            .to_vec(),
        b"ABA\nCAE\nGAG\nMAC\nJAA\nFA\nNAAAB\nOAA\nPC\nKAB".to_vec(),
        b"ABA\nBBB\nBCC\nGBB\nLBDI\nIBB\nLBFK\nEB\nHBCB\nLBIM\nIBC\nLBKN\nJBB\nLBMP\nFB".to_vec(),
        b"{\"do\":\"no such thing\"}\n[]\n{".to_vec(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_a_command() {
        for letter in b'A'..=b'P' {
            let line = command(&[letter]);
            let read = keystead_topology::Command::decode(&line);
            assert!(read.is_ok(), "{}: {read:?}", line.escape_ascii());
        }
    }
}
