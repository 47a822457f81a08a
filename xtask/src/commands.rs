//! The verb `commands`: how much of Redis 7.0 the product knows, what it refuses by design, what is missing.
//! Owns: the count. Never: a list of its own; both servers are asked for theirs, and what is refused stands in
//! `xtask/compat/refused.txt`, which `compat` plays.

use std::collections::BTreeSet;

use crate::project::{Outcome, Project};
use crate::server::{self, Binary, Scratch};
use crate::setup;
use crate::wire::Connection;

const REFUSED: &str = "xtask/compat/refused.txt";

/// Prints commands known, refused and missing.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let binary = match arguments {
        [] => Binary::Dev,
        [flag, path] if flag == "--binary" => Binary::Named(path.into()),
        _ => return Err("commands takes nothing, or --binary KEYSTEAD".into()),
    };
    setup::ensure(project)?;
    let scratch = Scratch::new(project, "commands")?;
    let redis = server::redis(&scratch.folder("redis")?, &["--save", ""])?;
    let binary = server::keystead_binary(project, &binary)?;
    let nodes = server::keystead(&binary, &scratch, "keystead", 1, &["--shards", "1"])?;
    let node = nodes.first().ok_or("no node was started")?;
    let theirs = names(&mut Connection::open(redis.address)?)?;
    let ours = names(&mut Connection::open(node.address)?)?;
    let refused = refused(project)?;
    let mut all = [0; 3];
    for (what, is_sub) in [("commands", false), ("subcommands", true)] {
        // The HELP of a container is no subcommand that anybody counts.
        let counts = |name: &&String| name.contains('|') == is_sub && !name.ends_with("|help");
        let of_redis: Vec<&String> = theirs.iter().filter(counts).collect();
        let missing: Vec<&str> =
            of_redis.iter().filter(|n| !ours.contains(**n)).map(|n| n.as_str()).collect();
        let declined: Vec<&str> =
            of_redis.iter().filter(|n| refused.contains(**n)).map(|n| n.as_str()).collect();
        let more = ours.iter().filter(counts).filter(|n| !theirs.contains(*n)).count();
        let known = of_redis.len() - missing.len();
        println!(
            "{known} of the {} {what} of Redis 7.0 are known, {more} beyond it",
            of_redis.len()
        );
        println!("  {} of them refused by design: {}", declined.len(), declined.join(" "));
        println!("  {} missing: {}", missing.len(), missing.join(" "));
        for (sum, count) in all.iter_mut().zip([known, of_redis.len(), declined.len()]) {
            *sum += count;
        }
    }
    let [known, of_redis, declined] = all;
    println!(
        "{known} of {of_redis} in all: {} answered, {declined} refused with the reason, {} unknown",
        known - declined,
        of_redis - known
    );
    Ok(())
}

/// What a server's COMMAND LIST names.
fn names(server: &mut Connection) -> Outcome<BTreeSet<String>> {
    let reply = server.ask(&["COMMAND", "LIST"])?;
    let lines = reply.lines().filter(|line| !line.starts_with(['*', '$']));
    Ok(lines.map(str::to_lowercase).collect())
}

fn refused(project: &Project) -> Outcome<BTreeSet<String>> {
    let text = project.read(REFUSED)?;
    let sentences = text.lines().filter_map(|line| line.strip_prefix("= -ERR "));
    let named = sentences.filter_map(|line| line.split_once(" is refused: "));
    Ok(named.map(|(name, _)| name.to_lowercase().replace(' ', "|")).collect())
}
