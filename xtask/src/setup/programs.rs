//! Programs that others wrote and tests run: a folder of Python packages and one of Node.js packages in the target folder.
//! Owns: installing them from the lists that lie beside the tests, each version pinned. Never: an installation for
//! the whole machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::project::{Outcome, Project, find_program};

/// Where the lists lie.
const LISTS: &str = "crates/keystead/tests/cluster/others";

/// One language's packages.
struct Packages {
    /// The folder below the target folder.
    folder: PathBuf,
    /// The lists; the last one says all that is installed.
    lists: Vec<PathBuf>,
    what: &'static str,
    /// Fills the folder, where the lists lie already.
    install: fn(&Path) -> Outcome,
}

/// What tests find in their environment.
pub(super) fn environment(project: &Project) -> Outcome<Vec<(String, String)>> {
    let target = project.target()?;
    let modules = target.join("node").join("node_modules");
    Ok(vec![
        ("KEYSTEAD_TEST_PYTHON".to_owned(), python(&target.join("python")).display().to_string()),
        ("KEYSTEAD_TEST_NODE_MODULES".to_owned(), modules.display().to_string()),
    ])
}

/// Each language's packages, and where they are, if they are.
pub(super) fn places(project: &Project) -> Outcome<Vec<(&'static str, Option<PathBuf>)>> {
    let all = all(project)?.into_iter();
    Ok(all.map(|one| (one.what, one.is_there().then_some(one.folder))).collect())
}

/// Installs what is missing, or older than its list.
pub(super) fn ensure(project: &Project) -> Outcome {
    for packages in all(project)?.iter().filter(|packages| !packages.is_there()) {
        println!("installing {} into {}", packages.what, packages.folder.display());
        packages.install().map_err(|error| {
            let list = packages.lists.last().map(|list| list.display().to_string());
            format!(
                "tests need the {} of {}, and they could not be installed: {error}\nis the package registry within \
                 reach?",
                packages.what,
                list.unwrap_or_default()
            )
        })?;
    }
    Ok(())
}

fn all(project: &Project) -> Outcome<[Packages; 2]> {
    let target = project.target()?;
    let lists = |names: &[&str]| names.iter().map(|name| project.path(LISTS).join(name)).collect();
    Ok([
        Packages {
            folder: target.join("python"),
            lists: lists(&["requirements.txt"]),
            what: "python packages",
            install: install_python,
        },
        Packages {
            folder: target.join("node"),
            lists: lists(&["package.json", "package-lock.json"]),
            what: "node packages",
            install: install_node,
        },
    ])
}

impl Packages {
    /// A copy of the list is left behind once all of it is installed.
    fn is_there(&self) -> bool {
        let wanted = self.lists.last().and_then(|list| fs::read(list).ok());
        wanted.is_some() && fs::read(self.mark()).ok() == wanted
    }

    fn mark(&self) -> PathBuf {
        self.folder.join("installed")
    }

    fn install(&self) -> Outcome {
        fs::create_dir_all(&self.folder)?;
        for list in &self.lists {
            fs::copy(list, self.folder.join(list.file_name().unwrap_or_default()))?;
        }
        (self.install)(&self.folder)?;
        if let Some(list) = self.lists.last() {
            fs::copy(list, self.mark())?;
        }
        Ok(())
    }
}

/// The interpreter of the virtual environment in this folder.
fn python(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python3" })
}

fn install_python(folder: &Path) -> Outcome {
    let mut made = make_venv(folder);
    if made.is_err() && find_program("apt-get").is_some() {
        // Debian's python3 leaves venv to a package of its own.
        super::install_packages(&["python3-venv"])?;
        made = make_venv(folder);
    }
    made?;
    let list = folder.join("requirements.txt");
    let mut pip = Command::new(python(folder));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    succeed(pip.arg("--requirement").arg(list), "pip install")
}

fn make_venv(folder: &Path) -> Outcome {
    let program =
        find_program("python3").or_else(|| find_program("python")).ok_or("python3 is missing")?;
    succeed(Command::new(program).args(["-m", "venv"]).arg(folder), "python3 -m venv")
}

fn install_node(folder: &Path) -> Outcome {
    let npm = find_program("npm").ok_or("npm is missing")?;
    let mut npm = Command::new(npm);
    npm.current_dir(folder).stdout(Stdio::null());
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]);
    succeed(&mut npm, "npm ci")
}

fn succeed(command: &mut Command, name: &str) -> Outcome {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` failed: {status}").into()) }
}
