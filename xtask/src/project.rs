//! Where the project lies and how its own tools are called.
//! Owns: the root folder, the target folder, the list of source files, calls of cargo.
//! Never: decides what a verb does.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a verb or one of its parts ends with; the message is for a person.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The checkout this binary was built from.
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// The project around xtask's own folder.
    pub(crate) fn here() -> Outcome<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.parent().ok_or("xtask stands in no folder")?.to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            let shown = root.display();
            return Err(
                format!("no Cargo.toml in {shown}; was the checkout moved? build again").into()
            );
        }
        Ok(Self { root })
    }

    /// A path below the root.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The text of a file below the root.
    pub(crate) fn read(&self, relative: impl AsRef<Path>) -> Outcome<String> {
        let path = self.path(relative);
        std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()).into())
    }

    /// A call of cargo in the root folder, with the toolchain that runs this.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(arguments);
        command
    }

    /// A call of any program in the root folder.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// What cargo knows about the workspace: packages, dependencies, the target folder.
    pub(crate) fn metadata(&self) -> Outcome<Value> {
        let output = self.cargo(&["metadata", "--format-version=1", "--no-deps"]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The folder cargo builds into, wherever the settings put it.
    pub(crate) fn target(&self) -> Outcome<PathBuf> {
        let metadata = self.metadata()?;
        let target = metadata["target_directory"].as_str().ok_or("cargo names no target folder")?;
        Ok(PathBuf::from(target))
    }

    /// Every file below `folder` whose name ends in `.{extension}`, sorted, relative to the root.
    pub(crate) fn files(&self, folder: &str, extension: &str) -> Outcome<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.path(folder)];
        while let Some(folder) = folders.pop() {
            if !folder.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                let is_hidden = path.file_name().is_some_and(|name| {
                    name == "target" || name.to_string_lossy().starts_with('.')
                });
                if is_hidden {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == extension) {
                    found.push(path.strip_prefix(&self.root)?.to_path_buf());
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Where a program of that name lies: `PATH`, and the folders for administrators that PATH may lack.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let also = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(also)
        .map(|folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        .find(|candidate| candidate.is_file())
}
