//! The verb `compat`: the same commands to redis-server and to Keystead, every reply byte compared.
//!
//! Owns: playing the scripts of xtask/compat over RESP2 and RESP3, and the check that every command of the product is
//! played. Never: leaves a line out; what differs by design stands in `crates/store/src/command/differences.txt` with its
//! reason, and a difference listed there that no longer shows is a failure too. With `--failover` the sequences go
//! through three nodes whose leader is killed (see `failover`).

mod contents;
mod differences;
mod failover;
mod player;
mod script;
mod sequence;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::project::{Outcome, Project};
use crate::server::{self, Binary, Scratch, Server};
use crate::setup;
use crate::wire::Connection;
use differences::Differences;
use player::{Player, Protocol};
use script::Script;

const USAGE: &str = "cargo xtask compat [SCRIPT...] [--dev | --binary KEYSTEAD] [--against-itself]
--dev takes the dev build, --binary the one named; otherwise it is the release build
--against-itself puts redis in Keystead's place: what differs then is the script's fault
cargo xtask compat --failover [--seed N] [--minutes N] [--dev | --binary KEYSTEAD]
sequences through three nodes whose leader is killed again and again; half a minute with seed 1 if nothing is said";

/// What CI takes for the sequences through a failover, without the time to start and compare.
const FAILOVER_TIME: Duration = Duration::from_secs(30);

/// How redis-server is started: nothing on disk, and it looks 500 times a second whether a client has waited long enough.
const REDIS_SETTINGS: [&str; 6] = ["--save", "", "--appendonly", "no", "--hz", "500"];
/// The one command that cannot be played beside others.
const ENDS_THE_SERVER: &str = "shutdown";

struct Options {
    scripts: Vec<String>,
    binary: Binary,
    is_against_itself: bool,
    failover: Option<failover::Plan>,
}

/// Plays the scripts named, or all of them.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let options = parse(arguments)?;
    setup::ensure(project)?;
    if let Some(plan) = &options.failover {
        let scratch = Scratch::new(project, "failover")?;
        let binary = server::keystead_binary(project, &options.binary)?;
        return failover::run(project, &binary, &scratch, plan);
    }
    let scripts = Script::read_all(project, &options.scripts)?;
    let scratch = Scratch::new(project, "compat")?;
    let (redis, tested) = start(project, &options, &scratch)?;
    let mut differences = Differences::read(project)?;

    let mut count = 0;
    let mut unexpected = 0;
    let knows_newer = !options.is_against_itself;
    for script in &scripts {
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let mut player = Player::new(redis.address, tested.address, protocol, knows_newer);
            let played = player.play(script)?;
            count += played.lines;
            for clash in played.clashes {
                if options.is_against_itself || !differences.explain(&clash.command) {
                    unexpected += 1;
                    println!("{clash}");
                }
            }
        }
    }
    println!("{count} replies compared, {} differ as intended", differences.seen());
    if !options.is_against_itself && options.scripts.is_empty() {
        for stale in differences.stale() {
            println!("differences: `{stale}` no longer differs: take it off the list");
            unexpected += 1;
        }
        unexpected += report_unplayed(&tested, &scripts)?;
    }
    if unexpected == 0 {
        Ok(())
    } else {
        Err(format!("{unexpected} differences, see above").into())
    }
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options {
        scripts: Vec::new(),
        binary: Binary::Release,
        is_against_itself: false,
        failover: None,
    };
    let mut plan = failover::Plan { seed: 1, time: FAILOVER_TIME };
    let mut is_failover = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--against-itself" => options.is_against_itself = true,
            "--dev" => options.binary = Binary::Dev,
            "--binary" => options.binary = Binary::Named(rest.next().ok_or(USAGE)?.into()),
            "--failover" => is_failover = true,
            "--seed" => plan.seed = rest.next().ok_or(USAGE)?.parse()?,
            "--minutes" => {
                let minutes: f64 = rest.next().ok_or(USAGE)?.parse()?;
                plan.time = Duration::try_from_secs_f64(minutes * 60.0)?;
            }
            flag if flag.starts_with("--") => return Err(USAGE.into()),
            name => options.scripts.push(name.to_owned()),
        }
    }
    options.failover = is_failover.then_some(plan);
    Ok(options)
}

/// redis-server, and the server that is compared with it.
fn start(project: &Project, options: &Options, scratch: &Scratch) -> Outcome<(Server, Server)> {
    let redis = server::redis(&scratch.folder("redis")?, &REDIS_SETTINGS)?;
    if options.is_against_itself {
        return Ok((redis, server::redis(&scratch.folder("tested")?, &REDIS_SETTINGS)?));
    }
    let binary = server::keystead_binary(project, &options.binary)?;
    // One shard behaves like one Redis: no command crosses shards.
    let settings = ["--shards", "1", "--durability", "replicated"];
    let mut nodes = server::keystead(&binary, scratch, "keystead", 1, &settings)?;
    Ok((redis, nodes.pop().ok_or("no node was started")?))
}

/// Names the product's commands that no script plays.
fn report_unplayed(tested: &Server, scripts: &[Script]) -> Outcome<usize> {
    let reply = Connection::open(tested.address)?.ask(&["COMMAND", "LIST"])?;
    let known = reply.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_lowercase);
    let played: BTreeSet<String> = scripts.iter().flat_map(Script::commands).collect();
    let unplayed: Vec<String> =
        known.filter(|name| !played.contains(name) && name != ENDS_THE_SERVER).collect();
    if !unplayed.is_empty() {
        println!("no script plays: {}", unplayed.join(" "));
    }
    Ok(unplayed.len())
}
