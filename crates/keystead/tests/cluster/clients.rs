//! Programs that others wrote, against three nodes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use redis::Commands as _;

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::others::python;

/// The tests of redis-benchmark that use commands of this release.
const BENCHMARKS: &str = "ping_inline,ping_mbulk,set,get,incr,hset,mset";
/// Flags of a cluster for commands over several keys (MSET of redis-benchmark has no hash tags).
const ONE_SHARD: Shape = Shape { nodes: 3, shards: 1, flags: &[] };

fn run(program: impl AsRef<Path>, args: &[&str]) -> Output {
    let program = program.as_ref();
    let output = Command::new(program).args(args).output();
    output.unwrap_or_else(|error| {
        panic!(
            "{} is needed by this test ({error}); `cargo xtask setup` installs it",
            program.display()
        )
    })
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn redis_benchmark_runs_without_an_error() {
    let cluster = Cluster::start(&ONE_SHARD);
    for (resp3, pipeline) in [(false, "1"), (false, "16"), (true, "16")] {
        let port = cluster.nodes[1].port().to_string();
        let mut args =
            vec!["-p", &port, "-t", BENCHMARKS, "-n", "2000", "-c", "20", "-P", pipeline, "-q"];
        if resp3 {
            args.push("-3");
        }
        let output = run("redis-benchmark", &args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
        assert!(!out.contains("rror") && !err.contains("rror"), "{out}\n{err}");
        assert!(out.matches("requests per second").count() >= 7, "{out}");
    }
}

#[test]
fn redis_benchmark_knows_the_cluster() {
    let cluster = Cluster::start(&Shape::default());
    let port = cluster.nodes[0].port().to_string();
    let output = run(
        "redis-benchmark",
        &["--cluster", "-p", &port, "-t", "set,get,incr", "-n", "3000", "-c", "12", "-q"],
    );
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("requests per second") && !err.contains("rror"), "{out}\n{err}");
}

#[test]
fn redis_cli_follows_and_describes_the_cluster() {
    let cluster = Cluster::start(&Shape { flags: &["--routing=redirect"], ..Shape::default() });
    let port = cluster.nodes[0].port().to_string();
    for key in 0..20 {
        let key = format!("key:{key}");
        let output = run("redis-cli", &["-c", "-p", &port, "SET", &key, "value"]);
        assert_eq!(text(&output.stdout).trim(), "OK", "{key}: {}", text(&output.stderr));
        let output = run("redis-cli", &["-c", "-3", "-p", &port, "GET", &key]);
        assert!(text(&output.stdout).contains("value"), "{key}: {}", text(&output.stdout));
    }
    let address = format!("127.0.0.1:{port}");
    let output = run("redis-cli", &["--cluster", "info", &address]);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out}\n{}", text(&output.stderr));
    // Each node counts the keys of the whole cluster, since it answers for all of them.
    assert_eq!(out.matches("20 keys |").count(), 3, "{out}");
    let output = run("redis-cli", &["--cluster", "check", &address]);
    let out = text(&output.stdout);
    assert!(out.contains("All 16384 slots covered"), "{out}\n{}", text(&output.stderr));
}

/// What a program does with redis-py by default, on both protocols, alone and as a cluster's client.
const SESSION: &str = r#"
import sys, redis
ports = [int(port) for port in sys.argv[1:]]
for protocol in (2, 3):
    for port in ports:
        r = redis.Redis(port=port, protocol=protocol, decode_responses=True)
        assert r.ping()
        assert r.set("py:a", "1") and r.get("py:a") == "1"
        assert r.incrby("py:n", 5) >= 5
        assert r.hset("py:h", mapping={"f": "v", "g": "w"}) >= 0 and r.hgetall("py:h") == {"f": "v", "g": "w"}
        assert r.set("py:t", "x", px=100000) and 0 < r.pttl("py:t") <= 100000
        assert r.getdel("py:a") == "1" and r.get("py:a") is None
        pipe = r.pipeline(transaction=True)
        pipe.set("{py}:1", "x"); pipe.get("{py}:1"); pipe.incr("{py}:2")
        assert pipe.execute()[:2] == [True, "x"]
        with r.pipeline() as pipe:
            pipe.watch("{py}:w")
            value = int(pipe.get("{py}:w") or 0)
            pipe.multi(); pipe.set("{py}:w", value + 1)
            assert pipe.execute() == [True]
        script = r.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
        r.script_flush()
        assert script(keys=["{py}:s"], args=[2]) == script(keys=["{py}:s"], args=[0])
        r.script_flush()
        pipe = r.pipeline(); script(keys=["{py}:s"], args=[1], client=pipe); pipe.get("{py}:s")
        total, shown = pipe.execute(); assert str(total) == shown
        pipe = r.pipeline(transaction=False)
        for i in range(100): pipe.set(f"py:p{i}", i)
        assert all(pipe.execute())
        assert r.client_setname("tests") and r.client_getname() == "tests"
        assert "redis_version" in r.info("server")
        try: r.execute_command("NOSUCHCOMMAND"); raise SystemExit("no error")
        except redis.ResponseError: pass
        r.close()
    c = redis.RedisCluster(host="127.0.0.1", port=ports[0], protocol=protocol, decode_responses=True)
    for i in range(100):
        assert c.set(f"cl:{i}", i) and c.get(f"cl:{i}") == str(i)
    c.close()
print("done")
"#;

#[test]
fn redis_py_has_its_usual_sessions() {
    let cluster = Cluster::start(&Shape::default());
    let ports: Vec<String> = cluster.ports().iter().map(u16::to_string).collect();
    let mut args = vec!["-c", SESSION];
    args.extend(ports.iter().map(String::as_str));
    let output = run(python(), &args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("done"), "{out}\n{err}");
}

#[test]
fn redis_rs_has_its_usual_sessions() {
    let cluster = Cluster::start(&Shape::default());
    for protocol in ["resp2", "resp3"] {
        for port in cluster.ports() {
            let address = format!("redis://127.0.0.1:{port}/?protocol={protocol}");
            session(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }
    let address = format!("redis://127.0.0.1:{}/", cluster.nodes[1].port());
    let client = redis::cluster::ClusterClient::new([address]).expect("an address");
    let mut connection = client.get_connection().expect("a cluster");
    for key in 0..100 {
        let () = connection.set(format!("rs:{key}"), key).expect("a reply");
        assert_eq!(connection.get::<_, u32>(format!("rs:{key}")).expect("a reply"), key);
    }
}

/// What a program does with redis-rs by default.
fn session(address: &str) -> redis::RedisResult<()> {
    let mut connection = redis::Client::open(address)?.get_connection()?;
    let () = connection.set("rs:a", 41)?;
    assert_eq!(connection.incr::<_, _, u32>("rs:a", 1)?, 42);
    assert_eq!(connection.get::<_, Option<String>>("rs:missing")?, None);
    let () = connection.hset_multiple("rs:h", &[("f", "v"), ("g", "w")])?;
    let fields: BTreeMap<String, String> = connection.hgetall("rs:h")?;
    assert_eq!(fields.get("g").map(String::as_str), Some("w"));
    let () = connection.pset_ex("rs:t", "x", 100_000)?;
    assert!(connection.pttl::<_, i64>("rs:t")? > 0);
    let (set, new): (String, u32) =
        redis::pipe().atomic().set("{rs}:n", 1).incr("{rs}:n", 1).query(&mut connection)?;
    assert_eq!((set.as_str(), new), ("OK", 2));
    let changed: (u32,) = redis::transaction(&mut connection, &["{rs}:n"], |connection, pipe| {
        let value: u32 = connection.get("{rs}:n")?;
        pipe.incr("{rs}:n", value).query(connection)
    })?;
    assert!(changed.0 > 0);
    let mut many = redis::pipe();
    for key in 0..100 {
        many.set(format!("rs:p{key}"), key).ignore();
    }
    many.query::<()>(&mut connection)?;
    assert_eq!(connection.del::<_, u32>("rs:a")?, 1);
    let refused = redis::cmd("NOSUCHCOMMAND").query::<()>(&mut connection);
    assert!(refused.is_err(), "an unknown command is an error");
    Ok(())
}
