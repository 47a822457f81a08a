//! The verbs `setup` and `doctor`: what tests need beyond Rust and a C compiler.
//! Owns: the list of those tools and how each is installed. Never: lets a test be skipped; what
//! is missing and cannot be installed is named, and the verb fails.

mod programs;

use std::process::{Command, Stdio};

use crate::project::{Outcome, Project, find_program};

/// A program that tests or benchmarks start.
struct Tool {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

/// What is needed on Linux; elsewhere only what exists there (see `needed`).
const TOOLS: &[Tool] = &[
    Tool { program: "redis-server", package: "redis-server", why: "replies are compared with it" },
    Tool { program: "redis-cli", package: "redis-tools", why: "must work against Keystead" },
    Tool {
        program: "redis-benchmark",
        package: "redis-tools",
        why: "the load of tests and figures",
    },
    Tool {
        program: "etcd",
        package: "etcd-server",
        why: "three-node figures are compared with it",
    },
    Tool { program: "etcdctl", package: "etcd-client", why: "asks etcd for its state" },
    Tool { program: "ip", package: "iproute2", why: "network namespaces for fault tests" },
    Tool { program: "mount", package: "mount", why: "a small disk for the tests of full disks" },
    Tool { program: "prlimit", package: "util-linux", why: "makes writes of the log fail" },
    Tool { program: "iptables", package: "iptables", why: "cuts the network in fault tests" },
    Tool { program: "valgrind", package: "valgrind", why: "counts instructions of hot pieces" },
    Tool { program: "python3", package: "python3", why: "runs redis-py and rq, a job queue" },
    Tool {
        program: "node",
        package: "nodejs",
        why: "runs BullMQ, a job queue, and connect-redis, sessions",
    },
    Tool { program: "npm", package: "npm", why: "installs what node runs" },
];

/// Programs that other systems do not have, nor the tests that start them.
const LINUX_ONLY: &[&str] = &["ip", "iptables", "mount", "prlimit", "valgrind"];

/// `setup`: installs what is missing; `setup --check` only looks.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    match arguments {
        [] => ensure(project),
        [flag] if flag == "--check" => {
            let are_programs_there =
                programs::places(project)?.iter().all(|(_, place)| place.is_some());
            if missing_tools().is_empty() && are_programs_there {
                Ok(())
            } else {
                doctor(project, &[])
            }
        }
        _ => Err("setup takes nothing, or --check".into()),
    }
}

/// `doctor`: every tool, where it is, why it is needed; fails if one is missing.
pub(crate) fn doctor(project: &Project, _: &[String]) -> Outcome {
    for tool in needed() {
        let place = find_program(tool.program)
            .map_or_else(|| "MISSING".to_owned(), |path| path.display().to_string());
        println!("{:<16} {place:<32} {}", tool.program, tool.why);
    }
    let programs = programs::places(project)?;
    for (what, place) in &programs {
        let place =
            place.as_ref().map_or_else(|| "MISSING".to_owned(), |path| path.display().to_string());
        println!("{what:<16} {place}");
    }
    let nextest =
        if find_program("cargo-nextest").is_some() { "here" } else { "absent: cargo test is used" };
    println!("{:<16} {nextest:<32} optional", "cargo-nextest");
    let missing = missing_tools();
    if !missing.is_empty() {
        return Err(advice(&missing).into());
    }
    if let Some((what, _)) = programs.iter().find(|(_, place)| place.is_none()) {
        let advice = "`cargo xtask setup` installs them into the target folder";
        return Err(format!("{what} are missing; {advice}").into());
    }
    Ok(())
}

/// Makes sure that everything tests need is here, or says what is not.
pub(crate) fn ensure(project: &Project) -> Outcome {
    let missing = missing_tools();
    if !missing.is_empty() {
        install_packages(&packages(&missing))
            .map_err(|error| format!("{error}\n{}", advice(&missing)))?;
        let missing = missing_tools();
        if !missing.is_empty() {
            return Err(advice(&missing).into());
        }
    }
    programs::ensure(project)
}

/// What tests find in their environment: where the packages lie that they run.
pub(crate) fn environment(project: &Project) -> Outcome<Vec<(String, String)>> {
    programs::environment(project)
}

fn needed() -> impl Iterator<Item = &'static Tool> {
    let is_linux = cfg!(target_os = "linux");
    TOOLS.iter().filter(move |tool| is_linux || !LINUX_ONLY.contains(&tool.program))
}

fn missing_tools() -> Vec<&'static Tool> {
    needed().filter(|tool| find_program(tool.program).is_none()).collect()
}

fn packages(missing: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn advice(missing: &[&Tool]) -> String {
    let mut text = String::from("tests need what is not on this machine, and none is skipped:\n");
    for tool in missing {
        text.push_str(&format!(
            "  {} (Debian package {}): {}\n",
            tool.program, tool.package, tool.why
        ));
    }
    let list = packages(missing).join(" ");
    text.push_str(&format!("install them, for instance: sudo apt-get install {list}"));
    text
}

/// Installs Debian packages, as root or through a sudo that asks for no password.
fn install_packages(packages: &[&str]) -> Outcome {
    if find_program("apt-get").is_none() {
        return Err("there is no apt-get here, so xtask cannot install them".into());
    }
    let prefix: &[&str] = if is_root() {
        &[]
    } else if is_sudo_silent() {
        &["sudo", "-n"]
    } else {
        return Err("not root, and sudo asks for a password, so xtask cannot install them".into());
    };
    println!("installing {}", packages.join(" "));
    apt(prefix, &["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(prefix, &arguments)
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Outcome {
    // RUNLEVEL=1 keeps the packages from starting their services: tests start their own servers.
    let words: Vec<&str> = prefix
        .iter()
        .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"])
        .chain(arguments)
        .copied()
        .collect();
    let status = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed: {status}", words.join(" ")).into())
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn is_sudo_silent() -> bool {
    let status = Command::new("sudo")
        .args(["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
