//! Faults in a running process, for tests of the whole program.
//!
//! Owns: the variable that opens this door, and reading the file that it names. Never: reachable in a
//! process that was started without the variable; no setting, flag or command leads here.
//!
//! Each line of the file arms one fault, `CHILD POINT panic|error TIMES`, as in
//! `root/shards/shard-3 replica panic 1`. The file is taken (removed) as soon as it is read, so a test
//! writes it elsewhere and renames it into place.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use keystead_supervisor::{ChildContext, ChildError, ChildSpec, FaultKind, Faults};

/// Names the file. Without it no fault can be armed.
const VARIABLE: &str = "KEYSTEAD_TEST_FAULTS";
/// Between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where faults come from.
pub(crate) struct FaultFile {
    path: PathBuf,
    faults: Faults,
}

impl FaultFile {
    /// The door, if the process was started with it.
    pub(crate) fn from_environment() -> Option<Self> {
        let path = PathBuf::from(std::env::var_os(VARIABLE)?);
        tracing::warn!(path = %path.display(), "this process takes faults from a file; only tests should see this");
        Some(Self { path, faults: Faults::enabled() })
    }

    /// The faults that the file arms.
    pub(crate) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The child that reads the file.
    pub(crate) fn child(self) -> ChildSpec {
        ChildSpec::task("test-faults", move |context| {
            watch(self.path.clone(), self.faults.clone(), context)
        })
    }
}

async fn watch(path: PathBuf, faults: Faults, context: ChildContext) -> Result<(), ChildError> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = context.shutdown() => return Ok(()),
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        fs::remove_file(&path)?;
        for line in text.lines() {
            let fault = Fault::parse(line).ok_or_else(|| format!("no fault: {line}"))?;
            tracing::warn!(child = fault.child, point = fault.point, kind = ?fault.kind, times = fault.times, "armed");
            faults.arm(fault.child, fault.point, fault.kind, fault.times)?;
        }
    }
}

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
struct Fault<'a> {
    child: &'a str,
    point: &'a str,
    kind: FaultKind,
    times: u32,
}

impl<'a> Fault<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [child, point, kind, times] = words[..] else { return None };
        let kind = match kind {
            "panic" => FaultKind::Panic,
            "error" => FaultKind::Error,
            _ => return None,
        };
        Some(Self { child, point, kind, times: times.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_child_a_point_a_kind_and_a_count() {
        let fault = Fault {
            child: "root/shards/shard-3",
            point: "replica",
            kind: FaultKind::Panic,
            times: 4,
        };
        assert_eq!(Fault::parse("root/shards/shard-3 replica panic 4"), Some(fault));
        for line in [
            "",
            "root/x y panic",
            "root/x y explode 1",
            "root/x y error many",
            "root/x y error 1 2",
        ] {
            assert_eq!(Fault::parse(line), None, "{line}");
        }
    }

    #[test]
    fn without_the_variable_there_is_no_door() {
        assert!(std::env::var_os(VARIABLE).is_some() || FaultFile::from_environment().is_none());
    }
}
